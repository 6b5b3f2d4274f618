"""Names of embeddings are found as AUTOMATIC1111 finds them: by whole tokens, the longest first, whatever the letters' case."""

from pathlib import Path

import pytest

from sd_ui.models import tokens
from sd_ui.prompt import coined
from sd_ui.prompt.chunks import Coined
from sd_ui.prompt.language import chunked
from sd_ui.spec.cards import InversionFacts, ModelCard

IDS = tokens.Reader(tokens.tokenizer(tokens.CLIP_L), 75).ids


def card(name: str, vectors: int = 1, widths: tuple[int, ...] = (768,), token: str = "", family: str = "sd1", path: str = "") -> ModelCard:
    path = path or f"/models/{name}.safetensors"
    return ModelCard(name, "embedding", family, Path(path), "file", 1, inversion=InversionFacts(vectors, widths, token))


CARDS = (
    card("EasyNegative", 8), card("glow"), card("glow deep", 3), card("style/ink (v2)", 2), card("xl", 4, (768, 1280), family="sdxl"),
    card("cats", token="<cat-toy>"), card("toy/learned_embeds", path="/models/toy/learned_embeds.safetensors"),
)  # fmt: skip
KNOWN = coined.vocabulary(CARDS, (768,), 75)


def words(text: str, known: coined.Vocabulary = KNOWN) -> list[str]:
    cut = chunked(text, known.within(text, IDS), 75, None, "Original")
    return [word.name for chunk in cut for _, word in chunk.coined]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("easynegative, a cat", ["EasyNegative"]),
        ("a EASYNEGATIVE", ["EasyNegative"]),
        ("(EasyNegative:1.3)", ["EasyNegative"]),
        ("easy negative", []),
        ("easynegatives", []),
        ("glow deep glow", ["glow deep", "glow"]),
        ("glow   deep", ["glow deep"]),
        ("glowing", []),
        ("embedding:glow", ["glow"]),
        ("(embedding:glow.pt:0.8), embedding:EasyNegative.safetensors", ["glow", "EasyNegative"]),
        (r"ink \(v2\) and style/ink \(v2\)", ["style/ink (v2)", "style/ink (v2)"]),
        ("a <cat-toy>", ["cats"]),
        ("a toy", ["toy/learned_embeds"]),
        ("xl", []),
        ("", []),
    ],
)
def test_a_name_is_found(text, found):
    assert words(text) == found


def test_its_vectors_are_counted_and_have_its_weight():
    (chunk,) = chunked("a (EasyNegative:1.3) cat", KNOWN.within("a (EasyNegative:1.3) cat", IDS), 75, None, "Original")
    assert len(chunk.ids) == 10 and chunk.weights == (1.0, *[1.3] * 8, 1.0)
    assert chunk.coined == ((1, Coined("EasyNegative", 8)),)


def test_without_a_name_in_it_a_text_is_tokenized_as_ever():
    assert KNOWN.within("a cat", IDS) is IDS


def test_an_embedding_of_another_family_is_named_and_not_used():
    (entry,) = KNOWN.strangers("an xl cat", IDS)
    assert entry.word.name == "xl" and entry.misfit == "it is for Stable Diffusion XL"
    assert KNOWN.strangers("a cat xls", IDS) == ()
    small = coined.vocabulary([card("a", 8)], (768,), 4)
    assert "8 vectors" in small.strangers("a", IDS)[0].misfit
    assert "width 768" in coined.vocabulary([card("a", family="")], (1024,), 75).strangers("a", IDS)[0].misfit


def test_a_refiner_reads_the_half_that_is_for_it_and_no_model_is_read_by_nobody():
    assert coined.misfit(CARDS[4], (1280,), 75) == "" and coined.misfit(CARDS[4], (768, 1280), 75) == ""
    assert coined.misfit(CARDS[0], (768, 1280), 75) and coined.misfit(CARDS[0], (), 75)


def test_of_two_with_one_name_the_one_that_fits_has_it_then_the_first():
    known = coined.vocabulary([card("x/glow", widths=(768, 1280)), card("a/glow"), card("b/glow")], (768,), 75)
    assert words("glow b/glow", known) == ["a/glow", "b/glow"] and known.strangers("glow", IDS) == ()


def test_comfyuis_prefix_before_something_unknown_is_told():
    text = "embedding:glow, embedding:gone, (embedding:lost.pt:1.2) embedding: x"
    assert [(text[start:end], name) for start, end, name in KNOWN.unknown(text)] == [("embedding:gone", "gone"), ("embedding:lost.pt", "lost.pt")]
    assert list(KNOWN.unknown("embedding:style/ink (v2), an embedding of words")) == []


@pytest.mark.parametrize("text", ["EasyNegative " * 50, "easynegative,easynegative", "glow deep glow", r"ink \(v2\)"])
def test_a_text_has_at_most_as_many_tokens_more_as_is_told_at_the_door(text):
    cut = chunked(text, KNOWN.within(text, IDS), 10_000, None, "Original")
    assert sum(len(chunk.ids) for chunk in cut) <= len(IDS(text)) + KNOWN.at_most(text)


def test_a_name_is_escaped_as_a_prompt_must_say_it():
    assert words(coined.escaped("style/ink (v2)")) == ["style/ink (v2)"]
