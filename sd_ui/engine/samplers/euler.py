"""One step at a time, in sigma itself: Euler, Heun and the midpoint rule (Karras et al. 2022), and what was made of them."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from sd_ui.engine.samplers.method import Point, Run, Tools, ancestral


def euler(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Karras et al. 2022, algorithm 1 without the correction; in its own variables this is DDIM (Song et al. 2020)."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        x = x + (x - denoised) / sigma * (target - sigma)
    return x


def euler_a(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        down, up = ancestral(sigma, target)
        x = x + (x - denoised) / sigma * (down - sigma)
        if target > 0:
            x = x + tools.noise() * up
    return x


def heun(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Karras et al. 2022, algorithm 1: the mean of the slopes at both ends. Where sigmas rise, noise is added (see `restarted`)."""
    i = 0
    for sigma, target in pairwise(sigmas):
        if target > sigma:
            x = x + tools.noise() * (target**2 - sigma**2) ** 0.5
            continue
        denoised, x, _ = yield Point(x, sigma, i)
        slope = (x - denoised) / sigma
        guess = x + slope * (target - sigma)
        if target > 0:
            ahead, guess, _ = yield Point(guess, target, i)
            guess = x + (slope + (guess - ahead) / target) / 2 * (target - sigma)
        x, i = guess, i + 1
    return x


def dpm2(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """The slope halfway, halfway in log sigma (DPM-Solver-2, Lu et al. 2022)."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        x = yield from midpoint(x, denoised, sigma, target, i)
    return x


def dpm2_a(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        down, up = ancestral(sigma, target)
        x = yield from midpoint(x, denoised, sigma, down, i)
        if down > 0:
            x = x + tools.noise() * up
    return x


def midpoint(x: Tensor, denoised: Tensor, sigma: float, target: float, step: int) -> Run:
    slope = (x - denoised) / sigma
    if target == 0:
        return x + slope * (target - sigma)
    middle = (sigma * target) ** 0.5
    ahead, guess, _ = yield Point(x + slope * (middle - sigma), middle, step)
    return x + (guess - ahead) / middle * (target - sigma)


def ddim_cfgpp(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """CFG++ (Chung et al. 2024): the clean latent is the guided one, the noise that is put back is the unconditional one."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, uncond = yield Point(x, sigma, i)
        x = denoised + (x - uncond) / sigma * target
    return x
