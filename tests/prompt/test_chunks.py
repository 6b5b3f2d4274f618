"""Long prompts are divided where AUTOMATIC1111 divides them."""

from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.chunks import PLACE, Coined, Tokens, framed, laid_out, used
from sd_ui.prompt.language import chunked

COMMA, BREAK = 0, None
WORDS = st.sampled_from([Coined("a", 1), Coined("b", 7), Coined("c", 75)])
IDS = st.lists(st.one_of(st.integers(1, 9), st.sampled_from([COMMA, COMMA, BREAK])), max_size=400)


def slowly(ids: list[int | Coined | None], size: int) -> list[list[int | str]]:
    """The published rules, token by token; what a comma moves takes its vectors along. A vector is written as its word's name and its number."""
    chunks, chunk, comma = [], [], -1
    for id in ids:
        if id is BREAK:
            chunks, chunk, comma = [*chunks, chunk], [], -1
            continue
        if id == COMMA:
            comma = len(chunk)
        elif len(chunk) == size and comma != -1 and len(chunk) - comma <= 20:
            chunks, chunk, comma = [*chunks, chunk[: comma + 1]], chunk[comma + 1 :], -1
        if len(chunk) == size:
            chunks, chunk, comma = [*chunks, chunk], [], -1
        if isinstance(id, Coined):
            if len(chunk) + id.vectors > size:
                chunks, chunk, comma = [*chunks, chunk], [], -1
            chunk += [f"{id.name}{i}" for i in range(id.vectors)]
            continue
        chunk.append(id)
    return [*chunks, chunk] if chunk or not chunks else chunks


@given(IDS, st.sampled_from([75, 30, 6]))
def test_chunks_are_those_of_the_slow_rules(ids, size):
    pieces = [Tokens((), is_break=True) if id is BREAK else Tokens((id,), 1.0 + id / 10) for id in ids]
    chunks = laid_out(pieces, size, COMMA)
    if size > 20:  # in smaller chunks a comma that begins one is near its end, too
        assert [list(chunk.ids) for chunk in chunks] == slowly(ids, size)
    assert [id for chunk in chunks for id in chunk.ids] == [id for id in ids if id is not BREAK]
    assert all(len(chunk.ids) == len(chunk.weights) <= size for chunk in chunks)
    assert all(weight == 1.0 + id / 10 for chunk in chunks for id, weight in zip(chunk.ids, chunk.weights, strict=True))


@given(st.lists(st.one_of(st.integers(1, 9), st.just(COMMA), WORDS), max_size=200))
def test_coined_words_stay_whole_and_stand_where_the_slow_rules_put_them(ids):
    chunks = laid_out([Tokens(ids)], 75, COMMA)
    found = []
    for chunk in chunks:
        said = list(chunk.ids)
        for place, word in chunk.coined:
            assert said[place : place + word.vectors] == [PLACE] * word.vectors
            said[place : place + word.vectors] = [f"{word.name}{i}" for i in range(word.vectors)]
        found.append(said)
    assert found == slowly(ids, 75) and all(len(chunk.ids) == len(chunk.weights) <= 75 for chunk in chunks)


def test_what_follows_a_late_comma_goes_to_the_next_chunk():
    ids = [1] * 60 + [COMMA] + [2] * 20
    first, second = laid_out([Tokens(ids)], 75, COMMA)
    assert first.ids[-1] == COMMA and second.ids == (2,) * 20
    assert [len(chunk.ids) for chunk in laid_out([Tokens(ids)], 75, None)] == [75, 6]
    assert used((first, second)) == 95


def test_a_comma_that_is_too_far_away_divides_nothing():
    assert [len(chunk.ids) for chunk in laid_out([Tokens([1] * 54 + [COMMA] + [2] * 30)], 75, COMMA)] == [75, 10]


def test_an_empty_prompt_is_one_empty_chunk():
    (chunk,) = laid_out([])
    assert framed(chunk, 3, 7, 8, 9) == ([7, 8, 9, 9, 9], [1.0] * 5)


def test_a_frame_has_start_end_and_padding_of_weight_one():
    (chunk,) = laid_out([Tokens([1], 1.5), Tokens([2], 0.5)])
    assert framed(chunk, 3, 7, 8, 9) == ([7, 1, 2, 8, 9], [1.0, 1.5, 0.5, 1.0, 1.0])


def test_each_piece_of_one_weight_is_tokenized_for_itself():
    asked: list[str] = []

    def tokenize(text: str) -> list[int]:
        asked.append(text)
        return [ord(c) for c in text]

    chunks = chunked("ab(c:1.5)BREAK d", tokenize, 75, ord(","), "Original")
    assert asked == ["ab", "c", "", "d"] and [chunk.weights for chunk in chunks] == [(1.0, 1.0, 1.5), (1.0,)]
