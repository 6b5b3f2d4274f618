"""Classifier-free guidance (Ho and Salimans 2022): pure functions over what the model says."""

import math

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


def needs_uncond(scale: float) -> bool:
    """At scale 1 the unconditional prediction cancels out: it is not computed."""
    return scale != 1
