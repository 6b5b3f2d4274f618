"""What a LoRA adds to a weight: the formulas of LoRA, LoCon, LoHa, LoKr and DoRA, on matrices of (out, in x kernel).

Sources: LoRA, arXiv 2106.09685; LoHa and LoKr, arXiv 2108.06098 and 2309.14859 with the layout of LyCORIS; DoRA, arXiv 2402.09353.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sd_ui.models.lora_keys import Layer

Roles = Mapping[str, Tensor]  # what a file holds for one layer, as `models.lora_keys` calls it


def delta(roles: Roles, weight: Tensor, strength: float, alpha: float | None = None) -> Tensor:
    """float32, of the weight's shape. alpha: where the tensors do not bring it; without any it is the rank, so that nothing is scaled.

    With DoRA the strength blends between the weight and its whole change, as in AUTOMATIC1111 and ComfyUI; peft agrees at strength 1.
    """
    alpha, rank = (float(roles["alpha"]) if "alpha" in roles else alpha), inner(roles)
    scale = strength * alpha / rank if alpha is not None and rank else strength  # in this order, as peft computes it
    if "magnitude" not in roles:
        return product(roles).mul_(scale).reshape(weight.shape)
    whole = (product(roles) * (alpha / rank if alpha is not None and rank else 1.0)).reshape(weight.shape)
    return (decomposed(weight.float() + whole, roles["magnitude"]) - weight.float()) * strength


def product(roles: Roles) -> Tensor:
    """The unscaled change as a matrix of its own."""
    if "up" in roles:
        return low_rank(roles["up"], roles["down"], roles.get("mid"))
    if "hada_w1_a" in roles:
        return factored(roles, "hada_w1", "hada_t1") * factored(roles, "hada_w2", "hada_t2")
    return kronecker(factored(roles, "lokr_w1", ""), factored(roles, "lokr_w2", "lokr_t2"))


def inner(roles: Roles) -> int:
    """The rank that alpha is divided by; 0 where all matrices are whole."""
    named = (role for role in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b") if role in roles)
    return next((roles[role].shape[0] for role in named), 0)


def low_rank(up: Tensor, down: Tensor, mid: Tensor | None) -> Tensor:
    """up (out, r), down (r, in x kernel); with a kernel of its own, mid (r, r, k, k), down is (r, in)."""
    if mid is None:
        return up.flatten(1) @ down.flatten(1)
    return torch.einsum("or,rskl,si->oikl", up.flatten(1), mid, down.flatten(1)).flatten(1)


def factored(roles: Roles, name: str, core: str) -> Tensor:
    """A matrix that is there as a whole, as a product of a (m, r) and b (r, n), or around a core t (r, s, k, k) with a (r, m) and b (s, n)."""
    if name in roles:
        return roles[name].flatten(1)
    a, b = roles[f"{name}_a"], roles[f"{name}_b"].flatten(1)
    if core not in roles:
        return a @ b
    return torch.einsum("rskl,ro,si->oikl", roles[core], a, b).flatten(1)


def kronecker(first: Tensor, second: Tensor) -> Tensor:
    """first (a, b), second (c, d x kernel): the kernel stays innermost, since the columns of the second do."""
    return torch.kron(first, second.contiguous())


def decomposed(weight: Tensor, magnitude: Tensor) -> Tensor:
    """Each row, or each column of inputs, with the length that was learned for it. magnitude: (out,), (out, 1, ...) or (1, in, ...)."""
    by_row = magnitude.shape[0] == weight.shape[0] == magnitude.numel()
    over = [axis for axis in range(weight.ndim) if axis != (0 if by_row else 1)]
    shape = [-1 if axis == (0 if by_row else 1) else 1 for axis in range(weight.ndim)]
    length = torch.linalg.vector_norm(weight, dim=over, keepdim=True).clamp(min=torch.finfo(weight.dtype).eps)
    return weight * (magnitude.float().reshape(shape) / length)


def said_alpha(metadata: Mapping[str, Any], layer: Layer, rank: int) -> float | None:
    """peft's alpha of a layer, which diffusers writes into the file's metadata. With rank stabilisation it grows with the rank's root."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        own = {key.removeprefix(f"{layer.part}."): value for key, value in config.items() if key.startswith(f"{layer.part}.")}
        patterns = {key.replace(".", "_"): value for key, value in (own.get("alpha_pattern") or {}).items()}
        alpha = next((value for key, value in patterns.items() if f"_{layer.name}".endswith(f"_{key}")), own.get("lora_alpha"))
        return None if alpha is None else float(alpha) * (math.sqrt(rank) if own.get("use_rslora") else 1.0)
    except (ValueError, TypeError, AttributeError, RecursionError):  # of another program, or damaged: the file's tensors still make sense
        return None
