"""Our loop gives the latents of the stock diffusers pipelines, bit for bit, with the same sampling methods behind diffusers' protocol.

That the methods are those of their papers is `test_samplers`'s promise. DPM adaptive asks as its answers lead it, which pipelines cannot; CFG++
needs both predictions, which they do not hand on.
"""

from dataclasses import replace

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from sd_ui.engine.inputs import Inputs
from sd_ui.engine.samplers.table import ROWS
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, Sampling, steps_to_run
from sd_ui.spec.samplers import SAMPLERS
from tests.engine.kscheduler import KScheduler
from tests.engine.tiny import DEPTH, MASK, PICTURE, REF, SEED, SIZE, latents_of, loaded, run_of, stock

STEPS, STRENGTH, CFG = 8, 0.5, 4.5
PROMPT, NEGATIVE = "a photo of a red cat", "the dog house"
PAIRS = [("DDIM", "Uniform"), ("Euler", "Uniform"), ("Euler a", "Uniform"), ("DPM++ 2M", "Uniform"), ("DPM++ 2M", "Karras"), ("Heun", "Uniform"),
         ("UniPC", "Uniform")]  # fmt: skip
STOCK = [name for name in ROWS if name not in ("DPM adaptive", "DDIM CFG++")]
EVERY_SAMPLER = [(name, "Automatic") for name in STOCK]
EVERY_SCHEDULE = [("Euler", schedule) for schedule in SAMPLERS["Euler"].schedules]
SOURCES = {
    "txt2img": (None, 4, "StableDiffusionPipeline", {"width": SIZE, "height": SIZE}),
    "img2img": (ImageToImage(REF, STRENGTH), 4, "StableDiffusionImg2ImgPipeline", {"image": PICTURE, "strength": STRENGTH}),
    "inpaint, 4 channels": (Inpaint(REF, REF, STRENGTH), 4, "StableDiffusionInpaintPipeline",
                            {"image": PICTURE, "mask_image": MASK, "strength": STRENGTH, "width": SIZE, "height": SIZE}),
    "inpaint, 9 channels": (Inpaint(REF, REF, STRENGTH), 9, "StableDiffusionInpaintPipeline",
                            {"image": PICTURE, "mask_image": MASK, "strength": STRENGTH, "width": SIZE, "height": SIZE}),
    "inpaint, strength 1": (Inpaint(REF, REF, 1.0), 4, "StableDiffusionInpaintPipeline",
                            {"image": PICTURE, "mask_image": MASK, "strength": 1.0, "width": SIZE, "height": SIZE}),
    "depth2img": (DepthToImage(REF, None, STRENGTH), 5, "StableDiffusionDepth2ImgPipeline",
                  {"image": PICTURE, "depth_map": DEPTH[None], "strength": STRENGTH}),
}  # fmt: skip
INPUTS = Inputs(PICTURE, MASK, DEPTH)


@pytest.fixture(autouse=True)
def the_mean_and_not_a_draw(monkeypatch):
    """Stock pipelines draw from the VAE's distribution with the run's generator; we take its mean, so that the noise stays txt2img's.

    Contiguous, as ours is.
    """
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode().contiguous())


def both(source, in_channels, kind, asked, sampler, schedule, prediction_type="epsilon", cfg=CFG, betas=None):
    model = loaded(in_channels, prediction_type)
    model = replace(model, scheduler_config={**model.scheduler_config, "trained_betas": betas})
    request = GenerationRequest(PROMPT, NEGATIVE, sampling=Sampling(sampler, schedule, STEPS, cfg), width=SIZE, height=SIZE, seed=SEED, source=source)
    inputs = Inputs() if source is None else INPUTS
    run = STEPS if source is None else steps_to_run(STEPS, source.strength)
    scheduler = KScheduler(sampler, schedule, tuple(model.scheduler_config.items()), STEPS, run)
    theirs = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": cfg}
    return latents_of(run_of(model, request, inputs)), stock(kind, model, scheduler, **theirs, **asked)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
@pytest.mark.parametrize("mode", SOURCES)
def test_our_loop_is_the_stock_pipeline(mode, sampler, schedule):
    ours, theirs = both(*SOURCES[mode], sampler, schedule)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("sampler", "schedule"), EVERY_SAMPLER + EVERY_SCHEDULE)
@pytest.mark.parametrize("mode", ["txt2img", "inpaint, 4 channels"])
def test_every_sampler_and_schedule_that_we_offer(mode, sampler, schedule):
    ours, theirs = both(*SOURCES[mode], sampler, schedule)
    assert torch.equal(ours, theirs) and ours.isfinite().all()


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_v_prediction(sampler, schedule):
    ours, theirs = both(*SOURCES["txt2img"], sampler, schedule, prediction_type="v_prediction")
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_a_noise_schedule_of_the_models_own(sampler, schedule):
    betas = torch.linspace(0.001, 0.03, 1000).tolist()
    ours, theirs = both(*SOURCES["txt2img"], sampler, schedule, prediction_type="v_prediction", betas=betas)
    usual, _ = both(*SOURCES["txt2img"], sampler, schedule, prediction_type="v_prediction")
    assert torch.equal(ours, theirs) and not torch.allclose(ours, usual)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_guidance_off(sampler, schedule):
    ours, theirs = both(*SOURCES["txt2img"], sampler, schedule, cfg=1.0)
    assert torch.equal(ours, theirs)
