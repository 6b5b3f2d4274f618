"""Guidance: pure functions over what the model says with the prompt and without it, and what a run makes of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from sd_ui.engine.denoise import Prediction
from sd_ui.spec.request import Guidance, Sampling
from sd_ui.spec.samplers import SAMPLERS

PICTURE = (1, 2, 3)  # the dimensions of one

Clean = Callable[[Tensor], Tensor]  # what the model says -> the clean latent
Guide = Callable[[Prediction, Clean], Tensor]  # -> the clean latent that guidance arrives at


def scale(sampling: Sampling) -> float:
    """The CFG scale as the formula wants it. CFG++ counts otherwise, and needs the unconditional prediction at any scale: never exactly 1."""
    counted = sampling.cfg_scale / SAMPLERS[sampling.sampler].guidance
    return counted if counted == sampling.cfg_scale or counted != 1 else math.nextafter(1, 2)


def guided(uncond: Tensor, cond: Tensor, scale: float) -> Prediction:
    """Classifier-free (Ho and Salimans 2022): uncond + scale * (cond - uncond). 0 ignores the prompt, 1 is the conditional one, more extrapolates."""
    return Prediction(uncond + scale * (cond - uncond), cond, uncond)


def composed(uncond: Tensor, conds: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """uncond + the weighted sum of the differences: what AND joins (Liu et al. 2022). One text of weight 1 is its own prediction."""
    if list(weights) == [1.0]:
        return conds[0]
    return uncond + sum(weight * (cond - uncond) for cond, weight in zip(conds, weights, strict=True))


def needs_uncond(scale: float) -> bool:
    """At scale 1 the unconditional prediction cancels out: it is not computed."""
    return scale != 1


# ---------------------------------------------------------------- other ways to join them, over (1, C, h, w)
def rescaled(guided: Tensor, cond: Tensor, part: float) -> Tensor:
    """Takes the spread back to that of the conditional prediction, in part (Lin et al. 2023, section 3.4)."""
    whole = guided * (cond.std(dim=PICTURE, keepdim=True) / guided.std(dim=PICTURE, keepdim=True))
    return part * whole + (1 - part) * guided


def zero_star(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """CFG-Zero* (Fan et al. 2025): guidance from that multiple of the unconditional prediction which is nearest to the conditional one.

    The paper's other half, first steps of zero, is for flow models.
    """
    nearest = (cond * uncond).sum(PICTURE, keepdim=True) / (uncond.square().sum(PICTURE, keepdim=True) + 1e-8) * uncond
    return nearest + scale * (cond - nearest)


def pushed(uncond: Tensor, cond: Tensor, before: Tensor | None, momentum: float) -> Tensor:
    """APG's direction with its memory; before: the last one."""
    return cond - uncond if before is None else cond - uncond + momentum * before


def projected(cond: Tensor, push: Tensor, scale: float, threshold: float, parallel: float) -> Tensor:
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1), over clean latents as the authors advise.

    The push is cut to `threshold` (0: never), and of its part along the prediction, which saturates, only the share `parallel` is kept.
    """
    if threshold > 0:
        push = push * (threshold / push.norm(2, dim=PICTURE, keepdim=True)).clamp(max=1)
    along = (push * cond).sum(PICTURE, keepdim=True) / cond.square().sum(PICTURE, keepdim=True) * cond
    return cond + (scale - 1) * (push - along + parallel * along)


# ---------------------------------------------------------------- in a run
def guide(asked: Guidance, scale: float) -> Guide:
    """A fresh one for each run: APG remembers its last push, so that what was said before must have gone through it."""
    if asked.method == "APG":
        return Adaptive(asked, scale)

    def joined(prediction: Prediction, clean: Clean) -> Tensor:
        if prediction.uncond is None:
            return clean(prediction.guided)
        said = prediction.guided
        if asked.method == "CFG-Zero*":
            said = with_push(zero_star(prediction.uncond, prediction.cond, scale), prediction)
        return clean(rescaled(said, prediction.cond, asked.rescale) if asked.rescale else said)

    return joined


def with_push(joined: Tensor, prediction: Prediction) -> Tensor:
    """What else guides is added to what was joined in another way."""
    return joined if prediction.push is None else joined + prediction.push


def plain(prediction: Prediction, clean: Clean) -> Tensor:
    return clean(prediction.guided)


@dataclass
class Adaptive:
    asked: Guidance
    scale: float
    last: Tensor | None = None

    def __call__(self, prediction: Prediction, clean: Clean) -> Tensor:
        if prediction.uncond is None:
            return clean(prediction.guided)
        uncond, cond = clean(prediction.uncond), clean(prediction.cond)
        self.last = pushed(uncond, cond, self.last, self.asked.momentum)
        said = projected(cond, self.last, self.scale, self.asked.threshold, self.asked.parallel)
        if prediction.push is not None:  # as far as it moves the clean latent
            said = said + (clean(prediction.cond + prediction.push) - cond)
        return rescaled(said, cond, self.asked.rescale) if self.asked.rescale else said
