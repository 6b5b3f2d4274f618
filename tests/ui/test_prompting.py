"""What the page says of a prompt while it is written."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sd_ui.models import tokens
from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.wording import Wording
from sd_ui.spec.cards import InversionFacts, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.ui.parts.prompting import said


class Models:
    def reader(self, model):
        if model == "broken":
            raise BadRequest("model", "broken cannot be used")
        return tokens.Reader(tokens.tokenizer(tokens.CLIP_L), 75)

    def cards(self):
        facts = {"easynegative": InversionFacts(8, (768,)), "glow": InversionFacts(2, (768, 1280))}
        coined = {name: ModelCard(name, "embedding", "", Path(name), "file", 1, inversion=said) for name, said in facts.items()}
        return coined | {"x": ModelCard("x", "lora", "sd1", Path("x"), "file", 1)}

    def text_widths(self, checkpoint):
        return (768,)

    def misfit(self, checkpoint, lora):
        return ""


@pytest.fixture
def services(tmp_path):
    (tmp_path / "colour.txt").write_text("red\n")
    return SimpleNamespace(models=Models(), wording=Wording(wildcards=WildcardFiles((tmp_path,))))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a cat", "2 / 75 tokens"),
        ("a (cat:1.3), [dog] # not this", "4 / 75 tokens"),
        ("a cat <lora:x:1>", "2 / 75 tokens"),
        ("a BREAK cat", "76 / 150 tokens · 2 chunks"),
        ("a cat AND a red dog", "3 / 75 tokens · 2 parts"),
        ("cat " * 60 + ", " + "dog " * 20, "95 / 150 tokens · 2 chunks"),
        ("[cat:a red dog:0.5]", "3 / 75 tokens"),
        ("a cat, (EasyNegative:1.2)", "11 / 75 tokens"),
        ("cat " * 70 + "embedding:easynegative", "83 / 150 tokens · 2 chunks"),
    ],
)
def test_tokens_are_counted_as_the_text_encoder_gets_them(services, text, count):
    assert said(services, "prompt", text, "embedded", "Original", 20) == (count, "")


def test_a_problem_is_said_with_its_place_and_nothing_becomes_markup(services):
    _, shown = said(services, "prompt", "a <b>(cat</b> __color__", "embedded", "Original", 20)
    assert "data-start='5' data-end='6'" in shown and "never closed" in shown and "did you mean colour" in shown and "class='fatal'" in shown
    assert "<b>" not in shown and "&lt;b&gt;" in shown


@pytest.mark.parametrize("box", ["prompt", "negative_prompt"])
def test_an_embedding_that_is_read_as_plain_words_is_told(services, box):
    _, shown = said(services, box, "a cat, Glow, embedding:gone", "embedded", "Original", 20)
    assert "data-start='7' data-end='11'" in shown and "text encoders of width 768 and 1280" in shown
    assert "data-start='13' data-end='27'" in shown and "the embedding gone is not here" in shown and "fatal" not in shown


def test_only_the_first_problems_are_shown(services):
    _, shown = said(services, "prompt", ") " * 50, "embedded", "Original", 20)
    assert shown.count("<li") == 5 and "and 46 more" in shown


def test_a_model_that_cannot_count_keeps_nobody_from_writing(services):
    assert said(services, "prompt", "a cat", "broken", "Original", 0) == ("", "")
    assert "closes nothing" in said(services, "negative_prompt", "a)", "broken", "Original", 0)[1]
    assert said(services, "prompt", "", "embedded", "Original", 20) == ("", "")
