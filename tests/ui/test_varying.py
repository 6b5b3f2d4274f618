"""One press on a result: what it asks for."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from sd_ui.imaging.record import Metadata
from sd_ui.spec.cards import Stock
from sd_ui.spec.made import Made, Record
from sd_ui.spec.request import GenerationRequest, ImageRef, ImageToImage, Noise
from sd_ui.ui import form
from sd_ui.ui.parts.varying import is_seeds_own, mixes_noise, next_of, zoomed_out
from tests.ui.cards import EMBEDDED_CARD

REQUEST = GenerationRequest("a cat", width=512, height=384, seed=9)


def png(width: int = 512, height: int = 384) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(data, "PNG")
    return data.getvalue()


def asked(name: str, request: GenerationRequest = REQUEST, data: bytes = png()):
    values = {key: value for key, value in form.written(request, request.seed).items() if not form.is_picture(key)}
    by_noise = is_seeds_own(Metadata(Record(request, Made(), seed=request.seed)))
    return next_of(name, request.mode, values, by_noise, data, {"width": 1024, "height": 768})


@pytest.mark.parametrize(("name", "strength"), [("subtle", 0.15), ("strong", 0.4)])
def test_a_picture_from_noise_varies_by_its_noise(name, strength):
    found = asked(name)
    said = {key: found.values[key] for key in ("seed", "variation_strength", "variation_seed", "batch_count", "prompt")}
    assert found.mode == "txt2img" and said == {
        "seed": "9",
        "variation_strength": strength,
        "variation_seed": "-1",
        "batch_count": 4,
        "prompt": "a cat",
    }


@pytest.mark.parametrize(
    "request_", [replace(REQUEST, source=ImageToImage(ImageRef("a", 8, 8))), replace(REQUEST, noise=Noise(variation_seed=1, variation_strength=0.2))]
)
def test_a_picture_that_its_seed_does_not_make_alone_is_redone_itself(request_):
    found = asked("subtle", request_)
    assert (found.mode, found.values["strength"], found.values["variation_strength"], found.values["init"]) == ("img2img", 0.35, 0.0, png())


def test_a_redone_picture_keeps_its_size_and_one_from_noise_its_first_pass():
    redone = asked("subtle", replace(REQUEST, noise=Noise(variation_seed=1, variation_strength=0.2)))
    assert (redone.values["width"], redone.values["height"]) == (1024, 768)
    assert (asked("subtle").values["width"], asked("subtle").values["height"]) == (512, 384)


def test_noise_that_a_pipeline_draws_itself_is_not_varied():
    cards = {card.name: card for card in (EMBEDDED_CARD, replace(EMBEDDED_CARD, name="whole", stock=Stock()))}
    services = SimpleNamespace(models=SimpleNamespace(cards=lambda: cards))
    assert [mixes_noise(services, {"model": name}) for name in (EMBEDDED_CARD.name, "whole", "gone")] == [True, False, True]


def test_twice_as_large_is_img2img_at_a_low_strength():
    found = asked("upscale")
    assert (found.mode, found.values["width"], found.values["height"], found.values["strength"]) == ("img2img", 1024, 768, 0.35)


def test_from_farther_away_the_picture_is_smaller_and_the_result_of_its_size():
    for size in ((512, 384), (128, 128), (136, 72), (768, 1344)):
        values = zoomed_out(Image.new("RGB", size))
        small = values["init"]
        assert small.width + values["outpaint_left"] + values["outpaint_right"] == size[0]
        assert small.height + values["outpaint_top"] + values["outpaint_bottom"] == size[1]
        assert 1.3 < size[0] / small.width < 1.75 and abs(values["outpaint_left"] - values["outpaint_right"]) <= 1


@pytest.mark.parametrize(
    ("name", "side", "pixels"), [("pan_left", "left", 256), ("pan_right", "right", 256), ("pan_up", "top", 192), ("pan_down", "bottom", 192)]
)
def test_to_one_side_the_picture_grows_by_half(name, side, pixels):
    found = asked(name)
    grown = {key: value for key, value in found.values.items() if key.startswith("outpaint")}
    assert (found.mode, found.values["strength"], grown) == ("inpaint", 1.0, {f"outpaint_{side}": pixels})
