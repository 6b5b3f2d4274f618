"""The contract between a sampling method and the plan that runs it: a method asks at points (x, sigma) and is told the clean latent there."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from sd_ui.engine.samplers.levels import NoiseLevels


class Point(NamedTuple):
    """x: clean + sigma * noise. step: the sampling step that the question belongs to, from 0."""

    x: Tensor
    sigma: float
    step: int


class Said(NamedTuple):
    """denoised: the clean latent that guidance arrives at, uncond: the one without the prompt. x: the point's, with what is held put back."""

    denoised: Tensor
    x: Tensor
    uncond: Tensor


@dataclass(frozen=True)
class Tools:
    """What a method may use besides latents and sigmas, as float32 on the latents' device.

    noise: fresh unit noise, from the picture's own randomness, in the order of the calls.
    brownian: unit noise between two sigmas, of one Brownian path, whatever the order of the calls.
    """

    levels: NoiseLevels
    noise: Callable[[], Tensor]
    brownian: Callable[[float, float], Tensor]


Run = Generator[Point, Said, Tensor]  # returns the last x
Method = Callable[[Tensor, Sequence[float], Tools], Run]  # (x at the first sigma, sigmas, tools)


def ancestral(sigma: float, target: float) -> tuple[float, float]:
    """How far down to step, and how much fresh noise then leads to `target` (Song et al. 2021, DDPM-like steps; eta 1)."""
    up = min(target, (target**2 * max(sigma**2 - target**2, 0.0) / sigma**2) ** 0.5)
    return max(target**2 - up**2, 0.0) ** 0.5, up
