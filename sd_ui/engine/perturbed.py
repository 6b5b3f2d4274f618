"""Perturbed-attention guidance (Ahn et al. 2024): away from what the model says where it does not look at its own picture.

In some layers self-attention becomes the identity: each place sees itself alone. What the model says then lacks structure, and guidance goes the
other way. The layers are those of a second module tree over the same tensors, so that nobody else who uses the model notices.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from sd_ui.engine.denoise import Prediction
from sd_ui.engine.family import Conditioning, Perturbation
from sd_ui.engine.timeline import Timeline
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import Guidance

Module = TypeVar("Module", bound=nn.Module)
PARTS = {"mid": "mid", "down": "down", "up": "up", "all": ""}  # what stands in the names of the layers


def told(text: Timeline, asked: Guidance) -> Timeline:
    """The same texts, with the prompt's perturbed, too; as they are where the scale is 0."""
    if not asked.pag:
        return text
    perturbation = Perturbation(asked.pag, asked.pag_adaptive, asked.pag_layers)
    return replace(text, told=tuple(replace(each, perturbation=perturbation) for each in text.told))


def strength(perturbation: Perturbation, timestep: Tensor) -> Tensor | float:
    """The scale at a timestep of 1000: less by `adaptive` for each one that is behind, and never below 0."""
    if not perturbation.adaptive:
        return perturbation.scale
    left = perturbation.scale - perturbation.adaptive * (1000 - timestep)
    return left if left > 0 else 0.0


def pushed(
    prediction: Prediction, conds: Sequence[Tensor], perturbed: Sequence[Tensor], weights: Sequence[float], scale: Tensor | float
) -> Prediction:
    """guided + scale * (cond - perturbed), summed by their weights where AND joins several texts."""
    push: Any = scale * sum(weight * (cond - away) for cond, away, weight in zip(conds, perturbed, weights, strict=True))
    return replace(prediction, guided=prediction.guided + push, push=push)


def split(text: Conditioning, said: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Rows of an answer: those that are joined as ever, the prompt's texts among them, and the same perturbed."""
    count = len(text.conds)
    return list(said[:-count]), list(said[-2 * count : -count]), list(said[-count:])


# ---------------------------------------------------------------- the model
def view(denoiser: Module, layers: str, rows: int) -> Module:
    """A second module tree over the same tensors, whose last rows are perturbed. Raises BadRequest("pag_layers") where it has no such layers."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*denoiser.parameters(), *denoiser.buffers())}  # deepcopy takes them for copied
    second = copy.deepcopy(denoiser, memo)
    found = [layer for name, layer in second.named_modules() if re.search(PARTS[layers], name) and _looks_at_itself(layer)]
    if not found:
        raise BadRequest("pag_layers", f"the model has no self-attention in the part {layers!r}; choose another one ({', '.join(PARTS)})")
    for layer in found:
        layer.processor = Identity(layer.processor, rows)
    return second


def _looks_at_itself(layer: nn.Module) -> bool:
    return isinstance(layer, Attention) and not layer.is_cross_attention


class Identity:
    """An attention processor: of the last rows each place looks at itself alone; the others are looked after as before."""

    def __init__(self, usual: Any, rows: int) -> None:
        self.usual, self.rows = usual, rows

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kept, perturbed = hidden_states[: -self.rows], hidden_states[-self.rows :]  # (rows, places, channels)
        values = attn.to_out[0](attn.to_v(perturbed))
        return torch.cat([self.usual(attn, kept, *args, **kwargs), attn.to_out[1](values)])
