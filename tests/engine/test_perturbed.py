"""Perturbed-attention guidance is that of diffusers' own pipelines, bit for bit, and nobody else who uses the model notices."""

from dataclasses import replace

import diffusers
import pytest
import torch

from sd_ui.engine import guidance, interval, perturbed
from sd_ui.engine.denoise import Prediction
from sd_ui.engine.family import Perturbation
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest, Guidance, Sampling
from tests.engine.kscheduler import KScheduler
from tests.engine.test_adapters import fingerprint
from tests.engine.test_oracle_sdxl import model as sdxl
from tests.engine.tiny import SEED, SIZE, latents_of, loaded, run_of

PROMPT, NEGATIVE, STEPS = "a red cat", "house", 3
PAG = Guidance(pag=3.0)
SPLIT = {"mid": "mid", "down": "down", "up": "up", "all": ["down", "mid", "up"]}


def request(asked: Guidance = PAG, cfg: float = 4.0, sampler: str = "DDIM", **said) -> GenerationRequest:
    sampling = Sampling(sampler, "Uniform", STEPS, cfg, asked)
    return GenerationRequest(**{"prompt": PROMPT, "negative_prompt": NEGATIVE, **said}, sampling=sampling, width=SIZE, height=SIZE, seed=SEED)


def stock(kind: str, model, asked: Guidance, cfg: float) -> torch.Tensor:
    """Theirs, over a model of its own: they leave their processors in it."""
    scheduler = KScheduler("DDIM", "Uniform", tuple(model.scheduler_config.items()), STEPS, STEPS)
    parts = {
        "vae": model.vae,
        "unet": model.denoiser,
        "scheduler": scheduler,
        "text_encoder": model.texts[0].encoder,
        "tokenizer": model.texts[0].tokenizer,
    }
    if len(model.texts) > 1:
        parts |= {"text_encoder_2": model.texts[1].encoder, "tokenizer_2": model.texts[1].tokenizer, "add_watermarker": False}
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipe = getattr(diffusers, kind)(**parts, pag_applied_layers=SPLIT[asked.pag_layers])
    pipe.set_progress_bar_config(disable=True)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": cfg, "width": SIZE, "height": SIZE}
    said |= {"pag_scale": asked.pag, "pag_adaptive_scale": asked.pag_adaptive}
    return pipe(**said, generator=torch.Generator().manual_seed(SEED), output_type="latent").images


@pytest.mark.parametrize("cfg", [4.0, 1.0])
@pytest.mark.parametrize("asked", [PAG, replace(PAG, pag_adaptive=0.002), replace(PAG, pag_layers="down"), replace(PAG, pag_layers="all")])
def test_our_latents_are_those_of_the_stock_pipeline(asked, cfg):
    ours = latents_of(run_of(loaded(), request(asked, cfg)))
    assert torch.equal(ours, stock("StableDiffusionPAGPipeline", loaded.__wrapped__(), asked, cfg))
    assert not torch.equal(ours, latents_of(run_of(loaded(), request(Guidance(), cfg))))


@pytest.mark.parametrize("cfg", [4.0, 1.0])
def test_stable_diffusion_xl_likewise(cfg):
    ours = latents_of(run_of(sdxl(), request(PAG, cfg)))
    assert torch.equal(ours, stock("StableDiffusionXLPAGPipeline", sdxl.__wrapped__(), PAG, cfg))


# ---------------------------------------------------------------- the formula
def test_the_scale_falls_with_the_timesteps_and_not_below_nothing():
    falling = Perturbation(3.0, 0.005)
    assert perturbed.strength(Perturbation(3.0), torch.tensor(10.0)) == 3.0
    assert [float(perturbed.strength(falling, torch.tensor(float(t)))) for t in (1000, 800, 400, 100)] == [3.0, 2.0, 0.0, 0.0]


def test_texts_that_and_joins_are_pushed_by_their_weights():
    a, b, away_a, away_b, uncond = (torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(i)) for i in range(5))
    joined = Prediction(uncond, a, uncond)
    found = perturbed.pushed(joined, [a, b], [away_a, away_b], [1.0, -0.5], 2.0)
    torch.testing.assert_close(found.push, 2 * (a - away_a) - (b - away_b))
    torch.testing.assert_close(found.guided, uncond + found.push)


@pytest.mark.parametrize("method", ["CFG", "CFG-Zero*", "APG"])
def test_it_goes_with_every_way_to_join(method):
    """Over predictions that are clean latents already; a clean latent moves as far as what it is made of."""
    cond, uncond, push = (torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    asked = Guidance(method, threshold=0.0, momentum=0.0)
    plain = guidance.guided(uncond, cond, 4.0)
    pushed = replace(plain, guided=plain.guided + push, push=push)
    alone, both = (guidance.guide(asked, 4.0)(said, lambda x: x) for said in (plain, pushed))
    torch.testing.assert_close(both, alone + push)


# ---------------------------------------------------------------- nobody else notices
def test_the_model_keeps_its_weights_and_its_attention():
    model = loaded()
    before, kinds = fingerprint(model.denoiser), {id(processor) for processor in model.denoiser.attn_processors.values()}
    plain = latents_of(run_of(model, request(Guidance())))
    latents_of(run_of(model, request()))
    assert fingerprint(model.denoiser) == before and {id(processor) for processor in model.denoiser.attn_processors.values()} == kinds
    assert torch.equal(latents_of(run_of(model, request(Guidance()))), plain)


def test_the_view_shares_every_tensor():
    unet = loaded().denoiser
    seen = perturbed.view(unet, "mid", 1)
    assert seen is not unet and all(a is b for a, b in zip(seen.parameters(), unet.parameters(), strict=True))
    changed = [name for name, one in seen.attn_processors.items() if isinstance(one, perturbed.Identity)]
    assert changed and all(name.startswith("mid_block") and "attn1" in name for name in changed)


def test_a_model_without_such_layers_says_so():
    with pytest.raises(BadRequest, match="no self-attention in the part 'mid'"):
        perturbed.view(torch.nn.Linear(2, 2), "mid", 1)


@pytest.mark.parametrize("negative", [NEGATIVE, "house " * 80])
def test_each_call_has_a_row_more_for_each_text(negative):
    run = run_of(loaded(), request(prompt="a cat AND a dog", negative_prompt=negative))
    (told,) = perturbed.told(run.text, PAG).told
    assert [(len(call.tokens), call.perturbed) for call in told.calls] == ([(5, 2)] if negative == NEGATIVE else [(1, 0), (4, 2)])
    assert run.made().batch == (5 if negative == NEGATIVE else 4)
    assert latents_of(run).isfinite().all()


def test_where_guidance_has_ended_nothing_is_perturbed():
    run = run_of(loaded(), request(Guidance(pag=3.0, stop=0.5)))
    (told,) = interval.bare(perturbed.told(run.text, PAG)).told
    assert told.perturbation is None and latents_of(run).isfinite().all()
    assert perturbed.told(run.text, Guidance()) is run.text
