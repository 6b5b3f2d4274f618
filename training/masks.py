"""Masks to paint within: a box, a blob, a whole thing, everything."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from training.space import FIRST_THING

BOX, BLOB, THING = 0.3, 0.25, 0.3  # how often each; the rest of the time, everything


def mask(ids: Tensor, rng: np.random.Generator) -> Tensor:
    """ids (S, S) -> float (S, S), 1 where something new shall be painted"""
    lot, side = rng.random(), ids.shape[0]
    if lot < BOX:
        return box(side, rng)
    if lot < BOX + BLOB:
        return blob(side, rng)
    return around_a_thing(ids, rng) if lot < BOX + BLOB + THING else torch.ones(ids.shape)


def box(side: int, rng: np.random.Generator) -> Tensor:
    made = torch.zeros(side, side)
    height, width = rng.integers(side // 4, side * 3 // 4, 2)
    y, x = rng.integers(0, side - height), rng.integers(0, side - width)
    made[y : y + height, x : x + width] = 1
    return made


def blob(side: int, rng: np.random.Generator) -> Tensor:
    """A few discs that overlap, as a brush leaves them."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    made, at = torch.zeros(side, side), rng.uniform(0.25, 0.75, 2) * side
    for radius in rng.uniform(0.08, 0.2, rng.integers(2, 6)) * side:
        made[(y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2] = 1
        at = (at + rng.normal(0, 0.12 * side, 2)).clip(0, side - 1)
    return made


def around_a_thing(ids: Tensor, rng: np.random.Generator) -> Tensor:
    """A whole thing and a margin: its edge must not tell its shape."""
    things = ids[ids >= FIRST_THING].unique()
    if not len(things):
        return torch.ones(ids.shape)
    thing = things[int(rng.integers(len(things)))]
    reach = 2 * int(rng.integers(2, 10)) + 1
    return max_pool2d((ids == thing).float()[None], reach, 1, reach // 2)[0]
