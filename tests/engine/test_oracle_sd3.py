"""SD 3 and 3.5: our latents are those of diffusers' own pipelines, bit for bit, in every mode that the family has."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from sd_ui.engine import pixels, preview, text
from sd_ui.engine.device import Place
from sd_ui.engine.families import sd3
from sd_ui.engine.load import load
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.preview import previewer
from sd_ui.engine.run import Inputs
from sd_ui.spec.request import GenerationRequest, ImageToImage, Inpaint, ModelChoice, Sampling, steps_to_run
from tests.engine.kflow import followed
from tests.engine.test_load import card
from tests.engine.test_oracle import CFG, INPUTS, NEGATIVE, PROMPT, STEPS, STRENGTH, the_mean_and_not_a_draw  # noqa: F401
from tests.engine.tiny import CPU, MASK, PICTURE, REF, SEED, SIZE, latents_of, run_of
from tests.mmdit import sd3_folder

SIZED = {"width": SIZE, "height": SIZE}
PAINTED = {"image": PICTURE, "mask_image": MASK, **SIZED}
MODES: dict[str, tuple[Any, dict[str, Any], str, dict[str, Any]]] = {
    "txt2img": (None, {}, "StableDiffusion3Pipeline", SIZED),
    "img2img": (ImageToImage(REF, STRENGTH), {}, "StableDiffusion3Img2ImgPipeline", {"image": PICTURE, "strength": STRENGTH, **SIZED}),
    "inpaint": (Inpaint(REF, REF, STRENGTH), {}, "StableDiffusion3InpaintPipeline", {**PAINTED, "strength": STRENGTH}),
    "inpaint, strength 1": (Inpaint(REF, REF, 1.0), {}, "StableDiffusion3InpaintPipeline", {**PAINTED, "strength": 1.0}),
    "inpaint, 33 channels": (
        Inpaint(REF, REF, STRENGTH), {"in_channels": 33}, "StableDiffusion3InpaintPipeline", {**PAINTED, "strength": STRENGTH}),
    "3.5, txt2img": (None, {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}, "StableDiffusion3Pipeline", SIZED),
    "without T5": (None, {"with_t5": False}, "StableDiffusion3Pipeline", SIZED),
}  # fmt: skip


@cache
def model(**kind: Any) -> Loaded:
    with tempfile.TemporaryDirectory() as name:
        return load(card(sd3_folder(Path(name) / "model", **kind)), None, CPU)


def stock(kind: str, ours: Loaded, scheduler: Any, **asked: Any) -> torch.Tensor:
    """Theirs: the last latents, from the same weights."""
    parts: dict[str, Any] = {"vae": ours.vae, "transformer": ours.denoiser, "scheduler": scheduler, "text_encoder_3": None, "tokenizer_3": None}
    for part, said in zip(("", "_2", "_3"), ours.texts, strict=False):
        parts |= {f"text_encoder{part}": said.encoder, f"tokenizer{part}": t5_for_stock(said.tokenizer) if said.length else said.tokenizer}
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**asked, generator=torch.Generator().manual_seed(SEED), output_type="latent").images


def t5_for_stock(tokenizer: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def both(mode: str, sampler: str, schedule: str, cfg: float = CFG, scheduler: Any = None) -> Any:
    source, kind, pipeline, asked = MODES[mode]
    ours = model(**kind)
    request = GenerationRequest(PROMPT, NEGATIVE, ModelChoice(), Sampling(sampler, schedule, STEPS, cfg), SIZE, SIZE, SEED, source=source)
    run = STEPS if source is None else steps_to_run(STEPS, source.strength)
    scheduler = scheduler or followed(ours, sampler, schedule, STEPS, run, SIZE)
    theirs = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": cfg}
    return latents_of(run_of(ours, request, INPUTS if source else Inputs())), stock(pipeline, ours, scheduler, **theirs, **asked)


@pytest.mark.parametrize(("sampler", "schedule"), [("Euler", "Automatic"), ("Heun", "Beta")])
@pytest.mark.parametrize("mode", MODES)
def test_our_loop_is_the_stock_pipeline(mode, sampler, schedule):
    ours, theirs = both(mode, sampler, schedule)
    assert torch.equal(ours, theirs) and ours.isfinite().all()


@pytest.mark.parametrize("mode", ["txt2img", "img2img", "inpaint"])
def test_guidance_off(mode):
    ours, theirs = both(mode, "Euler", "Uniform", cfg=1.0)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["txt2img", "img2img", "inpaint"])
def test_with_diffusers_own_scheduler_only_the_last_bits_differ(mode):
    ours, theirs = both(mode, "Euler", "Automatic", scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert float((ours - theirs).abs().max()) <= 1e-5


# ---------------------------------------------------------------- texts
def test_both_clips_stand_before_t5_and_speak_for_the_whole():
    said = text.embedding(model(), PROMPT, 1)
    assert said.tokens.shape == (1, 77 + sd3.T5_TOKENS, 48) and said.pooled is not None and said.pooled.shape == (1, 32)
    assert not said.tokens[:, :77, 32:].any()
    without = text.embedding(model(with_t5=False), PROMPT, 1)
    assert without.tokens.shape == said.tokens.shape and not without.tokens[:, 77:].any()


def test_clip_skip_goes_back_from_the_layer_that_was_trained_with():
    first, second, third = (text.embedding(model(), PROMPT, skip).tokens for skip in (1, 2, 3))
    assert torch.equal(first, second) and not torch.equal(first, third) and torch.equal(first[:, 77:], third[:, 77:])


def test_no_word_of_a_long_prompt_is_lost():
    long = "cat " * 300
    said = text.embedding(model(), long, 1)
    (count,) = {len(model().texts[-1].tokenizer.encode(long).ids)}
    assert said.tokens.shape == (1, 4 * 77 + count, 48) and count > sd3.T5_TOKENS


def test_a_word_with_a_weight_weighs_for_t5_too():
    plain, heavy = (text.embedding(model(), words, 1, "No norm").tokens[0, 77:] for words in ("a cat", "a (cat:1.5)"))
    assert torch.allclose(heavy[2], plain[2] * 1.5) and torch.equal(heavy[:2], plain[:2]) and torch.equal(heavy[3:], plain[3:])


def test_a_prompt_of_several_chunks_goes_with_a_short_negative_one():
    request = GenerationRequest("cat " * 90, "dog", sampling=Sampling("Euler", "Automatic", 2, CFG), width=SIZE, height=SIZE, seed=SEED)
    assert latents_of(run_of(model(), request)).isfinite().all()


# ---------------------------------------------------------------- pictures
def test_strength_1_is_txt2img():
    source = ImageToImage(REF, 1.0)
    request = GenerationRequest(PROMPT, NEGATIVE, sampling=Sampling("Euler", "Automatic", 3, CFG), width=SIZE, height=SIZE, seed=SEED)
    assert torch.equal(latents_of(run_of(model(), request)), latents_of(run_of(model(), replace(request, source=source), INPUTS)))


@pytest.mark.parametrize("place", [torch.float32, torch.bfloat16])
def test_a_run_ends_in_a_picture_with_previews_of_the_models_own_colours(place):
    with tempfile.TemporaryDirectory() as name:
        ours = load(card(sd3_folder(Path(name) / "model")), None, Place(torch.device("cpu"), place))
    request = GenerationRequest(PROMPT, sampling=Sampling("Euler", "Automatic", 2, CFG), width=SIZE, height=SIZE, seed=SEED)
    latents = latents_of(run_of(ours, request))
    with torch.inference_mode():
        assert pixels.decoded(ours, latents).size == (SIZE, SIZE) and previewer(ours)(latents)[:2] == b"\xff\xd8"


def test_colours_of_latents_are_found_out_from_the_vae():
    """Where a VAE keeps colours in three of its channels, the fitted matrix finds them."""

    class Vae:
        config = diffusers.configuration_utils.FrozenDict(scaling_factor=2.0, shift_factor=0.5)
        dtype = torch.float32

        def encode(self, pixels):
            small = torch.nn.functional.interpolate(pixels, scale_factor=1 / 8, mode="area")
            return SimpleNamespace(latents=torch.cat([small.flip(1), torch.zeros(1, 13, *small.shape[-2:])], dim=1))

    factors = preview.fitted(replace(model(), vae=Vae()))
    grey = torch.full((3,), 0.25)
    latents = torch.cat([(grey - 0.5) * 2, (torch.zeros(13) - 0.5) * 2, torch.ones(1)])
    assert factors.shape == (17, 3) and torch.allclose(latents @ factors, grey, atol=0.02)


def test_t5_stays_exact_where_float16_would_overflow(tmp_path):
    ours = load(card(sd3_folder(tmp_path / "model")), None, Place(torch.device("cpu"), torch.float16))
    t5 = ours.texts[-1].encoder
    assert {name.rsplit(".", 2)[1] for name, tensor in t5.named_parameters() if tensor.dtype == torch.float32} == {"wo"}
    assert t5.encoder.embed_tokens is t5.shared and ours.denoiser.dtype == torch.float16
