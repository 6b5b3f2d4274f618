"""Scenes as tensors, and what rays meet in them.

Letters: B scenes, K slots for things, R rays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from training.scenes import MOST_THINGS, Scene
from training.solids import FAR, SOLIDS, Size, dot, vector
from training.world import CHECKERED, COLOURS, FLOORS, MATERIALS, RGB, SHAPES, SKIES

HALF_VIEW = math.tan(math.radians(20.5))
LOOKED_AT = (0.0, 0.45, 0.0)
SKY, FLOOR, FIRST_THING = 0, 1, 2  # in the mask of ids; the thing in slot k is FIRST_THING + k


@dataclass(frozen=True)
class World:
    """Scenes as tensors. Of things (B, K) or (B, 3, K), of scenes (B, 3, 1), checkered (B, 1). An empty slot has shape -1."""

    shape: Tensor
    material: Tensor
    x: Tensor
    z: Tensor
    radius: Tensor
    height: Tensor
    turn: Tensor
    colour: Tensor
    zenith: Tensor
    horizon: Tensor
    sun: Tensor
    ambient: Tensor
    floor: Tensor
    light: Tensor
    camera: Tensor
    checkered: Tensor

    def only(self, which: Tensor) -> "World":
        return World(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class Hit:
    """distance, ids (B, R); normal (B, 3, R)."""

    distance: Tensor
    normal: Tensor
    ids: Tensor


# ---------------------------------------------------------------- scenes as tensors
def packed(scenes: Sequence[Scene], device: str) -> World:
    def of_scenes(values: Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, :, None]

    def of_things(name: str) -> Tensor:
        rows = [[getattr(thing, name) for thing in scene.things] + [0.0] * (MOST_THINGS - len(scene.things)) for scene in scenes]
        return torch.tensor(rows, dtype=torch.float32, device=device)

    def index(name: str, names: Sequence[str]) -> Tensor:
        rows = [[names.index(getattr(thing, name)) for thing in scene.things] + [-1] * (MOST_THINGS - len(scene.things)) for scene in scenes]
        return torch.tensor(rows, device=device)

    skies = [SKIES[scene.sky] for scene in scenes]
    palette = torch.tensor([*COLOURS.values(), (0.0, 0.0, 0.0)], device=device)  # the last one for empty slots
    return World(
        **{"shape": index("shape", SHAPES), "material": index("material", MATERIALS)},
        **{name: of_things(name) for name in ("x", "z", "radius", "height", "turn")},
        colour=palette[index("colour", tuple(COLOURS))].movedim(-1, 1),
        zenith=of_scenes([sky.zenith for sky in skies]),
        horizon=of_scenes([sky.horizon for sky in skies]),
        sun=of_scenes([sky.sun for sky in skies]),
        ambient=of_scenes([sky.ambient for sky in skies]),
        floor=of_scenes([FLOORS[scene.floor] for scene in scenes]),
        light=of_scenes([towards_the_sun(scene) for scene in scenes]),
        camera=of_scenes([scene.camera for scene in scenes]),
        checkered=torch.tensor([[float(scene.floor == CHECKERED)] for scene in scenes], device=device),
    )


def towards_the_sun(scene: Scene) -> RGB:
    up = math.radians(SKIES[scene.sky].elevation)
    x, y, z = math.sin(scene.azimuth) * math.cos(up), math.sin(up), -0.8 * math.cos(scene.azimuth) * math.cos(up)
    length = math.hypot(x, y, z)
    return x / length, y / length, z / length


# ---------------------------------------------------------------- rays
def rays(world: World, u: Tensor, v: Tensor) -> Tensor:
    """Unit vectors (B, 3, R) from the camera, which looks at LOOKED_AT and does not roll."""
    forward = unit(torch.tensor(LOOKED_AT, device=u.device)[None, :, None] - world.camera)
    fx, fy, fz = forward.unbind(1)
    level = (fx * fx + fz * fz).sqrt()
    right = vector(fz / level, torch.zeros_like(fy), -fx / level)
    up = torch.linalg.cross(forward, right, dim=1)
    return unit(forward + HALF_VIEW * (u[:, None] * right + v[:, None] * up))


def unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(dot(x, x))[:, None]


def first_hit(world: World, ray: Tensor) -> Hit:
    down = ray[:, 1]
    distance = torch.where(down < -1e-4, -world.camera[:, 1] / down.clamp(max=-1e-4), FAR)
    ids = torch.where(distance < FAR / 2, FLOOR, SKY)
    normal = torch.zeros_like(ray)
    normal[:, 1] = 1
    for slot in range(MOST_THINGS):
        for shape, solid in enumerate(SOLIDS.values()):
            which = (world.shape[:, slot] == shape).nonzero()[:, 0]
            if len(which):
                t, facing = solid(world.camera[which] - base(world, slot, which), ray[which], size(world, slot, which))
                nearer = t < distance[which]
                distance[which] = torch.where(nearer, t, distance[which])
                ids[which] = torch.where(nearer, FIRST_THING + slot, ids[which])
                normal[which] = torch.where(nearer[:, None], facing(), normal[which])
    return Hit(distance, normal, ids)


def shadowed(world: World, points: Tensor) -> Tensor:
    """(B, R): where something stands between a point and the sun."""
    dark = torch.zeros(points.shape[0], points.shape[2], dtype=torch.bool, device=points.device)
    light = world.light.expand_as(points)
    for slot in range(MOST_THINGS):
        for shape, solid in enumerate(SOLIDS.values()):
            which = (world.shape[:, slot] == shape).nonzero()[:, 0]
            if len(which):
                t, _ = solid(points[which] - base(world, slot, which), light[which], size(world, slot, which))
                dark[which] |= t < FAR / 2
    return dark


def base(world: World, slot: int, which: Tensor) -> Tensor:
    x, z = world.x[which, slot], world.z[which, slot]
    return torch.stack([x, torch.zeros_like(x), z], 1)[:, :, None]


def size(world: World, slot: int, which: Tensor) -> Size:
    return Size(*(getattr(world, name)[which, slot, None] for name in ("radius", "height", "turn")))
