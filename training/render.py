"""Scenes -> picture, exact depth, which thing is where. A ray tracer in torch: any device, a batch of scenes at once.

Letters: B scenes, K slots for things, R rays, S side of the picture in pixels. Anti-aliasing is adaptive: only pixels whose neighbours
differ get four further rays.
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
EDGE = 0.07  # neighbours that differ by more get more rays
WITHIN_A_PIXEL = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
NEAREST, FURTHEST = 2.8, 60.0  # of depth maps


@dataclass(frozen=True)
class Picture:
    """image (B, 3, S, S) in 0..1; depth (B, S, S): distance along the ray, FAR in the sky; ids (B, S, S)."""

    image: Tensor
    depth: Tensor
    ids: Tensor


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


@torch.no_grad()
def render(scenes: Sequence[Scene], side: int, device: str = "cpu") -> Picture:
    world = packed(scenes, device)
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
def trace(world: World, u: Tensor, v: Tensor) -> tuple[Tensor, Hit]:
    """u, v (1 or B, R): on the image plane, right and up, within -1..1 -> colour (B, 3, R), what was hit."""
    ray = rays(world, u, v)
    hit = first_hit(world, ray)
    return shaded(world, ray, hit), hit


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


# ---------------------------------------------------------------- light
def shaded(world: World, ray: Tensor, hit: Hit) -> Tensor:
    distance = hit.distance.clamp(max=200.0)
    points = world.camera + distance[:, None] * ray
    lit = ~shadowed(world, points + 2e-3 * hit.normal)
    facing = dot(hit.normal, world.light).clamp(min=0) * lit
    mirrored = ray - 2 * dot(ray, hit.normal)[:, None] * hit.normal
    towards_sun = dot(mirrored, world.light).clamp(min=0)
    thing, material = hit.ids >= FIRST_THING, of_hit(hit, world.material[:, None])[:, 0]
    own = torch.where(thing[:, None], of_hit(hit, world.colour), floor(world, points, distance))
    ambient = world.ambient * ((0.55 + 0.45 * (0.5 + 0.5 * hit.normal[:, 1])) * contact(world, points, hit))[:, None]
    diffuse = own * (ambient + 0.95 * facing[:, None] * world.sun)
    shine = (torch.where(material == 1, 0.9 * towards_sun**60, 0.7 * towards_sun**25) * lit)[:, None] * world.sun
    around = surroundings(world, mirrored, towards_sun)
    grazing = (1 + dot(ray, hit.normal)).clamp(0, 1)[:, None] ** 4
    metal = 0.25 * diffuse + around * (0.85 * own + 0.12) + shine
    glossy = diffuse + shine + around * (0.04 + 0.4 * grazing)
    colour = torch.where((thing & (material == 2))[:, None], metal, torch.where((thing & (material == 1))[:, None], glossy, diffuse))
    fog = (1 - torch.exp(-((distance / 14) ** 2)))[:, None]
    colour = colour * (1 - fog) + world.horizon * fog
    return torch.where((hit.ids == SKY)[:, None], sky(world, ray, dot(ray, world.light)), colour)


def of_hit(hit: Hit, values: Tensor) -> Tensor:
    """values (B, C, K) of the things -> (B, C, R) of the thing that each ray hit; 0 elsewhere."""
    slot = hit.ids - FIRST_THING
    chosen = values.gather(2, slot.clamp(min=0)[:, None].expand(-1, values.shape[1], -1))
    return torch.where((slot >= 0)[:, None], chosen, 0)


def contact(world: World, points: Tensor, hit: Hit) -> Tensor:
    """The darkness at the foot of things: 1 in the open, less on the floor beside them."""
    x, z = points[:, 0, :, None] - world.x[:, None], points[:, 2, :, None] - world.z[:, None]
    near = torch.exp(-(x * x + z * z) / (1.05 * world.radius.clamp(min=0.05))[:, None] ** 2) * (world.shape >= 0)[:, None]
    return torch.where(hit.ids == FLOOR, (1 - 0.55 * near).prod(-1), 1.0)


def sky(world: World, ray: Tensor, towards_sun: Tensor) -> Tensor:
    height = ray[:, 1:2].clamp(0, 1) ** 0.55
    glow = 0.25 * towards_sun.clamp(min=0)[:, None] ** 24
    return world.horizon * (1 - height) + world.zenith * height + glow * world.sun


def floor(world: World, points: Tensor, distance: Tensor) -> Tensor:
    """The checker fades to its mean with the distance: far squares are smaller than a pixel."""
    odd = ((points[:, 0] * 1.1).floor() + (points[:, 2] * 1.1).floor()).remainder(2) - 0.5
    return floor_of(world, 0.5 + odd * torch.exp(-((distance / 7.5) ** 4)))


def floor_of(world: World, checker: Tensor) -> Tensor:
    return world.floor * (1 - 0.82 * checker * world.checkered)[:, None]


def surroundings(world: World, mirrored: Tensor, towards_sun: Tensor) -> Tensor:
    """What a mirror would show: sky above, the floor's mean colour below."""
    below = floor_of(world, torch.full_like(towards_sun, 0.5)) * (world.ambient + 0.55 * world.sun)
    return torch.where(mirrored[:, 1:2] > 0, sky(world, mirrored, towards_sun), below)


# ---------------------------------------------------------------- pixels
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
