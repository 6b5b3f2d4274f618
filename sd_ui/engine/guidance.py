"""Classifier-free guidance (Ho and Salimans 2022): pure functions over what the model says."""

from torch import Tensor

from sd_ui.engine.denoise import Prediction


def guided(uncond: Tensor, cond: Tensor, scale: float) -> Prediction:
    """uncond + scale * (cond - uncond). Scale 0 ignores the prompt, 1 is the conditional prediction, more extrapolates."""
    return Prediction(uncond + scale * (cond - uncond), cond, uncond)


def needs_uncond(scale: float) -> bool:
    """At scale 1 the unconditional prediction cancels out: it is not computed."""
    return scale != 1
