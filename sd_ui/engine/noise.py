"""Seeded noise: drawn in float32 on the CPU, so that every device starts from the same numbers."""

import torch
from torch import Generator, Tensor

LATENT_SCALE = 8  # pixels per latent cell, along each side


def randomness(seed: int) -> Generator:
    """One generator per picture: first its noise, then what ancestral samplers add, in the order of the steps."""
    return torch.Generator("cpu").manual_seed(seed)


def latent_noise(channels: int, width: int, height: int, source: Generator) -> Tensor:
    """(1, channels, height/8, width/8): 4x64x64 for 512x512 pixels."""
    return torch.randn((1, channels, height // LATENT_SCALE, width // LATENT_SCALE), generator=source, dtype=torch.float32)
