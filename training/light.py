"""What colour a ray brings back: sun and shadow, sky and floor, gloss and mirror, fog."""

import torch
from torch import Tensor

from training.solids import dot
from training.space import FIRST_THING, FLOOR, SKY, Hit, World, shadowed


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
