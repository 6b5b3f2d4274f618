"""Noise schedules to choose from. Small latents need less noise: what destroys a 16x16 latent leaves the layout of a 64x64 one.

A schedule is written as betas, which every scheduler of diffusers accepts as `trained_betas`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

STEPS = 1000
USUAL = (0.00085, 0.012)  # Stable Diffusion's betas
LAST = 0.05  # what is left of the picture at the last step: nearly nothing, so that sampling may begin from pure noise, but not zero


def usual() -> Tensor:
    """Stable Diffusion's share of signal, alpha bar, by timestep."""
    first, last = (beta**0.5 for beta in USUAL)
    betas = torch.linspace(first, last, STEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0)


def shifted(factor: float) -> Tensor:
    """The usual one with its ratio of signal to noise multiplied (Hoogeboom et al. 2023), and ended as `ended_at` says."""
    ratio = usual() / (1 - usual()) * factor
    return ended_at(ratio / (1 + ratio), LAST)


def ended_at(alphas: Tensor, last: float) -> Tensor:
    """Stretched so that the last step keeps `last` of the picture and the first one what it had (Lin et al. 2023, who stretch to zero)."""
    root = alphas.sqrt()
    return ((root - root[-1]) * (root[0] - last) / (root[0] - root[-1]) + last) ** 2


CANDIDATES: Mapping[str, Callable[[], Tensor]] = {  # from the strongest to the mildest
    "usual": usual,
    "shifted by 4": lambda: shifted(4),
    "shifted by 16": lambda: shifted(16),
}


def betas(alphas: Tensor) -> list[float]:
    before = torch.cat([torch.ones(1, dtype=alphas.dtype), alphas[:-1]])
    return (1 - alphas / before).tolist()


def left_at(alphas: Tensor, strength: float) -> float:
    """What image-to-image leaves of the picture at a denoising strength: the square root of alpha bar."""
    return float(alphas[min(STEPS - 1, round(strength * STEPS))].sqrt())


def chosen(folder: Path) -> str:
    """The comparison's choice; without one, the mildest that was ever found good enough here."""
    path = folder / "chosen.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["schedule"]) if path.exists() else "shifted by 4"
