"""LoRA tags: what AUTOMATIC1111 reads out of a prompt, we read; what makes no sense is said."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.networks import LoraTag, asked, checked, extract, named, resolved
from sd_ui.spec.cards import LoraFacts, ModelCard
from sd_ui.spec.errors import BadRequest


def tag(text: str) -> LoraTag:
    (found,) = extract(text).loras
    return found


@pytest.mark.parametrize(
    ("text", "name", "te", "unet"),
    [
        ("<lora:pixel>", "pixel", 1, 1),
        ("<lora:pixel:0.8>", "pixel", 0.8, 0.8),
        ("<lora:pixel:0.8:0.2>", "pixel", 0.8, 0.2),
        ("<lora:pixel:te=0.5>", "pixel", 0.5, 0.5),
        ("<lora:pixel:unet=0.5>", "pixel", 1, 0.5),
        ("<lora:pixel:0.3:unet=0.5>", "pixel", 0.3, 0.5),
        ("<lora:pixel:0.3:0.4:te=0.1:unet=0.2>", "pixel", 0.1, 0.2),
        ("<lyco:pixel:-1>", "pixel", -1, -1),
        ("<LoRA: my style : .5 >", "my style", 0.5, 0.5),
        ("<lora:styles/ink-v1.2:2e-1>", "styles/ink-v1.2", 0.2, 0.2),
        ("<lora:pixel:0>", "pixel", 0, 0),
    ],
)
def test_a_tag_is_read_as_automatic1111_reads_it(text, name, te, unet):
    found = tag(text)
    assert (found.name, found.text, found.unet, found.fault) == (name, te, unet, "")


def test_the_tags_leave_the_text_and_say_where_they_stood():
    text = "a cat <lora:one:0.5>, red<lora:two:1>"
    found = extract(text)
    assert found.text == "a cat , red"
    assert [text[lora.start : lora.end] for lora in found.loras] == ["<lora:one:0.5>", "<lora:two:1>"]


@pytest.mark.parametrize("text", ["", "a < b", "<b>bold</b>", "lora:x:1", "<3:x>", "(a:1.2) [b:c:0.5]"])
def test_what_is_no_tag_stays(text):
    assert extract(text).text == text and extract(text).loras == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<lora:a:abc>", "'abc' is not a weight (a number from -100 to 100)"),
        ("<lora:a:>", "'' is not a weight"),
        ("<lora:a:nan>", "'nan' is not a weight"),
        ("<lora:a:1e400>", "'1e400' is not a weight"),
        ("<lora:a:101>", "'101' is not a weight"),
        ("<lora:a:1_0>", "'1_0' is not a weight"),
        ("<lora:a:1:1:4>", "3 numbers are too many"),
        ("<lora:a:dyn=4>", "dyn= is not supported"),
        ("<lora::1>", "it has no name"),
        ("<lora:a:1", "its > is missing"),
        ("<hypernet:a:1>", "hypernetworks are not supported"),
    ],
)
def test_a_faulty_tag_says_what_is_wrong_with_it(text, why):
    assert why in tag(text).fault
    with pytest.raises(BadRequest) as error:
        checked(extract(f"a cat {text}").loras)
    assert error.value.field == "prompt" and why in error.value.why and text in error.value.why


def test_a_tag_in_a_comment_asks_for_nothing():
    assert [(lora.name, lora.start) for lora in asked("# <lora:old:1>\n<lora:new:1>")] == [("new", 15)]


@given(st.text(alphabet="<>lora:=.0123 te\nunet,", max_size=60))
def test_no_text_is_too_odd_and_nothing_is_lost_but_the_tags(text):
    found = extract(text)
    rest, last = "", 0
    for lora in found.loras:
        rest, last = rest + text[last : lora.start], lora.end
    assert found.text == rest + text[last:]
    assert all(abs(lora.text) <= 100 and abs(lora.unet) <= 100 for lora in found.loras)


# ---------------------------------------------------------------- names
def card(name: str, alias: str = "", kind: str = "lora") -> ModelCard:
    return ModelCard(name, kind, "sd1", Path(f"/models/{name}.safetensors"), "file", 1, lora=LoraFacts(alias=alias))


CARDS = {
    c.name: c for c in (card("pixel", "pixelart"), card("styles/ink"), card("old/ink2"), card("new/ink2"), card("Paper"), card("v1", kind="vae"))
}


@pytest.mark.parametrize(
    ("said", "meant"), [("pixel", "pixel"), ("PIXEL", "pixel"), ("styles/ink", "styles/ink"), ("ink", "styles/ink"), ("pixelart", "pixel")]
)
def test_a_lora_is_found_by_its_name_its_file_or_the_name_it_was_trained_under(said, meant):
    assert named(said, CARDS).name == meant


@pytest.mark.parametrize("said", ["pixle", "../../pixel", "v1", ""])
def test_a_name_that_is_not_there_is_refused_with_the_nearest(said):
    with pytest.raises(BadRequest, match="is not known") as error:
        named(said, CARDS)
    assert error.value.field == "prompt" and (said != "pixle" or "did you mean pixel" in error.value.why)


def test_a_name_that_could_be_two_is_refused_with_both():
    with pytest.raises(BadRequest, match=r"any of old/ink2, new/ink2"):
        named("ink2", CARDS)
    assert named("new/ink2", CARDS).name == "new/ink2"


def test_several_tags_of_one_lora_add_up_whatever_it_is_called():
    found = resolved(extract("<lora:pixel:0.5><lora:ink><lora:PixelArt:0.25:1>").loras, CARDS)
    assert [(tag.name, tag.text, tag.unet, card.name) for tag, card in found] == [("pixel", 0.75, 1.5, "pixel"), ("ink", 1, 1, "styles/ink")]
    with pytest.raises(BadRequest, match="is not a weight"):
        resolved(extract("<lora:pixel:x>").loras, CARDS)


def test_without_any_lora_it_is_said_that_there_are_none():
    with pytest.raises(BadRequest, match="there are no LoRAs"):
        named("pixel", {})
