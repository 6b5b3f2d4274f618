"""Flux.1: our latents are those of diffusers' own pipelines, bit for bit, in every mode that the family has."""

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

from sd_ui.engine import depth, trained_flow
from sd_ui.engine.load import load
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.run import Inputs
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, ModelChoice, Sampling, steps_to_run
from tests.engine.kflow import followed
from tests.engine.test_load import card
from tests.engine.test_oracle import INPUTS, NEGATIVE, PROMPT, STEPS, STRENGTH, the_mean_and_not_a_draw  # noqa: F401
from tests.engine.test_oracle_sd3 import PAINTED, SIZED, t5_for_stock
from tests.engine.tiny import CPU, DEPTH, PICTURE, REF, SEED, SIZE, latents_of, loaded, run_of
from tests.mmdit import flux_folder

DISTILLED = 2.5
STARTED, MAP = {"image": PICTURE, "strength": STRENGTH, **SIZED}, Image.open(io.BytesIO(depth.shown(DEPTH, SIZE, SIZE))).convert("RGB")
SCHNELL, FILL, DEEP = {"guided": False}, {"in_channels": 384, "out_channels": 64}, {"in_channels": 128, "out_channels": 64}
MODES: dict[str, tuple[Any, dict[str, Any], str, dict[str, Any]]] = {
    "txt2img": (None, {}, "FluxPipeline", SIZED),
    "img2img": (ImageToImage(REF, STRENGTH), {}, "FluxImg2ImgPipeline", STARTED),
    "inpaint": (Inpaint(REF, REF, STRENGTH), {}, "FluxInpaintPipeline", {**PAINTED, "strength": STRENGTH}),
    "inpaint, strength 1": (Inpaint(REF, REF, 1.0), {}, "FluxInpaintPipeline", {**PAINTED, "strength": 1.0}),
    "schnell, txt2img": (None, SCHNELL, "FluxPipeline", {**SIZED, "max_sequence_length": 256}),
    "schnell, img2img": (ImageToImage(REF, STRENGTH), SCHNELL, "FluxImg2ImgPipeline", {**STARTED, "max_sequence_length": 256}),
    "fill": (Inpaint(REF, REF, 1.0), FILL, "FluxFillPipeline", {**PAINTED, "strength": 1.0}),
    "fill, strength 0.5": (Inpaint(REF, REF, STRENGTH), FILL, "FluxFillPipeline", {**PAINTED, "strength": STRENGTH}),
    "depth": (DepthToImage(REF, None, 1.0), DEEP, "FluxControlPipeline", {"control_image": MAP, **SIZED}),
    "depth, strength 0.5": (DepthToImage(REF, None, STRENGTH), DEEP, "FluxControlImg2ImgPipeline", {"control_image": MAP, **STARTED}),
}  # fmt: skip


@cache
def model(**kind: Any) -> Loaded:
    with tempfile.TemporaryDirectory() as name:
        return load(card(flux_folder(Path(name) / "model", **kind)), None, CPU)


def stock(kind: str, ours: Loaded, scheduler: Any, **asked: Any) -> torch.Tensor:
    """Theirs: the last latents, from the same weights."""
    clip, t5 = ours.texts
    parts = {"vae": ours.vae, "transformer": ours.denoiser, "scheduler": scheduler, "text_encoder": clip.encoder, "tokenizer": clip.tokenizer}
    pipeline = getattr(diffusers, kind)(**parts, text_encoder_2=t5.encoder, tokenizer_2=t5_for_stock(t5.tokenizer))
    pipeline.set_progress_bar_config(disable=True)
    packed = pipeline(**asked, generator=torch.Generator().manual_seed(SEED), output_type="latent").images
    return pipeline._unpack_latents(packed, SIZE, SIZE, pipeline.vae_scale_factor)


def both(mode: str, sampler: str = "Euler", schedule: str = "Automatic", cfg: float = 1.0, scheduler: Any = None) -> Any:
    source, kind, pipeline, asked = MODES[mode]
    ours = model(**kind)
    sampling = Sampling(sampler, schedule, STEPS, cfg, distilled_cfg=DISTILLED)
    request = GenerationRequest(PROMPT, NEGATIVE, ModelChoice(), sampling, SIZE, SIZE, SEED, source=source)
    run = STEPS if source is None else steps_to_run(STEPS, source.strength)
    scheduler = scheduler or followed(ours, sampler, schedule, STEPS, run, SIZE)
    theirs = {"prompt": PROMPT, "num_inference_steps": STEPS, "guidance_scale": DISTILLED}
    if cfg != 1:
        theirs |= {"negative_prompt": NEGATIVE, "true_cfg_scale": cfg}
    latents = latents_of(run_of(ours, request, INPUTS if source else Inputs()))
    return latents, stock(pipeline, ours, scheduler, **theirs, **asked)


@pytest.mark.parametrize(("sampler", "schedule"), [("Euler", "Automatic"), ("Heun", "Beta")])
@pytest.mark.parametrize("mode", MODES)
def test_our_loop_is_the_stock_pipeline(mode, sampler, schedule):
    ours, theirs = both(mode, sampler, schedule)
    assert torch.equal(ours, theirs) and ours.isfinite().all()


@pytest.mark.parametrize("mode", ["txt2img", "img2img", "inpaint"])
def test_guidance_that_a_negative_prompt_takes_part_in(mode):
    ours, theirs = both(mode, cfg=4.0)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["txt2img", "schnell, txt2img", "schnell, img2img", "inpaint"])
def test_with_diffusers_own_scheduler_only_the_last_bits_differ(mode):
    dynamic = {} if "schnell" in mode else {"use_dynamic_shifting": True, "shift": 3.0}
    ours, theirs = both(mode, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**dynamic))
    assert float((ours - theirs).abs().max()) <= 1e-5


@pytest.mark.parametrize(("kind", "unused"), [({}, ["Clip skip"]), (SCHNELL, ["Clip skip", "Distilled CFG scale"]), (None, ["Distilled CFG scale"])])
def test_settings_that_a_model_does_not_know_are_told(kind, unused):
    request = GenerationRequest(PROMPT, model=ModelChoice(clip_skip=2), sampling=Sampling(steps=2, distilled_cfg=9), width=SIZE, height=SIZE)
    ours = loaded() if kind is None else model(**kind)
    assert [note.split(" means")[0] for note in run_of(ours, request).notes()] == unused


def test_the_scale_that_is_told_changes_the_picture_of_dev_alone():
    def drawn(kind, scale):
        sampling = Sampling("Euler", "Automatic", 2, 1.0, distilled_cfg=scale)
        return latents_of(run_of(model(**kind), GenerationRequest(PROMPT, sampling=sampling, width=SIZE, height=SIZE, seed=SEED)))

    assert not torch.equal(drawn({}, 2.0), drawn({}, 8.0)) and torch.equal(drawn(SCHNELL, 2.0), drawn(SCHNELL, 8.0))


def test_a_large_picture_begins_with_more_noise():
    small, large = (trained_flow.sized(model().scheduler_config, *size)["shift"] for size in ((256, 256), (1024, 1024)))
    assert small == pytest.approx(1.6487, abs=1e-3) and large == pytest.approx(3.1582, abs=1e-3)  # e^0.5 for 256 tokens, e^1.15 for 4096
    assert trained_flow.sized(model(**SCHNELL).scheduler_config, 1024, 1024)["shift"] == 1.0
