"""Completing words: what is being typed, and what it may become."""

from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.prompt.completion import Typed, typed
from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.suggestions import Suggestion, Suggestions, shortened, suggested
from sd_ui.prompt.tags import Tag, TagFiles
from sd_ui.prompt.wording import Wording
from sd_ui.spec.cards import INVERSION, LORA, Beside, InversionFacts, LoraFacts, ModelCard


@pytest.mark.parametrize(
    ("before", "kind", "asked", "length"),
    [
        ("a cat <", "network", "", 1),
        ("a cat <dr", "network", "dr", 3),
        ("a cat <lora:dr", "network", "dr", 8),
        ("<lora:x:1> <LORA:my dr", "network", "my dr", 11),
        ("a __col", "wildcard", "col", 5),
        ("__", "wildcard", "", 2),
        ("__colour__ and __animals/c", "wildcard", "animals/c", 11),
        ("a {red|__col", "wildcard", "col", 5),
        ("a_b__", "wildcard", "", 2),
    ],
)
def test_a_network_and_a_wildcard_are_known_by_their_marks(before, kind, asked, length):
    (found,) = typed(before)
    assert (found.kind, found.asked, found.length) == (kind, asked, length)


def test_words_are_looked_for_together_before_each_for_itself():
    assert typed("a cat, long blue ha") == (Typed("word", "long blue ha", 12), Typed("word", "blue ha", 7), Typed("word", "ha", 2))
    assert [each.asked for each in typed("one two three four five")] == ["two three four five", "three four five", "four five", "five"]
    assert typed("(red:1.2), [blu")[0].asked == "blu" and typed("first line\nsecond")[0].asked == "second"
    assert typed("a face >_<, blue ha")[0].asked == "blue ha"


@pytest.mark.parametrize(
    "before", ["", "a cat, ", "a cat,", "(cat:1.2", "<lora:dream:0.8", "a", "<lora:dream:1>", "__colour__", "\n", "(cat:1.2)", "-12"]
)
def test_nothing_is_looked_for_where_no_name_can_stand(before):
    assert typed(before) == ()


def card(name, kind, **more):
    return ModelCard(name, kind, "sd1", Path("models") / f"{name}.safetensors", "file", 1, **more)


@pytest.fixture
def suggestions(tmp_path):
    (tmp_path / "colour.txt").write_text("red\n")
    (tmp_path / "styles.toml").write_text('["Dream"]\nprompt = "a dream of {prompt}"\n')
    (tmp_path / "tags.csv").write_text("dreadlocks,0,12000,dreads\nred_dress_(short),0,900,\n")
    every = [
        card("style/dream", LORA, lora=LoraFacts(triggers=("misty", "soft")), beside=Beside(weight=0.7)),
        card("other/DREAM", LORA),
        card("ink", LORA),
        replace(card("broken", LORA), fault="it is damaged"),
        card("bad (dream)", INVERSION, inversion=InversionFacts()),
        card("xl-only", INVERSION, inversion=InversionFacts()),
        card("sd1/twice", INVERSION, inversion=InversionFacts()),
        card("xl-only/twice", INVERSION, inversion=InversionFacts()),
    ]
    cards = {each.name: each for each in every}
    wording = Wording((tmp_path / "styles.toml",), WildcardFiles((tmp_path,)))
    return Suggestions(lambda: cards, lambda model, card: "only" not in card.name, wording, TagFiles([tmp_path / "tags.csv"]))


def found(suggestions, before, negative=False):
    return [(each.kind, each.name, each.insert) for each in suggestions.of(before, "embedded", negative).found]


def test_an_angle_bracket_brings_loras_embeddings_and_styles_that_go_with_the_model(suggestions):
    every = found(suggestions, "a cat <")
    assert ("LoRA", "style/dream", "<lora:style/dream:0.7>") in every and ("LoRA", "ink", "<lora:ink:1>") in every
    assert ("embedding", "bad (dream)", r"bad \(dream\)") in every and ("style", "Dream", "") in every
    assert not any(name in ("broken", "xl-only") for _, name, _ in every)
    assert [kind for kind, _, _ in found(suggestions, "a cat <lora:dream")] == ["LoRA", "LoRA"]
    assert found(suggestions, "<misty") == [("LoRA", "style/dream", "<lora:style/dream:0.7>")]  # by the words that call it up
    assert found(suggestions, "<lora") == found(suggestions, "<")[:3]


def test_a_negative_prompt_takes_no_lora(suggestions):
    assert {kind for kind, _, _ in found(suggestions, "<", negative=True)} == {"embedding", "style"}


def test_wildcards_embeddings_and_tags_come_by_name(suggestions):
    assert found(suggestions, "a __co") == [("wildcard", "colour", "__colour__")]
    assert found(suggestions, "a cat, bad") == [("embedding", "bad (dream)", r"bad \(dream\)")]
    assert found(suggestions, "a cat, twi") == [("embedding", "twice", "twice")]  # which another family has by the same name
    assert found(suggestions, "a girl in a red dr") == [("tag", "red dress (short)", r"red dress \(short\)")]
    assert suggestions.of("a girl in a red dr", "embedded").length == len("red dr")
    answer = suggestions.of("a cat, dreads", "embedded")
    assert answer.found == (Suggestion("tag", "dreadlocks", "dreadlocks", "also dreads · 12k"),) and not answer.sure
    assert found(suggestions, "a cat, nothing like it") == []


def test_a_face_keeps_its_underscore_and_counts_are_short():
    assert suggested(Tag("^_^", 5)).insert == "^_^" and suggested(Tag("o_o")).note == ""
    assert [shortened(count) for count in (7, 1200, 35_400, 4_350_743)] == ["7", "1.2k", "35.4k", "4.35M"]
