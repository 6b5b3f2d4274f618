"""SDXL: our latents are those of diffusers' own pipelines, bit for bit, in every mode that the family has."""

import copy
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from sd_ui.engine import pixels, text
from sd_ui.engine.device import Place
from sd_ui.engine.families import sd, sdxl
from sd_ui.engine.family import Rows
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.load import load
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.preview import previewer
from sd_ui.spec.request import GenerationRequest, ImageToImage, Inpaint, ModelChoice, Sampling, steps_to_run
from tests.engine.kscheduler import KScheduler
from tests.engine.test_load import card
from tests.engine.test_oracle import CFG, INPUTS, NEGATIVE, PAIRS, PROMPT, STEPS, STRENGTH, the_mean_and_not_a_draw  # noqa: F401
from tests.engine.tiny import CPU, MASK, PICTURE, REF, SEED, SIZE, latents_of, run_of
from tests.families import sdxl_folder

PAINTED = {"image": PICTURE, "mask_image": MASK, "width": SIZE, "height": SIZE}
MODES: dict[str, tuple[Any, dict[str, Any], str, dict[str, Any]]] = {
    "txt2img": (None, {}, "StableDiffusionXLPipeline", {"width": SIZE, "height": SIZE}),
    "img2img": (ImageToImage(REF, STRENGTH), {}, "StableDiffusionXLImg2ImgPipeline", {"image": PICTURE, "strength": STRENGTH}),
    "inpaint, 4 channels": (Inpaint(REF, REF, STRENGTH), {}, "StableDiffusionXLInpaintPipeline", {**PAINTED, "strength": STRENGTH}),
    "inpaint, 9 channels": (Inpaint(REF, REF, STRENGTH), {"in_channels": 9}, "StableDiffusionXLInpaintPipeline", {**PAINTED, "strength": STRENGTH}),
    "inpaint, strength 1": (Inpaint(REF, REF, 1.0), {}, "StableDiffusionXLInpaintPipeline", {**PAINTED, "strength": 1.0}),
    "refiner, img2img": (
        ImageToImage(REF, STRENGTH), {"refiner": True}, "StableDiffusionXLImg2ImgPipeline", {"image": PICTURE, "strength": STRENGTH}),
    "refiner, inpaint": (Inpaint(REF, REF, STRENGTH), {"refiner": True}, "StableDiffusionXLInpaintPipeline", {**PAINTED, "strength": STRENGTH}),
}  # fmt: skip
MODEL = {"in_channels": 4, "refiner": False, "prediction_type": "epsilon"}


@cache
def model(**kind: Any) -> Loaded:
    with tempfile.TemporaryDirectory() as name:
        return load(card(sdxl_folder(Path(name) / "model", **{**MODEL, **kind})), None, CPU)


def stock(kind: str, ours: Loaded, scheduler: Any, **asked: Any) -> torch.Tensor:
    """Theirs: the last latents, from the same weights."""
    first, second = (None, ours.texts[0]) if len(ours.texts) == 1 else ours.texts
    parts = {"vae": ours.vae, "unet": ours.denoiser, "scheduler": scheduler, "text_encoder_2": second.encoder, "tokenizer_2": second.tokenizer}
    parts |= {"text_encoder": first and first.encoder, "tokenizer": first and first.tokenizer, "add_watermarker": False}
    if kind != "StableDiffusionXLPipeline":
        parts["requires_aesthetics_score"] = first is None
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**asked, generator=torch.Generator().manual_seed(SEED), output_type="latent").images


def both(mode: str, sampler: str, schedule: str, cfg: float = CFG, negative: str | None = NEGATIVE, clip_skip: int = 1, **kind: Any) -> Any:
    source, facts, pipeline, asked = MODES[mode]
    ours = model(**facts, **kind)
    request = GenerationRequest(
        PROMPT, negative or "", ModelChoice(clip_skip=clip_skip), Sampling(sampler, schedule, STEPS, cfg), SIZE, SIZE, SEED, source=source
    )
    run = STEPS if source is None else steps_to_run(STEPS, source.strength)
    scheduler = KScheduler(sampler, schedule, tuple(ours.scheduler_config.items()), STEPS, run)
    theirs = {"prompt": PROMPT, "negative_prompt": negative, "num_inference_steps": STEPS, "guidance_scale": cfg}
    if clip_skip > 1:
        theirs["clip_skip"] = clip_skip - 2  # theirs counts from the layer that was trained with, ours from the last one
    return latents_of(run_of(ours, request, INPUTS if source else Inputs())), stock(pipeline, ours, scheduler, **theirs, **asked)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
@pytest.mark.parametrize("mode", MODES)
def test_our_loop_is_the_stock_sdxl_pipeline(mode, sampler, schedule):
    ours, theirs = both(mode, sampler, schedule)
    assert torch.equal(ours, theirs) and ours.isfinite().all()


@pytest.mark.parametrize("mode", MODES)
def test_guidance_off(mode):
    ours, theirs = both(mode, "Euler", "Uniform", cfg=1.0)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["txt2img", "img2img"])
def test_v_prediction(mode):
    ours, theirs = both(mode, "DPM++ 2M", "Karras", prediction_type="v_prediction")
    assert torch.equal(ours, theirs)


def test_an_empty_negative_prompt_is_zeros_as_in_a1111_and_as_diffusers_takes_none():
    ours, theirs = both("txt2img", "Euler", "Uniform", negative=None)
    assert torch.equal(ours, theirs)
    words = text.TextEncoder().encode(model(), PROMPT, "", 1, CFG).at(0)
    assert words.uncond is not None and words.uncond.pooled is not None
    assert not words.uncond.tokens.any() and not words.uncond.pooled.any()
    assert not torch.equal(ours, both("txt2img", "Euler", "Uniform", negative=" ")[0])


def test_clip_skip_1_and_2_are_the_layer_that_was_trained_with_and_more_goes_further():
    first, second = (text.embedding(model(), PROMPT, skip) for skip in (1, 2))
    assert torch.equal(first.tokens, second.tokens)
    third = text.embedding(model(), PROMPT, 3)
    assert not torch.equal(first.tokens, third.tokens) and first.pooled is not None and torch.equal(first.pooled, third.pooled)
    ids = model().tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
    hidden = model().text_encoder(ids, output_hidden_states=True).hidden_states
    assert torch.equal(first.tokens[..., :32], hidden[-2]) and torch.equal(third.tokens[..., :32], hidden[-3])


def test_of_a_long_prompt_the_first_chunk_speaks_for_the_whole():
    long = "cat " * 80 + "dog"
    words = text.TextEncoder().encode(model(), long, "house", 1, CFG).at(0)
    assert words.uncond is not None and words.uncond.pooled is not None and words.cond.pooled is not None
    assert words.cond.tokens.shape == (1, 154, 64) and words.cond.pooled.shape == (1, 32)
    for said, short in ((words.cond.pooled, "cat " * 75), (words.uncond.pooled, "house")):
        assert torch.allclose(said, text.embedding(model(), short, 1).pooled, atol=1e-5)  # encoded two by two: the last bits differ


def test_the_u_net_is_told_the_size_of_the_picture():
    """Height before width, as in training; the refiner is told how beautiful the picture is instead of its target size."""
    both = Rows(torch.zeros(2, 77, 64), torch.zeros(2, 32), (False, True))
    alone = Rows(torch.zeros(1, 77, 64), torch.zeros(1, 32), (True,))
    assert sdxl.base_ids((1216, 832), both) == [[832, 1216, 0, 0, 832, 1216]] * 2
    assert sdxl.refiner_ids((1216, 832), both) == [[832, 1216, 0, 0, 2.5], [832, 1216, 0, 0, 6.0]]
    assert sdxl.refiner_ids((1216, 832), alone) == [[832, 1216, 0, 0, 6.0]]
    words, latents, t = text.TextEncoder().encode(model(), PROMPT, "", 1, 1.0).at(0), torch.randn(1, 4, 8, 8), torch.tensor(500)
    with torch.inference_mode():
        said = [model().family.predict(model().denoiser, words, 1.0, None, size)(latents, t).cond for size in ((96, 64), (64, 96))]
    assert not torch.equal(*said)


def test_previews_use_the_familys_own_colours():
    """Its first channel is brightness; all zero is a light grey, slightly warm, where in Stable Diffusion 1.x it is a middle grey."""
    assert model().family.rgb == sdxl.RGB and sdxl.RGB != sd.RGB
    assert sdxl.RGB[0][0] * 127.5 == pytest.approx(60) and (sdxl.RGB[4][0] + 1) * 127.5 == pytest.approx(150)
    jpeg = previewer(model())(torch.zeros(1, 4, 8, 8))
    assert jpeg[:2] == b"\xff\xd8"


@pytest.mark.parametrize("mode", ["txt2img", "img2img", "inpaint, 9 channels", "refiner, img2img"])
def test_a_run_in_half_precision_ends_in_a_picture(mode):
    """With the VAE in float32, as it is where the rest is in float16; CPUs compute in bfloat16."""
    source, facts, _, _ = MODES[mode]
    full = model(**facts)
    texts = tuple(replace(part, encoder=copy.deepcopy(part.encoder).bfloat16()) for part in full.texts)
    unet = copy.deepcopy(full.denoiser).bfloat16()
    half = replace(full, denoiser=unet, inpaint_unet=full.inpaint_unet and unet, texts=texts, place=Place(torch.device("cpu"), torch.bfloat16))
    request = GenerationRequest(PROMPT, "", sampling=Sampling("Euler", "Uniform", 3, CFG), width=SIZE, height=SIZE, seed=SEED, source=source)
    latents = latents_of(run_of(half, request, INPUTS if source else Inputs()))
    assert half.vae.dtype == torch.float32 and latents.dtype == torch.float32
    with torch.inference_mode():
        assert pixels.decoded(half, latents).size == (SIZE, SIZE)
