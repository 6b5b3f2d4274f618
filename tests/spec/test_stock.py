"""The door of models that run by diffusers' own pipelines: what they cannot do is refused by the field, or said to be without effect."""

from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.spec import limits
from sd_ui.spec.cards import Defaults, ModelCard, Stock
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import EMBEDDED, ImageRef
from sd_ui.spec.samplers import AUTOMATIC, MODELS_OWN, SAMPLERS

MODES = ("txt2img", "img2img", "inpaint")
BEST = Defaults(width=1024, height=1024, steps=30, cfg_scale=4.0, sampler=MODELS_OWN)
CARDS = {
    card.name: card
    for card in (
        ModelCard(EMBEDDED, "checkpoint", "sd1", Path("e"), "folder", 0, MODES),
        ModelCard("sd", "checkpoint", "sd1", Path("s"), "file", 0, MODES),
        ModelCard("vae", "vae", "", Path("v"), "file", 0),
        ModelCard("whole", "checkpoint", "z-image", Path("w"), "folder", 0, MODES, defaults=BEST, stock=Stock("Z-Image", 16, 512)),
        ModelCard("few", "checkpoint", "flux2-klein", Path("f"), "folder", 0, MODES, defaults=replace(BEST, cfg_scale=1.0),
                  stock=Stock("Flux.2 Klein", 16, 512, negative=False, guided=False, most=1024 * 1024)),
    )
}  # fmt: skip
PICTURE = ImageRef("0" * 64, 64, 64)


def fitted(mode="txt2img", **values):
    return limits.fitted(mode, {"model": "whole", "prompt": "a cat", "seed": 1} | values, CARDS)


def test_such_a_model_brings_its_own_sampler_and_settings():
    accepted = fitted()
    assert (accepted.request.sampling.sampler, accepted.request.sampling.schedule) == (MODELS_OWN, AUTOMATIC)
    assert (accepted.request.sampling.steps, accepted.request.sampling.cfg_scale, accepted.request.width) == (30, 4.0, 1024)
    assert accepted.notes == ()


@pytest.mark.parametrize(("field", "value"), [
    ("sampler", "Euler"), ("schedule", "Karras"), ("vae", "vae"), ("refiner", "sd"), ("clip_skip", 2), ("noise_source", "NV"),
    ("variation_strength", 0.5), ("eta_seed_delta", 31337), ("guidance", "APG"), ("cfg_rescale", 0.7), ("guidance_start", 0.2),
    ("guidance_stop", 0.8), ("cfg_scale", 0.5), ("cfg_scale", -1), ("hires_upscaler", "Lanczos"),
])  # fmt: skip
def test_what_a_pipeline_cannot_do_is_refused_by_its_field(field, value):
    with pytest.raises(BadRequest) as refused:
        fitted(**{field: value})
    assert refused.value.field == field and ("whole" in refused.value.why or MODELS_OWN in refused.value.why)


def test_a_resized_seed_is_refused():
    with pytest.raises(BadRequest) as refused:
        fitted(seed_resize_width=512, seed_resize_height=512)
    assert refused.value.field == "seed_resize_width"


@pytest.mark.parametrize(("field", "value"), [
    ("mask_edge", "Soft"), ("masked_content", "Latent noise"), ("noise_multiplier", 0.9), ("extra_noise", 0.1), ("redo_steps", "All"),
])  # fmt: skip
def test_inpainting_refuses_what_lies_inside_the_pipeline(field, value):
    with pytest.raises(BadRequest) as refused:
        fitted("inpaint", init=PICTURE, mask=PICTURE, **{field: value})
    assert refused.value.field == field


def test_a_guidance_that_only_flux_is_told_is_said_to_mean_nothing():
    assert "Distilled CFG scale means nothing" in fitted(distilled_cfg_scale=5).notes[0]


def test_sizes_are_rounded_as_the_family_needs_them():
    accepted = fitted(width=1000, height=520)
    assert (accepted.request.width, accepted.request.height) == (1008, 528) or (accepted.request.width % 16, accepted.request.height % 16) == (0, 0)
    assert any("multiple of 16" in note for note in accepted.notes)


def test_a_model_without_guidance_says_so_and_takes_no_negative_prompt():
    with pytest.raises(BadRequest) as refused:
        fitted(model="few", cfg_scale=4.0)
    assert refused.value.field == "cfg_scale"
    accepted = fitted(model="few", negative_prompt="rain")
    assert any("Negative prompt" in note and "not used" in note for note in accepted.notes)


def test_a_picture_larger_than_the_pipeline_works_on_is_refused_and_from_noise_it_is_not():
    with pytest.raises(BadRequest) as refused:
        fitted("img2img", model="few", init=PICTURE, width=2048, height=1024)
    assert refused.value.field == "width" and "2048x1024" in refused.value.why
    assert fitted(model="few", width=2048, height=1024).request.width == 2048


def test_colours_come_back_there_too():
    assert fitted("img2img", init=PICTURE, redo_colours="The picture's").request.source.redo.matches_colours


def test_its_sampler_is_refused_for_every_other_model():
    with pytest.raises(BadRequest) as refused:
        fitted(model="sd", sampler=MODELS_OWN)
    assert refused.value.field == "sampler"
    with pytest.raises(BadRequest) as refused:
        fitted(model="sd", hires_upscaler="Lanczos", hires_sampler=MODELS_OWN)
    assert refused.value.field == "hires_sampler" and fitted(model="sd").request.sampling.sampler in SAMPLERS


def test_it_goes_on_for_no_other_model():
    with pytest.raises(BadRequest) as refused:
        fitted(model="sd", refiner="whole")
    assert refused.value.field == "refiner"
