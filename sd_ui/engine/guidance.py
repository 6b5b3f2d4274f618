"""Classifier-free guidance (Ho and Salimans 2022): pure functions over what the model says."""

import math
from collections.abc import Sequence

from torch import Tensor

from sd_ui.engine.denoise import Prediction
from sd_ui.spec.request import Sampling
from sd_ui.spec.samplers import SAMPLERS


def scale(sampling: Sampling) -> float:
    """The CFG scale as the formula wants it. CFG++ counts otherwise, and needs the unconditional prediction at any scale: never exactly 1."""
    counted = sampling.cfg_scale / SAMPLERS[sampling.sampler].guidance
    return counted if counted == sampling.cfg_scale or counted != 1 else math.nextafter(1, 2)


def guided(uncond: Tensor, cond: Tensor, scale: float) -> Prediction:
    """uncond + scale * (cond - uncond). Scale 0 ignores the prompt, 1 is the conditional prediction, more extrapolates."""
    return Prediction(uncond + scale * (cond - uncond), cond, uncond)


def composed(uncond: Tensor, conds: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """uncond + the weighted sum of the differences: what AND joins (Liu et al. 2022). One text of weight 1 is its own prediction."""
    if list(weights) == [1.0]:
        return conds[0]
    return uncond + sum(weight * (cond - uncond) for cond, weight in zip(conds, weights, strict=True))


def needs_uncond(scale: float) -> bool:
    """At scale 1 the unconditional prediction cancels out: it is not computed."""
    return scale != 1
