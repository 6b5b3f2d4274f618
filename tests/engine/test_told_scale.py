"""Latent consistency models whose U-Net is told the CFG scale: latents are diffusers' own, bit for bit, from folders and single files."""

import json
from dataclasses import replace

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_ui.engine.load import load
from sd_ui.spec.request import GenerationRequest, Guidance, Sampling
from tests.checkpoints import tiny_folder, tiny_single_file
from tests.engine.kscheduler import KScheduler
from tests.engine.tiny import CPU, SEED, SIZE, latents_of, run_of, stock
from tests.models.library import index

WIDTH, STEPS = 16, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    tiny_folder(models / "lcm", time_cond_proj_dim=WIDTH)
    return load(index(models).card("lcm"), None, CPU)


def request(cfg: float, **said) -> GenerationRequest:
    words = {"prompt": "a red cat", "negative_prompt": "house", **said}
    return GenerationRequest(**words, sampling=Sampling("DDIM", "Uniform", STEPS, cfg), width=SIZE, height=SIZE, seed=SEED)


@pytest.mark.parametrize("cfg", [8.0, 1.5, 1.0])
def test_latents_are_those_of_the_stock_pipeline(model, cfg):
    scheduler = KScheduler("DDIM", "Uniform", tuple(model.scheduler_config.items()), STEPS, STEPS)
    said = {"prompt": "a red cat", "negative_prompt": "house", "num_inference_steps": STEPS, "guidance_scale": cfg, "width": SIZE, "height": SIZE}
    run = run_of(model, request(cfg))
    assert torch.equal(latents_of(run), stock("StableDiffusionPipeline", model, scheduler, **said))
    assert run.made().batch == 1  # the negative prompt is not asked for


def test_the_scale_matters_and_goes_with_and_and_with_perturbed_attention(model):
    low, high = (latents_of(run_of(model, request(cfg))) for cfg in (2.0, 8.0))
    both = latents_of(run_of(model, request(8.0, prompt="a red cat AND a dog")))
    asked = request(8.0)
    pushed = latents_of(run_of(model, replace(asked, sampling=replace(asked.sampling, guidance=Guidance(pag=2.0)))))
    found = [low, high, both, pushed]
    assert all(one.isfinite().all() for one in found) and not any(torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_a_single_file_is_known_by_its_header_with_settings_of_few_steps(tmp_path):
    tensors = load_file(tiny_single_file(tmp_path / "plain.safetensors"))
    width = tensors["model.diffusion_model.input_blocks.0.0.weight"].shape[0]
    tensors["model.diffusion_model.time_embed.cond_proj.weight"] = torch.randn(width, WIDTH)
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "dream.safetensors")
    card = index(tmp_path / "models").card("dream")
    assert (card.fault, card.defaults.steps, card.defaults.cfg_scale, card.defaults.sampler) == ("", 4, 8.0, "LCM")
    unet = load(card, None, CPU).denoiser
    assert isinstance(unet, diffusers.UNet2DConditionModel) and unet.config.time_cond_proj_dim == WIDTH
    assert torch.equal(unet.time_embedding.cond_proj.weight, tensors["model.diffusion_model.time_embed.cond_proj.weight"])


def test_a_folder_of_diffusers_own_pipeline_for_them_is_such_a_model(tmp_path):
    folder = tiny_folder(tmp_path / "models" / "lcm", time_cond_proj_dim=WIDTH)
    named = folder / "model_index.json"
    said = json.loads(named.read_text()) | {"_class_name": "LatentConsistencyModelPipeline", "scheduler": ["diffusers", "LCMScheduler"]}
    named.write_text(json.dumps(said))
    facts = diffusers.LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    facts.save_pretrained(folder / "scheduler")
    card = index(tmp_path / "models").card("lcm")
    assert (card.fault, card.stock, card.modes) == ("", None, ("txt2img", "img2img", "inpaint"))
    assert latents_of(run_of(load(card, None, CPU), request(8.0))).isfinite().all()
