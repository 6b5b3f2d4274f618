"""DPM-Solver (Lu et al. 2022), in the variable t = -log sigma: single steps of order 1 to 3, and what chooses between them."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sd_ui.engine.samplers.method import Point, Run, Said, Tools, ancestral

NO_WAY = 1e-5  # in t: near enough to the end


def dpmpp_2s_a(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """DPM-Solver++(2S) (Lu et al. 2022b), ancestral: the clean latent halfway stands for the whole step."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        down, up = ancestral(sigma, target)
        if down == 0:
            x = denoised
        else:
            middle = (sigma * down) ** 0.5
            ratio = middle / sigma
            ahead, _, _ = yield Point(ratio * x + (1 - ratio) * denoised, middle, i)
            x = down / sigma * x + (1 - down / sigma) * ahead
        if target > 0:
            x = x + tools.noise() * up
    return x


# ---------------------------------------------------------------- the steps of DPM-Solver, in eps
def slope(x: Tensor, denoised: Tensor, t: float) -> Tensor:
    return (x - denoised) * math.exp(t)


def first(x: Tensor, eps: Tensor, t: float, end: float) -> Tensor:
    return x - math.exp(-end) * math.expm1(end - t) * eps


def second(x: Tensor, eps: Tensor, eps_1: Tensor, t: float, end: float, r: float) -> Tensor:
    """eps_1: after the part r of the step."""
    return first(x, eps, t, end) - math.exp(-end) / (2 * r) * math.expm1(end - t) * (eps_1 - eps)


def curved(x: Tensor, eps: Tensor, eps_1: Tensor, t: float, end: float, r: float) -> Tensor:
    """As `second`, by the exponential's own mean; the last stage of order 3."""
    h = end - t
    return first(x, eps, t, end) - math.exp(-end) / r * (math.expm1(h) / h - 1) * (eps_1 - eps)


Both = Generator[Point, Said, tuple[Tensor, Tensor]]


def dpm_fast(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """DPM-Solver-fast: as many questions as steps, in steps of order 3 and a shorter one at the end; ancestral, as A1111 runs it."""
    calls = len(sigmas) - 1
    begin, end = -math.log(sigmas[0]), -math.log(tools.levels.lowest)
    if end - begin < NO_WAY:
        return (yield from finished(x, sigmas[0]))
    orders = [3] * (calls // 3 - 1) + [2, 1] if calls % 3 == 0 else [3] * (calls // 3) + [calls % 3]
    asked = 0
    for i, order in enumerate(orders):
        t, target = (begin + (end - begin) * part / len(orders) for part in (i, i + 1))
        down, up = downward(t, target, end)
        x, asked = (yield from fast_step(x, t, down, order, asked)), asked + order
        x = x + tools.noise() * up
    return x


def fast_step(x: Tensor, t: float, end: float, order: int, step: int) -> Run:
    denoised, x, _ = yield Point(x, math.exp(-t), step)
    eps = slope(x, denoised, t)
    if order == 1:
        return first(x, eps, t, end)
    r = 1 / order
    s = t + r * (end - t)
    denoised, guess, _ = yield Point(first(x, eps, t, s), math.exp(-s), step + 1)
    eps_1 = slope(guess, denoised, s)
    if order == 2:
        return second(x, eps, eps_1, t, end, r)
    s = t + 2 * r * (end - t)
    denoised, guess, _ = yield Point(third_guess(x, eps, eps_1, t, s), math.exp(-s), step + 2)
    return curved(x, eps, slope(guess, denoised, s), t, end, 2 / 3)


def third_guess(x: Tensor, eps: Tensor, eps_1: Tensor, t: float, s: float) -> Tensor:
    """Two thirds of a step, from what was said at its start and at one third."""
    return curved(x, eps, eps_1, t, s, 1 / 2)


def downward(t: float, target: float, end: float) -> tuple[float, float]:
    """The ancestral split in t: where to step to, and how much noise leads back to the target's level."""
    down, _ = ancestral(math.exp(-t), math.exp(-target))
    lower = min(end, -math.log(down)) if down > 0 else end
    return lower, max(math.exp(-2 * target) - math.exp(-2 * lower), 0.0) ** 0.5


def finished(x: Tensor, sigma: float) -> Run:
    """All that is left to do at the lowest level, where a run of one step may start."""
    denoised, _, _ = yield Point(x, sigma, 0)
    return denoised


# ---------------------------------------------------------------- adaptive
@dataclass
class StepSize:
    """How large the next step may be, from the error of the last: the integral part of a PID controller, as k-diffusion sets it."""

    h: float = 0.05
    order: float = 1.5  # of a step with fresh noise

    def accepts(self, error: float) -> bool:
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / self.order) - 1)
        self.h *= factor
        return factor >= 0.81


def dpm_adaptive(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """DPM-Solver-23: steps as large as the difference between order 2 and order 3 allows; ancestral, as A1111 runs it.

    It takes no notice of the number of steps but for telling how far down it has come.
    """
    begin, end = -math.log(sigmas[0]), -math.log(tools.levels.lowest)
    if end - begin < NO_WAY:
        return (yield from finished(x, sigmas[0]))
    steps, t, x_low, size = len(sigmas) - 1, begin, x, StepSize()
    while t < end - NO_WAY:
        told = min(steps - 1, int(steps * (t - begin) / (end - begin)))
        target = min(end, t + size.h)
        down, up = downward(t, target, end)
        low, high = yield from both_orders(x, t, down, told)
        tolerance = torch.clamp(0.05 * torch.maximum(low.abs(), x_low.abs()), min=0.0078)
        if size.accepts(float(((low - high) / tolerance).square().mean().sqrt())):
            x, x_low, t = high + tools.noise() * up, low, target
    return x


def both_orders(x: Tensor, t: float, end: float, step: int) -> Both:
    """The same step by order 2 and by order 3, from three questions."""
    denoised, x, _ = yield Point(x, math.exp(-t), step)
    eps = slope(x, denoised, t)
    s, u = t + (end - t) / 3, t + (end - t) * 2 / 3
    denoised, guess, _ = yield Point(first(x, eps, t, s), math.exp(-s), step)
    eps_1 = slope(guess, denoised, s)
    denoised, guess, _ = yield Point(third_guess(x, eps, eps_1, t, u), math.exp(-u), step)
    return second(x, eps, eps_1, t, end, 1 / 3), curved(x, eps, slope(guess, denoised, u), t, end, 2 / 3)
