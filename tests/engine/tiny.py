"""Tiny models in memory, and the stock diffusers pipelines around the very same parts: the oracle of the engine's tests."""

import json
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from sd_ui.engine import guidance
from sd_ui.engine.denoise import Prediction
from sd_ui.engine.device import Place
from sd_ui.engine.driver import Question
from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.family import TextPart
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.inversions import Inversions
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.run import Clock, Run
from sd_ui.engine.text import TextEncoder
from sd_ui.prompt.language import calls_of
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.request import GenerationRequest, ImageRef
from tests.checkpoints import tiny_folder

SIZE = 64
SEED = 7
CPU = Place(torch.device("cpu"), torch.float32)
SILENT = Delivery(preview="off")
REF = ImageRef("0" * 64, SIZE, SIZE)
PICTURE = Image.fromarray(np.random.RandomState(0).randint(0, 255, (SIZE, SIZE, 3), np.uint8))
HOLE = np.zeros((SIZE, SIZE), np.uint8)
HOLE[16:48, 8:40] = 255
MASK = Image.fromarray(HOLE)
DEPTH = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@cache
def loaded(in_channels: int = 4, prediction_type: str = "epsilon", vae: str = "kl", seed: int = 0) -> Loaded:
    """Loaded by transformers and diffusers themselves, not by the product's loader."""
    with tempfile.TemporaryDirectory() as name:
        folder = tiny_folder(Path(name) / "model", in_channels, seed, prediction_type, vae)
        unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        kind = diffusers.AutoencoderTiny if vae == "tiny" else diffusers.AutoencoderKL
        parts = {
            "vae": kind.from_pretrained(folder / "vae").eval(),
            "texts": (TextPart(CLIPTextModel.from_pretrained(folder / "text_encoder").eval(), CLIPTokenizer.from_pretrained(folder / "tokenizer")),),
        }
        facts = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    facts = {k: facts[k] for k in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type")}
    card = ModelCard("tiny", "checkpoint", "sd1", Path(name), "folder", 0, ("txt2img",))
    depth = {
        "depth_unet": unet if in_channels == 5 else None,
        "inpaint_unet": unet if in_channels == 9 else None,
        "depth_estimator": None,
        "depth_processor": None,
    }
    return Loaded(
        card=card, vae_card=None, denoiser=unet, scheduler_config=facts, place=CPU, attention="sdpa", model_hash="", vae_hash="",
        family=FAMILIES["sd1"], **parts, **depth
    )  # fmt: skip


def run_of(model: Loaded, request: GenerationRequest, inputs: Inputs = Inputs(), inversions: Inversions = Inversions()) -> Run:
    sampling = request.sampling
    said = request.prompt, request.negative_prompt, request.model.clip_skip
    words = TextEncoder().encode(model, *said, guidance.scale(sampling), calls_of(sampling), request.emphasis, inversions)
    return Run(request, SILENT, model, inputs, words, inputs.scene(request, model))


@torch.inference_mode()
def latents_of(run: Run, index: int = 0) -> torch.Tensor:
    """Ours: the last latents, every question answered by the model."""
    return driven(run.sampled(index, Clock(0.0, 1)))


def driven(course: Generator[Any, Prediction | None, torch.Tensor]) -> torch.Tensor:
    answer = None
    try:
        while True:
            said = course.send(answer)
            answer = said.answer() if isinstance(said, Question) else None
    except StopIteration as end:
        return end.value


def stock(kind: str, model: Loaded, scheduler: Any, **asked: Any) -> torch.Tensor:
    """Theirs: the last latents of a stock pipeline over the same weights."""
    parts = {"vae": model.vae, "text_encoder": model.text_encoder, "tokenizer": model.tokenizer, "unet": model.denoiser, "scheduler": scheduler}
    if kind == "StableDiffusionDepth2ImgPipeline":
        parts |= {"depth_estimator": None, "feature_extractor": None}
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**asked, generator=torch.Generator().manual_seed(SEED), output_type="latent").images
