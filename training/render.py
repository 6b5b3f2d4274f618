"""Scenes -> picture, exact depth, which thing is where. A ray tracer in torch: any device, a batch of scenes at once.

Letters: B scenes, R rays, S side of the picture in pixels. Anti-aliasing is adaptive: only pixels whose neighbours differ get four further rays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.light import shaded
from training.scenes import Scene
from training.space import Hit, World, first_hit, packed, rays

EDGE = 0.07  # neighbours that differ by more get more rays
WITHIN_A_PIXEL = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
NEAREST, FURTHEST = 2.8, 60.0  # of depth maps


@dataclass(frozen=True)
class Picture:
    """image (B, 3, S, S) in 0..1; depth (B, S, S): distance along the ray, FAR in the sky; ids (B, S, S)."""

    image: Tensor
    depth: Tensor
    ids: Tensor


@torch.no_grad()
def render(scenes: Sequence[Scene], side: int, device: str = "cpu", restyled: Callable[[World], World] = lambda world: world) -> Picture:
    """restyled: changes how the scenes look before they are drawn (styles.py)."""
    world = restyled(packed(scenes, device))
    at = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    v, u = torch.meshgrid(-at, at, indexing="ij")
    colour, hit = trace(world, u.reshape(1, -1), v.reshape(1, -1))
    image = toned(colour).view(-1, 3, side, side)
    batch, row, column = edges(image).nonzero(as_tuple=True)
    shift = torch.tensor(WITHIN_A_PIXEL, device=device) * 2 / side
    finer, _ = trace(world.only(batch), at[column][:, None] + shift[:, 0], -at[row][:, None] + shift[:, 1])
    image.movedim(1, -1)[batch, row, column] = toned(finer).mean(-1)
    return Picture(image, hit.distance.view(-1, side, side), hit.ids.view(-1, side, side))


def depth_map(distance: Tensor) -> Tensor:
    """Inverse depth in 0..1, 1 is near, as MiDaS tells it."""
    return ((1 / distance.clamp(2.5, FURTHEST) - 1 / FURTHEST) / (1 / NEAREST - 1 / FURTHEST)).clamp(0, 1)


def trace(world: World, u: Tensor, v: Tensor) -> tuple[Tensor, Hit]:
    """u, v (1 or B, R): on the image plane, right and up, within -1..1 -> colour (B, 3, R), what was hit."""
    ray = rays(world, u, v)
    hit = first_hit(world, ray)
    return shaded(world, ray, hit), hit


def toned(colour: Tensor) -> Tensor:
    return colour.clamp(0, 1) ** (1 / 1.6)


def edges(image: Tensor) -> Tensor:
    """(B, S, S): where a pixel differs from a neighbour."""
    found = torch.zeros_like(image[:, 0], dtype=torch.bool)
    across = (image[..., 1:] - image[..., :-1]).abs().amax(1) > EDGE
    along = (image[..., 1:, :] - image[..., :-1, :]).abs().amax(1) > EDGE
    found[..., 1:] |= across
    found[..., :-1] |= across
    found[:, 1:] |= along
    found[:, :-1] |= along
    return found
