"""A checkpoint of random numbers of the size of Stable Diffusion 1.5, in float16: as one file as A1111 reads it, and as a diffusers folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sd_ui  # noqa: F401  before diffusers: it prepares torchvision

# isort: split
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from sd_ui.engine import original, parts
from sd_ui.models import folders, published, tokens

NAMES = {"unet": published.UNET, "vae": published.FIRST_STAGE, "text_encoder": "cond_stage_model.transformer.text_model."}
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
}


def written(place: Path) -> tuple[Path, Path]:
    """1,066 M numbers, 2.1 GB each. -> the file, the folder"""
    file, folder = place / "one file.safetensors", place / "random"
    place.mkdir(parents=True, exist_ok=True)
    weights = {part: _random(module) for part, module in _modules().items()}
    _write_folder(folder, weights)
    renamed = {NAMES[part] + _published(part, name): tensor for part, named in weights.items() for name, tensor in named.items()}
    save_file(renamed, file)
    return file, folder


def _modules() -> dict[str, Any]:
    sd1 = published.SD1
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(**_facts(UNet2DConditionModel, sd1.unet)),
            "vae": AutoencoderKL(**_facts(AutoencoderKL, sd1.vae)),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**folders.config(sd1.texts[0].config / folders.CONFIG))),
        }


def _facts(kind: type, folder: Path) -> dict[str, Any]:
    return parts.facts(kind, folders.config(folder / folders.CONFIG))


def _random(module: torch.nn.Module) -> dict[str, Tensor]:
    """Numbers that repeat after a while: nobody draws with them, and making a thousand million takes its time."""
    some = (torch.randn(2**22, generator=torch.Generator().manual_seed(0)) * 0.02).half()

    def tensor(shape: torch.Size) -> Tensor:
        return some.repeat(-(-shape.numel() // len(some)))[: shape.numel()].clone().reshape(shape)

    return {name: tensor(wanted.shape) for name, wanted in module.state_dict().items() if wanted.is_floating_point()}


def _published(part: str, name: str) -> str:
    return {"unet": original.unet_name, "vae": original.vae_name}.get(part, str)(name)


def _write_folder(folder: Path, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    sd1 = published.SD1
    for part, config in {"unet": sd1.unet, "vae": sd1.vae, "text_encoder": sd1.texts[0].config, "scheduler": published.SCHEDULER}.items():
        shutil.copytree(config, folder / part)
    for part, named in weights.items():
        save_file(dict(named), folder / part / f"{WEIGHTS[part]}.safetensors", {"format": "pt"})
    shutil.copytree(tokens.CLIP_L, folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
