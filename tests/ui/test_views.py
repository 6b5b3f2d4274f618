"""What the components show, as plain values."""

import base64
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sd_ui.models.index import ModelIndex
from sd_ui.spec.request import EMBEDDED
from sd_ui.ui import views

ROOT = Path(__file__).parents[2]


def embedded():
    return ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models").card(EMBEDDED)


def test_the_page_shows_a_picture_for_each_example_of_the_model_in_the_box():
    card = embedded()
    told = views.about(card, "models")
    kind, _, data = told["strip"].partition(",")
    assert kind == "data:image/webp;base64" and base64.b64decode(data) == card.samples.read_bytes()
    with Image.open(card.samples) as strip:
        assert strip.width == strip.height * len(told["examples"])


def test_a_strip_that_is_gone_or_huge_is_left_out(tmp_path):
    huge = tmp_path / "huge.webp"
    huge.write_bytes(bytes(views.LARGEST_STRIP + 1))
    for samples in (tmp_path / "gone.webp", huge, None):
        assert views.about(replace(embedded(), samples=samples), "models")["strip"] == ""
