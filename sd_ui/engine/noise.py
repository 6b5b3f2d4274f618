"""Seeded noise: drawn in float32 on the CPU, so that every device starts from the same numbers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sd_ui.engine.philox import CardNoise, PlaceNoise
from sd_ui.spec.request import NOISES, Noise

LATENT_SCALE = 8  # pixels per latent cell, along each side

Stream = Callable[[Sequence[int]], Tensor]  # shape -> the next unit noise


def cpu(seed: int) -> Stream:
    generator = torch.Generator("cpu").manual_seed(seed)
    return lambda shape: torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


STREAMS: dict[str, Callable[[int], Stream]] = dict(zip(NOISES, (cpu, CardNoise, PlaceNoise), strict=True))


class Drawn:
    """One stream per picture: first its noise, then what ancestral samplers add, in the order of the steps. source: one of `NOISES`."""

    def __init__(self, seed: int, source: str = NOISES[0]) -> None:
        self.seed, self._stream = seed, STREAMS[source]
        self.normal = self._stream(seed)

    def unit(self, seed: int, shape: Sequence[int]) -> Tensor:
        return self._stream(seed)(shape)

    def jump(self, delta: int) -> None:
        """What is drawn from now on is another seed's, as A1111's eta noise seed delta has it. The seed stays the picture's."""
        self.normal = self._stream((self.seed + delta) % 2**64)


def randomness(seed: int, source: str = NOISES[0]) -> Drawn:
    return Drawn(seed, source)


def latent_noise(channels: int, width: int, height: int, source: Drawn) -> Tensor:
    """(1, channels, height/8, width/8): 4x64x64 for 512x512 pixels."""
    return source.normal((1, channels, height // LATENT_SCALE, width // LATENT_SCALE))


def begun(channels: int, width: int, height: int, seed: int, asked: Noise) -> tuple[Tensor, Drawn]:
    """A picture's first noise, and where its steps draw theirs.

    As in A1111: the variation is a way from one noise to another, a resized seed puts the noise of another size into the middle.
    """
    source = randomness(seed, asked.source)
    noise = latent_noise(channels, width, height, source)
    resized = asked.from_width > 0 and asked.from_height > 0
    shape = (1, channels, asked.from_height // LATENT_SCALE, asked.from_width // LATENT_SCALE) if resized else tuple(noise.shape)
    first = source.unit(seed, shape) if resized else noise
    if asked.variation_strength:
        first = slerp(asked.variation_strength, first, source.unit(asked.variation_seed, shape))
    if resized:
        first = centred(first, noise)
    if asked.eta_delta:
        source.jump(asked.eta_delta)
    return first, source


def slerp(part: float, one: Tensor, other: Tensor) -> Tensor:
    """On the arc from one noise to another (Shoemake 1985), column by column, as A1111 does. (1, C, h, w)."""
    angle = (one / one.norm(dim=-2, keepdim=True) * other / other.norm(dim=-2, keepdim=True)).sum(-2, keepdim=True)
    if angle.mean() > 0.9995:  # the same noise twice
        return one
    omega = angle.clamp(-1, 1).acos()
    return (torch.sin((1 - part) * omega) * one + torch.sin(part * omega) * other) / torch.sin(omega)


def centred(small: Tensor, large: Tensor) -> Tensor:
    """`small` in the middle of `large`, or the middle of `small` where it is the larger one."""
    result = large.clone()
    (y, from_y, h), (x, from_x, w) = (overlap(small.shape[axis], large.shape[axis]) for axis in (-2, -1))
    result[..., y : y + h, x : x + w] = small[..., from_y : from_y + h, from_x : from_x + w]
    return result


def overlap(small: int, large: int) -> tuple[int, int, int]:
    """Where it goes, where it comes from, and how much there is of it, along one side. A1111's rounding."""
    gap = (large - small) // 2
    return (gap, 0, small) if gap >= 0 else (0, -gap, min(small + 2 * gap, large))
