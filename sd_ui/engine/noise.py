"""Seeded noise: drawn in float32 on the CPU, so that every device starts from the same numbers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LATENT_SCALE = 8  # pixels per latent cell, along each side

Stream = Callable[[Sequence[int]], Tensor]  # shape -> the next unit noise


def cpu(seed: int) -> Stream:
    generator = torch.Generator("cpu").manual_seed(seed)
    return lambda shape: torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


class Drawn:
    """One stream per picture: first its noise, then what ancestral samplers add, in the order of the steps."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.normal = cpu(seed)

    def unit(self, seed: int, shape: Sequence[int]) -> Tensor:
        return cpu(seed)(shape)


def randomness(seed: int) -> Drawn:
    return Drawn(seed)


def latent_noise(channels: int, width: int, height: int, source: Drawn) -> Tensor:
    """(1, channels, height/8, width/8): 4x64x64 for 512x512 pixels."""
    return source.normal((1, channels, height // LATENT_SCALE, width // LATENT_SCALE))
