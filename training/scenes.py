"""Scenes as values, drawn from a seed: what stands where, on which floor, under which sky. No pixels (render.py), no words (captions.py).

The ground is y = 0, x points to the right, z away from the camera; a thing stands on the ground at (x, z).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from training.world import COLOURS, FLOORS, MATERIALS, SHAPES, SKIES

MOST_THINGS = 3
SMALL, LARGE = (0.45, 0.52), (0.66, 0.80)  # radii; a small thing must still be several latent cells wide at 128 pixels
FIELD = 0.34  # half of what the camera sees at distance 1, with some air
APART = 1.12  # centres are at least so many times the sum of the radii apart


@dataclass(frozen=True)
class Thing:
    """turn: about the vertical, in radians. height: of cylinders and cones."""

    shape: str
    colour: str
    material: str
    large: bool
    radius: float
    x: float
    z: float
    turn: float
    height: float


@dataclass(frozen=True)
class Scene:
    """things: from left to right as the camera sees them. azimuth: of the sun, in radians from straight behind the camera."""

    things: tuple[Thing, ...]
    floor: str
    sky: str
    azimuth: float
    camera: tuple[float, float, float]


def sample(rng: Random, things: int | None = None) -> Scene:
    """things: how many, else one or two."""
    count = things or rng.choice((1, 2))
    camera = (rng.uniform(-0.15, 0.15), rng.uniform(1.15, 1.75), rng.uniform(-5.0, -4.4))
    placed = arranged(rng, count)
    return Scene(
        tuple(sorted(placed, key=lambda thing: across(thing, camera))),
        floor=rng.choice(tuple(FLOORS)),
        sky=rng.choice(tuple(SKIES)),
        azimuth=rng.uniform(-1.1, 1.1),
        camera=camera,
    )


def arranged(rng: Random, count: int) -> list[Thing]:
    while True:
        things = [thing(rng, alone=count == 1) for _ in range(count)]
        if all(fit_together(a, b) for i, a in enumerate(things) for b in things[:i]):
            return things


def thing(rng: Random, alone: bool) -> Thing:
    large = rng.random() < 0.5
    radius = rng.uniform(*(LARGE if large else SMALL))
    z = rng.uniform(-0.6, 0.6) if alone else rng.uniform(-0.9, 1.3)
    most = FIELD * (z + 4.6) - 0.75 * radius
    return Thing(
        shape=rng.choice(SHAPES),
        colour=rng.choice(tuple(COLOURS)),
        material=rng.choice(MATERIALS),
        large=large,
        radius=radius,
        x=rng.uniform(-most, most),
        z=z,
        turn=rng.uniform(0, math.pi / 2),
        height=radius * rng.uniform(1.6, 2.0),
    )


def fit_together(a: Thing, b: Thing) -> bool:
    """They touch neither each other nor hide each other, and differ in what a caption says first."""
    if math.hypot(a.x - b.x, a.z - b.z) < APART * (a.radius + b.radius):
        return False
    beside = abs(a.x - b.x)
    front = min(a, b, key=lambda thing: thing.z)
    hidden = beside < 0.5 * (a.radius + b.radius) and (front.large or abs(a.z - b.z) < 0.9)
    return not hidden and (a.colour, a.shape) != (b.colour, b.shape)


def across(thing: Thing, camera: Sequence[float]) -> float:
    """Where the camera sees it: -1 left edge ... 1 right edge, about."""
    return (thing.x - camera[0]) / (thing.z - camera[2]) / 0.374


def numbered(seed: int, index: int, things: int | None = None) -> Scene:
    """Scene number `index` of a seed: always the same one, whatever was drawn before."""
    return sample(Random(f"scene {seed} {index}"), things)
