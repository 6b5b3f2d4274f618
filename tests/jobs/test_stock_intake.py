"""Through the door of a model that reads plain text: what of our prompt language it cannot be told is refused before anything is stored."""

from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs.intake import Reader
from sd_ui.spec.cards import Defaults, ModelCard, Stock
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.samplers import MODELS_OWN

BEST = Defaults(64, 64, 5, 3.0, MODELS_OWN)
WHOLE = ModelCard("whole", "checkpoint", "z-image", Path(), "folder", 1, ("txt2img",), defaults=BEST, stock=Stock("Z-Image", 16, 512))


class Models:
    """An index that must not be asked what only models of ours can tell."""

    def cards(self):
        return {card.name: card for card in (WHOLE, replace(WHOLE, name="embedded", family="sd1", stock=None))}


@pytest.fixture
def reader(tmp_path):
    return Reader(Blobs(tmp_path / "inputs"), Models())


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("text", ["a [cat:dog:0.5]", "a [cat|dog]", "a (red:1.5) cat"])
def test_what_it_cannot_be_told_is_refused_by_its_field(reader, field, text):
    with pytest.raises(BadRequest) as refused:
        reader.read("txt2img", {"model": "whole", "prompt": "a cat", field: text})
    assert refused.value.field == field and refused.value.why.startswith("whole runs by diffusers' own pipeline")


def test_a_network_tag_is_refused_and_in_the_negative_prompt_it_is_text(reader):
    with pytest.raises(BadRequest) as refused:
        reader.read("txt2img", {"model": "whole", "prompt": "a cat <lora:pixel:1>"})
    assert refused.value.field == "prompt" and "<lora:pixel:1>" in refused.value.why
    reader.read("txt2img", {"model": "whole", "prompt": "a cat", "negative_prompt": "<lora:pixel:1>"})


def test_plain_text_of_any_length_comes_through_and_weights_where_they_are_text(reader):
    assert reader.read("txt2img", {"model": "whole", "prompt": "a (long) story and more " * 1000}).request.prompt.startswith("a (long)")
    assert reader.read("txt2img", {"model": "whole", "prompt": "(red:1.5)", "emphasis": "None"}).request.emphasis == "None"
