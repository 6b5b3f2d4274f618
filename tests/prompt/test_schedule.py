"""Prompt editing means what it means in AUTOMATIC1111."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.schedule import Until, at, groups, timeline

STEPS = 10


def said(text: str, steps: int = STEPS, earlier: int = 0) -> list[tuple[int, str]]:
    return [(until.last, until.text) for until in timeline(text, steps, earlier)]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b:3 ]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b::0.3] c", [(3, "a b c"), (10, "a  c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a|(b:1.1)]", [(i, "a" if i % 2 else "(b:1.1)") for i in range(1, 11)]),
        ("[fe|]male", [(i, "female" if i % 2 else "male") for i in range(1, 11)]),
        ("[fe|||]male", [(i, "female" if i % 4 == 1 else "male") for i in range(1, 11)]),
        ("a [b:1.5] c", [(10, "a  c")]),
        ("a [b:0] c", [(10, "a b c")]),
        ("a [b:-3] c", [(10, "a b c")]),
        ("a [b:99] c", [(10, "a  c")]),
        ("[cat:1.2]", [(10, "")]),
        ("[a:b:c:3] [d:3]", [(3, "[a:b:c:3] "), (10, "[a:b:c:3] d")]),
        ("[a:b]", [(10, "[a:b]")]),
        (r"\[a:b:3]", [(10, r"\[a:b:3]")]),
        (r"[a\:x:b:3]", [(3, r"a\:x"), (10, "b")]),
        ("[a:b:1e0]", [(1, "a"), (10, "b")]),
        ("[a:b:1e99999]", [(10, "a")]),
    ],
)
def test_examples(text, texts):
    assert said(text) == texts


@pytest.mark.parametrize("text", ["[a:b:3] x|y", "[a|b:3] [c:3]", "[a:b:3] (x|y)", "[a:b:3] [x|y", "[a:b:3] \\", "[a:b:3] \\\n"])
def test_where_a1111s_grammar_fails_nothing_is_scheduled(text):
    assert said(text) == [(10, text)]


def test_in_a_second_pass_shares_count_from_one_and_steps_go_on():
    assert said("a [b:.5] c", earlier=10) == [(10, "a b c")]
    assert said("a [b:1.5] c", earlier=10) == [(5, "a  c"), (10, "a b c")]
    assert said("a [b:13] c", earlier=10) == [(3, "a  c"), (10, "a b c")]


def test_a_text_lasts_to_the_call_of_its_number():
    texts = timeline("[a:b:3]", STEPS)
    assert [texts[at(texts, call)].text for call in range(STEPS)] == ["a"] * 4 + ["b"] * 6
    assert at(texts, 500) == 1  # a sampler that calls more often stays with the last


# ---------------------------------------------------------------- against a slow reading of well-formed prompts
WORDS = st.text("ab ,", max_size=4)
NODES = st.recursive(
    WORDS.map(lambda text: ("text", text)),
    lambda inner: st.one_of(
        st.tuples(st.just("all"), st.lists(inner, max_size=3)),
        st.tuples(st.just("round"), inner),
        st.tuples(st.just("weighed"), inner),
        st.tuples(st.just("square"), inner),
        st.tuples(st.just("switch"), inner, inner, st.sampled_from(["3", "0.5", "7", "0", "1.0", ".25"])),
        st.tuples(st.just("later"), inner, st.sampled_from(["2", "0.75"])),
        st.tuples(st.just("turns"), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=10,
)


def written(node) -> str:
    match node:
        case ("text", text):
            return text
        case ("all", nodes):
            return "".join(map(written, nodes))
        case ("round", inner):
            return f"({written(inner)})"
        case ("weighed", inner):
            return f"({written(inner)}:1.2)"
        case ("square", inner):
            return f"[{written(inner)}]"
        case ("switch", before, after, when):
            return f"[{written(before)}:{written(after)}:{when}]"
        case ("later", after, when):
            return f"[{written(after)}:{when}]"
        case ("turns", options):
            return f"[{'|'.join(map(written, options))}]"


def last_of(when: str) -> int:
    return min(STEPS, int(float(when) * STEPS if "." in when else float(when)))


def at_step(node, step: int) -> str:
    match node:
        case ("all", nodes):
            return "".join(at_step(each, step) for each in nodes)
        case ("round", inner):
            return f"({at_step(inner, step)})"
        case ("weighed", inner):
            return f"({at_step(inner, step)}:1.2)"
        case ("square", inner):
            return f"[{at_step(inner, step)}]"
        case ("switch", before, after, when):
            return at_step(before if step <= last_of(when) else after, step)
        case ("later", after, when):
            return "" if step <= last_of(when) else at_step(after, step)
        case ("turns", options):
            return at_step(options[(step - 1) % len(options)], step)
    return node[1]


def lasts(node) -> set[int]:
    match node:
        case ("all", nodes):
            return set().union(*map(lasts, nodes))
        case ("round" | "weighed" | "square", inner):
            return lasts(inner)
        case ("switch", before, after, when):
            return lasts(before) | lasts(after) | {last_of(when)}
        case ("later", after, when):
            return lasts(after) | {last_of(when)}
        case ("turns", options):
            return set().union(*map(lasts, options), range(1, STEPS + 1))
    return set()


@given(NODES)
def test_every_well_formed_prompt_is_scheduled_as_it_is_built(node):
    expected = sorted({last for last in lasts(node) if last >= 1} | {STEPS})
    assert said(written(node)) == [(last, at_step(node, last)) for last in expected]


@given(st.text(st.sampled_from(list("ab:|()[]\\.05\n ")), max_size=60))
def test_no_text_is_too_strange(text):
    texts = timeline(text, STEPS)
    assert texts[-1].last == STEPS and all(isinstance(until, Until) for until in texts)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[a:" * 30_000 + ":3]" * 30_000, "[" * 50_000 + "]" * 50_000, "[a|" * 20_000 + "b]" * 20_000, "(]" * 50_000]
)
def test_a_hundred_thousand_brackets_are_no_trouble(text):
    assert groups(text) is not None and timeline(text, 2)
