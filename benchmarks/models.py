"""The models that are measured: the embedded one and a random one of the size of Stable Diffusion 1.5; ours and as the stock pipeline."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sd_ui  # noqa: F401  before diffusers: it prepares torchvision

# isort: split
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel

from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.policy import Policy
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling
from sd_ui.spec.samplers import resolved

ROOT = Path(__file__).parents[1]
PROMPT = "a large shiny red sphere on a checkered floor, at sunset"
SILENT = Delivery(preview="off")


def embedded(device: str = "auto", dtype: str = "auto") -> Engine:
    index = ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models")
    return Engine(PipelineManager(index.cards, choose(device, dtype), None), Blobs(Path(tempfile.mkdtemp())))


def leased(engine: Engine) -> Loaded:
    with engine.manager.lease(ModelChoice()) as loaded:
        return loaded


class Fixed:
    """A pipeline manager for one model that is there already."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded, self.resident = loaded, (loaded.card.name,)

    @contextmanager
    def lease(self, model: ModelChoice, loras: Any = (), work: Any = None) -> Any:
        yield self._loaded

    def policy(self, loaded: Loaded) -> Policy:
        return Policy()


def sd15_size(device: str = "auto", dtype: str = "auto") -> Engine:
    """860 M parameters of random numbers: only its speed means something. Text comes from the embedded model's encoder, widened."""
    loaded, place = leased(embedded(device, dtype)), choose(device, dtype)
    width = loaded.text_encoder.config.hidden_size
    torch.manual_seed(0)
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=width, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=32,
        )  # fmt: skip
    parts = {"unet": scrambled(unet, place), "vae": scrambled(vae, place)}
    facts = {**loaded.scheduler_config, "prediction_type": "epsilon"}
    return Engine(Fixed(replace(loaded, scheduler_config=facts, depth_unet=None, place=place, **parts)), Blobs(Path(tempfile.mkdtemp())))  # type: ignore[arg-type]


def scrambled(module: Any, place: Any) -> Any:
    module = module.to_empty(device=place.device).to(place.dtype).eval()
    for parameter in module.parameters():
        parameter.data.normal_(std=0.01)
    return module


def ours(engine: Engine, request: GenerationRequest, delivery: Delivery = SILENT) -> Callable[[], bytes]:
    def run() -> bytes:
        return next(event.rgb for event in engine.generate(request, delivery) if isinstance(event, Drawn))

    return run


def scheduler(sampling: Sampling, facts: Mapping[str, Any]) -> DPMSolverMultistepScheduler:
    """diffusers' own DPM++ 2M, for as many calls of the model as ours makes."""
    assert sampling.sampler == "DPM++ 2M"
    karras = resolved(sampling.sampler, sampling.schedule) == "Karras"
    return DPMSolverMultistepScheduler(**facts, algorithm_type="dpmsolver++", timestep_spacing="linspace", use_karras_sigmas=karras)


def stock(loaded: Loaded, request: GenerationRequest) -> Callable[[], Any]:
    """The same picture by diffusers' own pipeline over the same weights, sampler and settings."""
    sampling = request.sampling
    pipeline = StableDiffusionPipeline(
        vae=loaded.vae, text_encoder=loaded.text_encoder, tokenizer=loaded.tokenizer, unet=loaded.denoiser,
        scheduler=scheduler(sampling, loaded.scheduler_config), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)

    def run() -> Any:
        return pipeline(
            request.prompt, negative_prompt=request.negative_prompt, width=request.width, height=request.height, guidance_scale=sampling.cfg_scale,
            num_inference_steps=sampling.steps, generator=torch.Generator().manual_seed(request.seed),
        ).images[0]  # fmt: skip

    return run
