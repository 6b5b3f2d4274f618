"""A second model takes over for the last part of the way, where diffusers' own pair of pipelines hands over."""

from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch

from sd_ui.engine.denoise import Prediction
from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.refiner import Second, boundary, switched
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Drawn
from sd_ui.spec.request import GenerationRequest, ImageToImage, Inpaint, ModelChoice, Refiner, Sampling
from tests.engine.test_load import EMBEDDED
from tests.engine.test_oracle import CFG, INPUTS, NEGATIVE, PROMPT, the_mean_and_not_a_draw  # noqa: F401
from tests.engine.test_oracle_sdxl import model
from tests.engine.tiny import REF, SEED, SIZE, TextEncoder, latents_of, run_of
from tests.families import sdxl_folder

STEPS = 10
BASE = GenerationRequest(PROMPT, NEGATIVE, sampling=Sampling("Euler", "Uniform", STEPS, CFG), width=SIZE, height=SIZE, seed=SEED)


def with_refiner(request: GenerationRequest, switch_at: float, inputs: Inputs = Inputs()) -> Any:
    asked, second = replace(request, refiner=Refiner("refiner", switch_at)), model(refiner=True)
    words = TextEncoder().encode(second, PROMPT, NEGATIVE, 1, request.sampling.cfg_scale)
    return replace(run_of(model(), asked, inputs), second=Second(second, words, boundary(asked.refiner, model(), second)))


def stock(switch_at: float) -> torch.Tensor:
    """diffusers' "ensemble of expert denoisers": denoising_end of the one is denoising_start of the other."""
    first, second = model(), model(refiner=True)
    facts = {name: value for name, value in first.scheduler_config.items() if name.startswith("beta")}
    steps = {"num_inference_steps": STEPS, "guidance_scale": CFG, "prompt": PROMPT, "negative_prompt": NEGATIVE, "output_type": "latent"}

    def scheduler() -> Any:
        return diffusers.EulerDiscreteScheduler(**facts, timestep_spacing="linspace", steps_offset=1)

    (one, tokenizer), (two, tokenizer_2) = ((part.encoder, part.tokenizer) for part in first.texts)
    base = diffusers.StableDiffusionXLPipeline(
        vae=first.vae, unet=first.denoiser, scheduler=scheduler(), text_encoder=one, tokenizer=tokenizer, text_encoder_2=two, tokenizer_2=tokenizer_2,
        add_watermarker=False,
    )  # fmt: skip
    part = second.texts[0]
    refine = diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=second.vae, unet=second.denoiser, scheduler=scheduler(), text_encoder=None, tokenizer=None, text_encoder_2=part.encoder,
        tokenizer_2=part.tokenizer, requires_aesthetics_score=True, add_watermarker=False,
    )  # fmt: skip
    for pipeline in (base, refine):
        pipeline.set_progress_bar_config(disable=True)
    latents = base(**steps, width=SIZE, height=SIZE, denoising_end=switch_at, generator=torch.Generator().manual_seed(SEED)).images
    return refine(**steps, image=latents, denoising_start=switch_at).images


@pytest.mark.parametrize("switch_at", [0.3, 0.5, 0.8])
def test_the_refiner_takes_over_where_diffusers_hands_over(switch_at):
    ours, theirs = latents_of(with_refiner(BASE, switch_at)), stock(switch_at)
    assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3)  # their Euler computes with other roundings
    alone = latents_of(run_of(model(), BASE))
    assert (ours - theirs).abs().max() < 0.05 * (ours - alone).abs().max()


def test_at_1_the_refiner_never_comes():
    assert torch.equal(latents_of(with_refiner(BASE, 1.0)), latents_of(run_of(model(), BASE)))


@pytest.mark.parametrize("source", [ImageToImage(REF, 0.5), Inpaint(REF, REF, 0.5)])
def test_a_refiner_goes_with_every_mode_that_needs_latents_alone(source):
    request = replace(BASE, source=source)
    refined, plain = latents_of(with_refiner(request, 0.8, INPUTS)), latents_of(run_of(model(), request, INPUTS))
    assert refined.isfinite().all() and not torch.equal(refined, plain)


def test_each_model_answers_its_own_timesteps():
    answers = [Prediction(torch.zeros(1), torch.full((1,), float(which))) for which in (1, 2)]
    predict = switched(lambda latents, t: answers[0], lambda latents, t: answers[1], 200)
    assert [float(predict(torch.zeros(1), torch.tensor(t)).cond) for t in (999.0, 200.0, 199.9, 0.0)] == [1, 1, 2, 2]
    assert boundary(Refiner("x", 0.8), model(), model(refiner=True)) == 200


def test_models_that_do_not_understand_each_other_are_refused():
    with pytest.raises(BadRequest, match="v_prediction") as error:
        boundary(Refiner("x"), model(), model(refiner=True, prediction_type="v_prediction"))
    assert error.value.field == "refiner"
    with pytest.raises(BadRequest, match="more than latents"):
        boundary(Refiner("x"), model(), model(in_channels=9))


def test_a_job_borrows_both_models_and_gives_both_back(tmp_path):
    sdxl_folder(tmp_path / "models" / "base")
    sdxl_folder(tmp_path / "models" / "refiner", refiner=True)
    manager = PipelineManager(ModelIndex([tmp_path / "models"], EMBEDDED, tmp_path / "none").cards, choose("cpu"))
    request = replace(BASE, model=ModelChoice("base"), sampling=replace(BASE.sampling, steps=4), refiner=Refiner("refiner", 0.5))
    *_, said, _ = Engine(manager, Blobs(tmp_path / "blobs")).generate(request)
    assert isinstance(said, Drawn) and said.made.refiner_hash and said.made.refiner_hash != said.made.model_hash
    assert {kept.leases for kept in manager._kept.values()} == {0} and set(manager.resident) == {"base", "refiner"}
