"""Values and requests: there and back."""

import base64
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec import fields
from sd_ui.spec.cards import Defaults, Stock
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, IMAGE, NONE
from sd_ui.spec.limits import fitted
from sd_ui.spec.request import EMBEDDED, MODES, DepthToImage, GenerationRequest, ImageRef, ImageToImage, Inpaint, ModelChoice, Refiner, Sampling
from sd_ui.spec.samplers import AUTOMATIC, MODELS_OWN, SAMPLERS
from sd_ui.ui import form
from sd_ui.ui.components.pictures import as_paint, painted, uploaded
from tests.ui.cards import EMBEDDED_CARD

IMAGE_A, IMAGE_B = ImageRef("a" * 64, 64, 64), ImageRef("b" * 64, 64, 64)
PROMPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SOURCES = {
    "txt2img": None,
    "img2img": ImageToImage(IMAGE_A, 0.3, "Just resize"),
    "inpaint": Inpaint(IMAGE_A, IMAGE_B, 0.9, "Resize and fill", 7),
    "depth2img": DepthToImage(IMAGE_A, IMAGE_B, 0.2),
}


@pytest.mark.parametrize("mode", MODES)
@given(
    seed=st.integers(0, 2**64 - 1),
    steps=st.integers(1, 150),
    cfg=st.floats(-100, 100),
    prompt=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
)
def test_a_request_written_into_the_form_is_read_back_as_itself(mode, seed, steps, cfg, prompt):
    request = GenerationRequest(
        prompt, "not this", sampling=Sampling("Euler", "Karras", steps, cfg), width=128, height=64, seed=seed, source=SOURCES[mode]
    )
    assert fitted(mode, form.written(request, seed), {EMBEDDED: EMBEDDED_CARD}).request == request


def test_a_refiner_written_into_the_form_is_read_back():
    cards = {name: replace(EMBEDDED_CARD, name=name) for name in ("base", "other", EMBEDDED)}
    request = GenerationRequest(model=ModelChoice("base"), width=64, height=64, refiner=Refiner("other", 0.6))
    assert fitted("txt2img", form.written(request, 0), cards).request == request
    assert [name for _, name in form.refiners(cards)] == [NONE, "base", "other"]
    assert form.sane({"refiner": "gone"}, cards) == {} and form.sane({"refiner": "other"}, cards) == {"refiner": "other"}


def test_each_field_of_a_mode_has_a_place_in_the_form():
    for mode in MODES:
        own = [field.name for field in fields.of_mode(mode) if field.name not in form.SHARED]
        said = {name: name for name in form.SHARED} | {f"{mode}_{name}": name for name in own if name != "mask"}
        assert set(form.values_of(mode, said)) == {field.name for field in fields.of_mode(mode)} - ({"mask"} if mode == "inpaint" else set())


def test_a_second_pass_that_is_switched_off_is_no_matter_for_notes():
    """Its settings stay in the form for the next time."""
    kept = {"txt2img_hires_steps": 7, "txt2img_hires_width": 192}
    empty = {f"txt2img_{field.name}": None for field in fields.of_mode("txt2img") if field.name not in form.SHARED}
    said = dict.fromkeys(form.SHARED) | empty | kept
    off, on = (form.values_of("txt2img", said | {"txt2img_hires_upscaler": upscaler}) for upscaler in ("None", "Lanczos"))
    assert fitted("txt2img", off, {EMBEDDED: EMBEDDED_CARD}).notes == () and (on["hires_steps"], on["hires_width"]) == (7, 192)


def test_every_kind_of_field_has_a_widget_or_is_a_picture():
    assert {field.kind for field in FIELDS.values()} == {*form.MAKERS, IMAGE}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_schedules_that_go_with_the_sampler_are_offered(sampler):
    assert form.schedules(sampler) == [AUTOMATIC, *SAMPLERS[sampler].schedules]


@pytest.mark.parametrize("ratio", form.RATIOS)
@pytest.mark.parametrize("side", [128, 512, 768])
def test_a_ratio_keeps_about_as_many_pixels_as_the_model_is_used_to(ratio, side):
    width, height = form.shaped(ratio, Defaults(width=side, height=side))
    across, down = form.RATIOS[ratio]
    assert width % 8 == height % 8 == 0
    assert width * height == pytest.approx(side * side, rel=0.15) and width / height == pytest.approx(across / down, rel=0.12)


def test_what_a_browser_kept_of_things_that_are_gone_is_left_out():
    kept = {"model": "gone", "sampler": "DDIM", "schedule": "Karras", "steps": 5, "vae": AUTOMATIC, "prompt": None}
    assert form.sane(kept, {EMBEDDED: EMBEDDED_CARD}) == {"sampler": "DDIM", "steps": 5, "vae": AUTOMATIC}


def test_an_unusable_model_is_listed_as_such():
    cards = {EMBEDDED: EMBEDDED_CARD, "x": replace(EMBEDDED_CARD, name="x", fault="damaged")}
    assert form.names(cards, "checkpoint")[1] == ("x (cannot be used)", "x")


# ---------------------------------------------------------------- pictures
def test_a_mask_is_painted_and_read_back_pixel_for_pixel():
    from PIL import Image

    mask = Image.effect_noise((40, 30), 100).point([0] * 128 + [255] * 128)
    assert painted(as_paint(mask)).tobytes() == mask.tobytes()


@pytest.mark.parametrize("mask", ["", "data:image/png;base64,AAAA", "data:image/png;base64,***", "x"])
def test_a_mask_that_is_none_is_refused_in_words(mask):
    with pytest.raises(BadRequest, match="mask"):
        painted(mask)


def test_a_mask_that_would_fill_the_memory_is_refused_by_its_header():
    from PIL import Image

    data = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(data, "PNG")
    with pytest.raises(BadRequest, match="13000x13000"):
        painted("data:image/png;base64," + base64.b64encode(data.getvalue()).decode())


@pytest.mark.parametrize("path", [__file__, "/etc/passwd", "../../etc/passwd", "", "\0"])
def test_only_uploads_are_read(path):
    with pytest.raises(BadRequest, match="no longer on the server"):
        uploaded(path, "init")


def test_a_model_that_brings_its_own_sampler_is_offered_that_one_alone_and_the_others_never():
    whole = replace(EMBEDDED_CARD, name="whole", modes=("txt2img", "img2img"), stock=Stock("Z-Image", 16))
    assert form.samplers(whole) == [MODELS_OWN] and MODELS_OWN not in form.samplers(EMBEDDED_CARD)
    assert len(form.samplers(EMBEDDED_CARD)) == len(SAMPLERS) - 1
    assert "whole" not in dict(form.refiners({"whole": whole})).values()


def test_values_from_elsewhere_bring_the_samplers_of_their_model():
    flow = replace(EMBEDDED_CARD, name="flow", family="flux")
    cards = {card.name: card for card in (EMBEDDED_CARD, flow)}

    def offered(model, sampler):
        updates = form.sampling({"sampler": "sampler", "schedule": "schedule"}, {"model": model, "sampler": sampler, "schedule": AUTOMATIC}, cards)
        assert (updates["sampler"].value, updates["schedule"].value) == (sampler, AUTOMATIC)
        return [name for name, _ in updates["sampler"].choices]

    assert offered("flow", "Euler") == form.samplers(flow) and offered(EMBEDDED_CARD.name, "Euler a") == form.samplers(EMBEDDED_CARD)
    assert offered("flow", "Euler a") == [*form.samplers(flow), "Euler a"] and offered("gone", "Euler a") == list(SAMPLERS)
