"""Schedules: how much noise is left after each step, as falling sigmas. The formulas and their rounding are those that A1111 runs.

Each takes the number of steps and the model's levels and returns at least one more sigma than steps. Most end at 0, where the last step
leaves no noise; KL Optimal ends at the model's lowest level.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sd_ui.engine.samplers.levels import DISTILLED, NoiseLevels

Sigmas = list[float]
RHO = 7.0  # Karras et al. 2022
SHAPE = 0.6  # of the Beta schedule's distribution, both ways
ALIGNED = {  # Sabour et al. 2024, "Align Your Steps": found by optimisation, for ten steps
    "sd": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}


@dataclass(frozen=True)
class Wanted:
    """family: "sd" or "sdxl", for schedules that were found for one model."""

    steps: int
    levels: NoiseLevels
    family: str = "sd"


def uniform(wanted: Wanted) -> Sigmas:
    """Evenly over the training steps, as k-diffusion does; over a flow, as the family's own programs do."""
    return to_zero([wanted.levels.sigma(t) for t in wanted.levels.evenly(wanted.steps)])


def karras(wanted: Wanted) -> Sigmas:
    """Karras et al. 2022, equation 5: evenly over sigma^(1/7)."""
    return karras_between(wanted.levels.lowest, wanted.levels.highest, wanted.steps)


def exponential(wanted: Wanted) -> Sigmas:
    """Evenly over log sigma."""
    return to_zero(torch.linspace(math.log(wanted.levels.highest), math.log(wanted.levels.lowest), wanted.steps).exp())


def polyexponential(wanted: Wanted) -> Sigmas:
    """A power of the way through log sigma; with A1111's power of 1 it is Exponential but for rounding."""
    low, high = math.log(wanted.levels.lowest), math.log(wanted.levels.highest)
    return to_zero((torch.linspace(1, 0, wanted.steps) * (high - low) + low).exp())


def sgm_uniform(wanted: Wanted) -> Sigmas:
    """Evenly over the training steps, and the last of them left out, as in Stability's generative-models."""
    return to_zero(at_steps(wanted, wanted.steps + 1)[:-1])


def kl_optimal(wanted: Wanted) -> Sigmas:
    """Sabour et al. 2024, theorem 3.1: evenly over arctan sigma. It ends at the model's lowest level."""
    low, high = (torch.arctan(torch.tensor(end)) for end in (wanted.levels.lowest, wanted.levels.highest))
    part = torch.arange(wanted.steps + 1) / wanted.steps
    return numbers(torch.tan(part * low + (1 - part) * high))


def align_your_steps(wanted: Wanted) -> Sigmas:
    """Sabour et al. 2024: optimised sigmas; for other numbers of steps, interpolated in log sigma."""
    found = ALIGNED[wanted.family]
    if wanted.steps == 1:
        return [found[0], 0.0]
    places = np.linspace(0, 1, wanted.steps), np.linspace(0, 1, len(found))
    return to_zero(np.exp(np.interp(*places, np.log(found))).tolist())


def simple(wanted: Wanted) -> Sigmas:
    """Every n-th of the model's levels, from the noisiest on."""
    levels = wanted.levels.sigmas
    return to_zero([float(levels[-1 - int(i * len(levels) / wanted.steps)]) for i in range(wanted.steps)])


def ddim(wanted: Wanted) -> Sigmas:
    """Every n-th of the model's levels, up from the second, n rounded down: where it does not fit, there are more steps than were asked for."""
    levels = wanted.levels.sigmas
    return to_zero(levels[1 :: max(1, len(levels) // wanted.steps)][::-1].tolist() or [float(levels[0])])


def beta(wanted: Wanted) -> Sigmas:
    """Lee et al. 2024, "Beta Sampling is All You Need": quantiles of a beta distribution, over sigma."""
    from scipy.special import betaincinv  # here, because loading it takes long

    low, high = wanted.levels.lowest, wanted.levels.highest
    return to_zero((low + betaincinv(SHAPE, SHAPE, 1 - np.linspace(0, 1, wanted.steps)) * (high - low)).tolist())


def turbo(wanted: Wanted) -> Sigmas:
    """Sauer et al. 2023: the last training step of each of n equal parts."""
    first, last = wanted.levels.ends
    ends = (torch.arange(wanted.steps, 0, -1) * ((last + 1) / wanted.steps) - 1).round().clamp(first, last)
    return to_zero([wanted.levels.sigma(t) for t in ends.tolist()])


SCHEDULES: dict[str, Callable[[Wanted], Sigmas]] = {
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "Polyexponential": polyexponential,
    "SGM Uniform": sgm_uniform,
    "KL Optimal": kl_optimal,
    "Align Your Steps": align_your_steps,
    "Simple": simple,
    "Normal": uniform,  # ComfyUI's name for the same
    "DDIM": ddim,
    "Beta": beta,
    "Turbo": turbo,
}


# ---------------------------------------------------------------- the spacing that a sampler brings itself
def leading(wanted: Wanted) -> Sigmas:
    """The training steps of CompVis's DDIM and PLMS: 1, 51, ... 951 for 20 steps. They end at the lowest level but for rounding.

    As in A1111, where the number of steps does not divide the number of training steps, the next larger number of points is used: 30 steps go
    from 991 to 1. Where it does, A1111 leaves out the last step, from 1 to 0, which changes next to nothing; it is run here.
    """
    last = len(wanted.levels) - 1
    points = [min(t + 1, last) for t in range(0, last + 1, max(1, (last + 1) // wanted.steps))]
    whole = len(points) <= wanted.steps
    return [wanted.levels.sigma(t) for t in [*reversed(points), *([0] if whole else [])]]


def continuous(wanted: Wanted) -> Sigmas:
    """The points of UniPC's "time_uniform": evenly over the training steps, both ends included."""
    return numbers(at_steps(wanted, wanted.steps + 1))


def distilled(wanted: Wanted) -> Sigmas:
    """TCD's: of the training steps that LCM was taught at, evenly, from the noisiest on; at the end, the lowest level."""
    taught = range(len(wanted.levels) - 1, -1, -max(1, len(wanted.levels) // max(DISTILLED, wanted.steps)))
    places = (i * len(taught) // wanted.steps for i in range(wanted.steps))
    return [wanted.levels.sigma(t) for t in [*(taught[place] for place in places), 0]]


# ---------------------------------------------------------------- parts
def karras_between(low: float, high: float, points: int) -> Sigmas:
    first, last = high ** (1 / RHO), low ** (1 / RHO)
    return to_zero((first + torch.linspace(0, 1, points) * (last - first)) ** RHO)


def at_steps(wanted: Wanted, points: int) -> Sigmas:
    """Sigmas at so many training steps, evenly from the last to the first."""
    first, last = wanted.levels.ends
    return [wanted.levels.sigma(t) for t in np.linspace(last, first, points)]


def to_zero(sigmas: Tensor | Sigmas) -> Sigmas:
    return [*numbers(sigmas), 0.0]


def numbers(sigmas: Tensor | Sigmas) -> Sigmas:
    """As float32 keeps them, which is how they are published and compared."""
    return torch.as_tensor(sigmas, dtype=torch.float32).tolist()


def without_penultimate(sigmas: Sigmas) -> Sigmas:
    """A1111's "discard penultimate sigma": one step more is planned, and the last sigma before the end left out."""
    return [*sigmas[:-2], sigmas[-1]]
