"""The LoRA panel: what it shows, and what a press puts into the prompt."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sd_ui.prompt.networks import extract
from sd_ui.spec.cards import LoraFacts, ModelCard
from sd_ui.ui import views
from sd_ui.ui.parts.wearing import tagged, worded


def card(name: str, **facts) -> ModelCard:
    return ModelCard(name, "lora", "sd1", Path(f"/models/{name}.safetensors"), "file", 1, lora=LoraFacts(**facts))


def test_each_is_shown_by_the_shortest_name_that_a_tag_can_say():
    cards = [card("style/ink", rank=8, triggers=("ink",)), card("old/pen"), card("new/pen", preview=Path("x.png")), card("odd:name"), card("other")]
    assert views.loras(cards[:4], cards) == {
        "loras": [
            {"name": "ink", "facts": "LoRA, rank 8", "words": ["ink"], "preview": ""},
            {"name": "old/pen", "facts": "LoRA", "words": [], "preview": ""},
            {"name": "new/pen", "facts": "LoRA", "words": [], "preview": "previews/new/pen"},
        ],
        "others": 1,
    }


@pytest.mark.parametrize(
    ("prompt", "result"), [("", "<lora:ink:0.8>"), ("a cat ", "a cat <lora:ink:0.8>"), ("a <lora:b:1>", "a <lora:b:1> <lora:ink:0.8>")]
)
def test_a_tag_goes_to_the_end_of_the_prompt(prompt, result):
    assert tagged(prompt, SimpleNamespace(name="ink", weight=0.8)) == result
    assert extract(result).loras[-1].name == "ink"


@pytest.mark.parametrize(
    ("prompt", "result"), [("", "ink wash"), ("a cat", "a cat, ink wash"), ("a cat <lora:b:1> <lora:c:1>", "a cat, ink wash <lora:b:1> <lora:c:1>")]
)
def test_a_word_goes_before_the_tags(prompt, result):
    assert worded(prompt, SimpleNamespace(text="ink wash")) == result
