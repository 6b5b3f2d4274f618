"""DPM-Solver++ for the stochastic equation (Lu et al. 2022b): fresh noise at every step, taken from one Brownian path. eta is 1."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sd_ui.engine.samplers.method import Point, Run, Tools, ancestral


def dpmpp_sde(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Two questions a step: the clean latent halfway, in log sigma, stands for the whole step."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        if target == 0:
            x = denoised
            continue
        whole, half, end = published(sigma, target)
        down, up = ancestral(sigma, half)
        guess = down / sigma * x + (1 - down / sigma) * denoised + tools.brownian(whole, half) * up
        ahead, _, _ = yield Point(guess, half, i)
        down, up = ancestral(sigma, target)
        x = down / sigma * x + (1 - down / sigma) * ahead + tools.brownian(whole, end) * up
    return x


def published(sigma: float, target: float) -> tuple[float, float, float]:
    """Start, middle and end of a step as k-diffusion comes by them, in float32: a Brownian path differs between neighbouring numbers."""
    t, end = (-torch.tensor(s, dtype=torch.float32).log() for s in (sigma, target))
    start, middle, finish = ((-s).exp() for s in (t, t + (end - t) * 0.5, end))
    return start.item(), middle.item(), finish.item()


def dpmpp_2m_sde(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """One question a step, the line through the last two clean latents; the midpoint form."""
    return _two(x, sigmas, tools, lambda h: -math.expm1(-2 * h) / 2)


def dpmpp_2m_sde_heun(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """The same, with the line integrated as it is."""
    return _two(x, sigmas, tools, lambda h: math.expm1(-2 * h) / (2 * h) + 1)


def _two(x: Tensor, sigmas: Sequence[float], tools: Tools, bend: Callable[[float], float]) -> Run:
    """bend: how much a line through the clean latents counts, for a step of h in log sigma."""
    old: tuple[Tensor, float] | None = None
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        if target == 0:
            return denoised
        h = math.log(sigma / target)
        x = kept(x, denoised, h)
        if old is not None:
            x = x + (denoised - old[0]) * (bend(h) * h / old[1])
        x = x + fresh(tools, sigma, target)
        old = denoised, h
    return x


def dpmpp_3m_sde(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """One question a step, the parabola through the last three clean latents (Katherine Crowson, k-diffusion)."""
    seen: list[tuple[Tensor, float]] = []  # clean latents and steps, the latest first
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        if target == 0:
            return denoised
        h = math.log(sigma / target)
        x = kept(x, denoised, h) + bent(denoised, h, seen) + fresh(tools, sigma, target)
        seen = [(denoised, h), *seen][:2]
    return x


def bent(denoised: Tensor, h: float, seen: Sequence[tuple[Tensor, float]]) -> Tensor | float:
    """What slope and curvature of the earlier clean latents add to a step."""
    if not seen:
        return 0.0
    (one, h_1), *older = seen
    line = (denoised - one) / (h_1 / h)
    phi_2 = math.expm1(-2 * h) / (2 * h) + 1
    if not older:
        return phi_2 * line
    ((two, h_2),) = older
    before = (one - two) / (h_2 / h)
    curve = (line - before) / ((h_1 + h_2) / h)
    return phi_2 * (line + curve * (h_1 / h)) - (phi_2 / (2 * h) - 0.5) * curve


def kept(x: Tensor, denoised: Tensor, h: float) -> Tensor:
    """The step of order 1, without its noise."""
    return math.exp(-2 * h) * x - math.expm1(-2 * h) * denoised


def fresh(tools: Tools, sigma: float, target: float) -> Tensor:
    return tools.brownian(sigma, target) * (target * (1 - (target / sigma) ** 2) ** 0.5)
