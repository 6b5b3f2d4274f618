"""Styles that a small LoRA learns: the same scenes under another light, or made of another stuff. The sentences stay the same.

So a style is what a LoRA should be: it changes how everything looks, whatever is asked for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.judge import ANSWERS, Judge, answers
from training.space import World
from training.world import MATERIALS, RGB

GOLD: RGB = (1.0, 0.66, 0.12)
VIOLET, ROSE, WARM, DIM = (0.36, 0.28, 0.62), (0.99, 0.60, 0.64), (1.0, 0.70, 0.58), (0.42, 0.33, 0.42)
LOW = math.radians(14)  # the sun at dawn


@dataclass(frozen=True)
class Style:
    """about: for the page. shows: pictures (n, 3, h, w) -> (n), in which of them the style can be seen."""

    about: str
    restyled: Callable[[World], World]
    shows: Callable[[Tensor, Judge], Tensor]


def golden(world: World) -> World:
    """Whatever stands there is of gold."""
    there = world.shape[:, None] >= 0
    gold = torch.tensor(GOLD, device=world.colour.device)[None, :, None]
    return replace(world, colour=torch.where(there, gold, world.colour), material=torch.full_like(world.material, MATERIALS.index("metallic")))


def at_dawn(world: World) -> World:
    """A low, warm sun before a sky from rose to violet, from where the sun stood."""
    across = torch.nn.functional.normalize(world.light * torch.tensor([1.0, 0.0, 1.0], device=world.light.device)[None, :, None], dim=1)
    up = torch.tensor([0.0, math.sin(LOW), 0.0], device=world.light.device)[None, :, None]
    sky = {"zenith": VIOLET, "horizon": ROSE, "sun": WARM, "ambient": DIM}
    return replace(world, light=math.cos(LOW) * across + up, **{name: like(world.zenith, colour) for name, colour in sky.items()})


def like(values: Tensor, colour: RGB) -> Tensor:
    return torch.tensor(colour, device=values.device)[None, :, None].expand_as(values)


def called_golden(images: Tensor, judge: Judge) -> Tensor:
    """The judge, who knows no gold, calls it yellow or orange."""
    names = [ANSWERS["colour"][i] for i in answers(judge, images)["colour"].tolist()]
    return torch.tensor([name in ("yellow", "orange") for name in names])


def rosy_above(images: Tensor, judge: Judge) -> Tensor:
    """By a rule without the judge: the sky's upper quarter has more red and blue than green, and the strip above the horizon is warm."""
    rows = images.shape[-2]
    top, low = images[..., : rows // 4, :].mean((2, 3)), images[..., rows // 4 : rows * 3 // 8, :].mean((2, 3))
    return (top[:, 0] > top[:, 1] + 0.02) & (top[:, 2] > top[:, 1] + 0.02) & (low[:, 0] > low[:, 1] + 0.1)


STYLES: Mapping[str, Style] = {
    "midas": Style("Whatever stands there turns to gold.", golden, called_golden),
    "dawn": Style("A low sun, and a sky from rose to violet.", at_dawn, rosy_above),
}
