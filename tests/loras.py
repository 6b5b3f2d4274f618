"""Tiny LoRAs with random numbers for tiny models, in the key names that are met in the wild. Nothing is downloaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2", "net.0.proj", "net.2")
CONVOLUTIONS = (*ATTENTION, "conv1", "conv2", "conv_in", "conv_shortcut", "conv")
RANK = 3

Tensors = dict[str, Any]


def layers(module: Any, ends: tuple[str, ...] = ATTENTION) -> Iterator[tuple[str, Any]]:
    """Name and weight of each layer that a LoRA may change."""
    for name, layer in module.named_modules():
        if getattr(layer, "weight", None) is not None and layer.weight.ndim >= 2 and name.endswith(ends):
            yield name, layer.weight


def random(*shape: int, seed: int) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.2


def pair(weight: Any, seed: int, rank: int = RANK) -> tuple[Any, Any]:
    """down (rank, in[, k, k]) and up (out, rank[, 1, 1]) for a weight."""
    return random(rank, *weight.shape[1:], seed=seed), random(weight.shape[0], rank, *[1] * (weight.ndim - 2), seed=seed + 1)


def peft(unet: Any = None, text: Any = None, seed: int = 0, ends: tuple[str, ...] = ATTENTION, text_2: Any = None) -> Tensors:
    """As diffusers saves it."""
    tensors = {}
    for part, module in (("unet", unet), ("text_encoder", text), ("text_encoder_2", text_2)):
        for i, (name, weight) in enumerate(layers(module, ends) if module is not None else ()):
            inside = name if part == "unet" else "text_model." + name.removeprefix("text_model.")
            tensors[f"{part}.{inside}.lora_A.weight"], tensors[f"{part}.{inside}.lora_B.weight"] = pair(weight, seed + 2 * i)
    return tensors


def kohya(unet: Any = None, text: Any = None, seed: int = 0, alpha: float = 2.0, ends: tuple[str, ...] = ATTENTION, text_2: Any = None) -> Tensors:
    """As kohya's scripts save it, with an alpha that is not the rank."""
    import torch

    tensors = {}
    first = "lora_te_text_model" if text_2 is None else "lora_te1_text_model"
    for part, module in (("lora_unet", unet), (first, text), ("lora_te2_text_model", text_2)):
        for i, (name, weight) in enumerate(layers(module, ends) if module is not None else ()):
            key = f"{part}_{name.removeprefix('text_model.').replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = pair(weight, seed + 2 * i)
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


def write(path: Path, tensors: Tensors, **metadata: str) -> Path:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return path
