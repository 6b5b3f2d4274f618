"""Methods that remember what the model said before, so that each step costs one question: LMS, DEIS, PLMS, DPM++ 2M, UniPC."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import Polynomial
from torch import Tensor

from sd_ui.engine.samplers.levels import Numbers
from sd_ui.engine.samplers.method import Point, Run, Tools

ORDER = 4  # of LMS and PLMS
ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def lms(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Linear multistep of order 4: the polynomial through the last slopes, integrated over sigma (Katherine Crowson, k-diffusion)."""
    slopes: list[Tensor] = []
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        slopes = [(x - denoised) / sigma, *slopes][:ORDER]
        seen = [sigmas[i - j] for j in range(len(slopes))]
        x = x + weighted([lagrange(seen, j, sigma, target) for j in range(len(seen))], slopes)
    return x


def lagrange(seen: Sequence[float], j: int, start: float, end: float) -> float:
    """The integral from start to end of the polynomial that is 1 at seen[j] and 0 at the others."""
    roots = [s for k, s in enumerate(seen) if k != j]
    basis = Polynomial.fromroots(roots) if roots else Polynomial([1.0])
    whole = (basis / math.prod(seen[j] - root for root in roots)).integ()
    return float(whole(end) - whole(start))


def weighted(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0] * weights[0]
    for weight, tensor in zip(weights[1:], tensors[1:], strict=True):
        total = total + tensor * weight
    return total


def deis(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """DEIS of order 2 (Zhang and Chen 2022, "log rho"): the line through two slopes over log sigma, integrated over sigma."""
    before: tuple[Tensor, float] | None = None
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        slope = (x - denoised) / sigma
        if before is None or target == 0:
            x = x + slope * (target - sigma)
        else:
            old, s = before
            x = x + slope * over_log(sigma, target, sigma, s) + old * over_log(sigma, target, s, sigma)
        before = slope, sigma
    return x


def over_log(start: float, end: float, one: float, zero: float) -> float:
    """The integral over sigma of the line in log sigma that is 1 at `one` and 0 at `zero`."""

    def whole(sigma: float) -> float:
        return sigma * (math.log(sigma) - 1 - math.log(zero)) / (math.log(one) - math.log(zero))

    return whole(end) - whole(start)


def plms(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Pseudo linear multistep (Liu et al. 2022), as CompVis runs it: Adams-Bashforth over steps, begun with one step of Heun's kind."""
    slopes: list[Tensor] = []
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        slopes = [(x - denoised) / sigma, *slopes][:ORDER]
        mean = weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        if len(slopes) == 1:
            ahead, guess, _ = yield Point(x + mean * (target - sigma), target, i)
            mean = (mean + (guess - ahead) / target) / 2
        x = x + mean * (target - sigma)
    return x


def dpmpp_2m(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """DPM-Solver++(2M) (Lu et al. 2022b): the line through the last two clean latents over log sigma."""
    old: Tensor | None = None
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        if target == 0:
            x = denoised
        else:
            ahead = denoised
            if old is not None:
                ahead = denoised + (denoised - old) * (math.log(sigma / target) / (2 * math.log(sigmas[i - 1] / sigma)))
            x = target / sigma * x + (1 - target / sigma) * ahead
        old = denoised
    return x


# ---------------------------------------------------------------- UniPC
MOST = 3  # A1111's order, with its B(h) = h


@dataclass(frozen=True)
class Bend:
    """One step's part of UniPC (Zhao et al. 2023, algorithms 5 and 6): how the clean latents bend over log sigma.

    D: what earlier answers say of it, as slopes. B: the function B(h); R, b: the equations for the weights.
    """

    D: list[Tensor]
    B: float
    R: Numbers
    b: Numbers

    @classmethod
    def of(cls, seen: Sequence[tuple[Tensor, float]], target: float) -> "Bend":
        """seen: answers and sigmas, the latest first, as many as the order."""
        (latest, sigma), *older = seen
        h = math.log(sigma / target)
        r = [math.log(sigma / s) / h for _, s in older]
        D = [(m - latest) / part for (m, _), part in zip(older, r, strict=True)]
        b, phi, factorial = [], math.expm1(-h) / -h - 1, 1
        for k in range(2, len(seen) + 2):
            b.append(phi * factorial / -h)
            factorial *= k
            phi = phi / -h - 1 / factorial
        return cls(D, -h, np.vander([*r, 1.0], increasing=True).T, np.array(b))

    def predicted(self) -> Tensor | float:
        """From what was said before alone."""
        if not self.D:
            return 0.0
        weights = [0.5] if len(self.D) == 1 else np.linalg.solve(self.R[:-1, :-1], self.b[:-1]).tolist()
        return self.B * weighted(weights, self.D)

    def corrected(self, difference: Tensor) -> Tensor:
        """difference: what the model says at the target, less the latest answer."""
        weights = np.linalg.solve(self.R, self.b).tolist() if self.D else [0.5]
        return self.B * weighted(weights, [*self.D, difference])


def unipc(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """UniPC: each answer first corrects the step that led to it, then predicts the next one. Low orders at both ends."""
    total = len(sigmas) - 1
    denoised, x, _ = yield Point(x, sigmas[0], 0)
    seen = [(denoised, sigmas[0])]
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        if target == 0:
            return denoised
        order = min(MOST, i + 1, total - i)
        bend = Bend.of(seen[:order], target)
        base = target / sigma * x + (1 - target / sigma) * denoised
        x = base - bend.predicted()
        if i + 1 < total:
            latest = denoised
            denoised, _, _ = yield Point(x, target, i + 1)
            x = base - bend.corrected(denoised - latest)
            seen = [(denoised, target), *seen][:MOST]
    return x
