"""A model that runs whole, by diffusers' own pipeline: what is in memory of it, and how a request is said to its pipeline."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import torch
from PIL import Image
from torch import nn

from sd_ui.engine.device import Place
from sd_ui.models.stock import IMG2IMG, TXT2IMG, UP, StockFamily
from sd_ui.prompt import plain
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import GenerationRequest, steps_to_run

DECODERS = ("vae", "movq")
USED = ("text_encoder", "text_encoder_2", "transformer", "unet", *DECODERS)  # one after the other
AS_ASKED = {"use_resolution_binning": False, "clean_caption": False}  # the size and the words that were asked for, not others near them
TRUE_CFG = "true_cfg_scale"  # pipelines with this one guide only if they are given a negative prompt, be it empty
TWO_STEPS = "intermediate_timesteps"  # a point between two steps, which makes sense for no other number of them


@dataclass(frozen=True)
class StockModel:
    """parts: what its pipelines are made of, by the names of their constructors; flags: what else those take.

    Its scheduler is never run: each picture gets a copy. attention: that of torch, which diffusers' own processors use.
    """

    card: ModelCard
    family: StockFamily
    parts: Mapping[str, Any]
    flags: Mapping[str, bool]
    place: Place
    model_hash: str = ""
    vae_hash: str = ""
    attention: str = "sdpa"
    loras: tuple[WornLora, ...] = ()

    @property
    def components(self) -> dict[str, nn.Module]:
        return {name: self.parts[name] for name in USED if name in self.parts}

    @property
    def vae(self) -> Any:
        return next(self.parts[name] for name in DECODERS if name in self.parts)

    def pipeline(self, mode: str) -> Any:
        """A pipeline of its own around the shared parts, for one picture: it keeps the state of a run in itself and in its scheduler."""
        kind = placed(getattr(diffusers, self.family.pipelines[mode]), self.place.device)
        absent = dict.fromkeys(self.family.without)
        off = {"requires_safety_checker": False} if "safety_checker" in absent else {}
        return kind(**{**self.parts, "scheduler": copy.deepcopy(self.parts["scheduler"])}, **absent, **off, **self.flags)


def placed(kind: type, device: torch.device) -> type:
    """The same pipeline, computing on this device, wherever its weights wait for their turn: it would go where the first of them lies."""
    there = property(lambda pipeline: device)
    return type(kind.__name__, (kind,), {"_execution_device": there, "device": there})


def place_for(place: Place) -> Place:
    """T5, Gemma and the transformers of these families overflow in float16; all were trained in bfloat16, or run well in it."""
    return replace(place, dtype=torch.bfloat16) if place.dtype == torch.float16 else place


# ---------------------------------------------------------------- a request, as a pipeline takes it
@dataclass(frozen=True)
class Call:
    """mode: which of the family's pipelines. said: its keyword arguments but for the generator. steps: that will run."""

    mode: str
    said: Mapping[str, Any]
    steps: int


def call(model: StockModel, request: GenerationRequest, image: Image.Image | None, mask: Image.Image | None) -> Call:
    """image: RGB, mask: L, white where new content goes, both of the request's size."""
    family, mode, strength = model.family, mode_of(request), request.strength
    knows = inspect.signature(getattr(diffusers, family.pipelines[mode]).__call__).parameters
    run = steps_to_run(request.sampling.steps, strength) if mode != TXT2IMG else request.sampling.steps
    said: dict[str, Any] = {
        "prompt": plain.told(request.prompt, request.emphasis),
        "num_inference_steps": request.sampling.steps,
        family.guidance: request.sampling.cfg_scale - family.above,
        "output_type": "np",
        **{name: value for name, value in (("width", request.width), ("height", request.height), *AS_ASKED.items()) if name in knows},
    }
    if family.negative and request.sampling.cfg_scale > 1 and (request.negative_prompt or family.guidance == TRUE_CFG):
        said["negative_prompt"] = plain.told(request.negative_prompt, request.emphasis)  # without one, each pipeline has a usual one of its own
    if TWO_STEPS in knows and request.sampling.steps != 2:
        said[TWO_STEPS] = None
    if mode != TXT2IMG:
        said |= {"image": image, "strength": strength_said(family, request.sampling.steps, run)}
    if "mask_image" in knows:
        said["mask_image"] = Image.new("L", (request.width, request.height), 255) if mask is None else mask
    return Call(mode, said, run)


def mode_of(request: GenerationRequest) -> str:
    """At strength 1 nothing of a picture is left: img2img is txt2img then. Inpainting still holds what lies outside the mask."""
    return TXT2IMG if request.mode == IMG2IMG and request.strength >= 1 else request.mode


def strength_said(family: StockFamily, steps: int, run: int) -> float:
    """What makes the pipeline run so many steps: in the middle between two numbers of them, where no rounding error matters."""
    return (run - 0.5) / steps if family.rounds == UP else min(1.0, (run + 0.5) / steps)
