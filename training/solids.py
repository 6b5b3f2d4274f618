"""Where rays meet a sphere, a cube, a cylinder or a cone that stands on the ground.

Vectors are (b, 3, R): b scenes, R rays. The origin of a solid is the middle of its base. The normal is a function: shadow rays don't ask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

FAR = 1e9  # where nothing is met
NEAR = 1e-3  # nearer hits are the point that the ray started from
TINY = 1e-6


@dataclass(frozen=True)
class Size:
    """Each (b, 1)."""

    radius: Tensor
    height: Tensor
    turn: Tensor


Met = tuple[Tensor, Callable[[], Tensor]]  # distance (b, R), FAR where missed; normal (b, 3, R) of unit length


def vector(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(x, y, z), 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)


def not_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < TINY, TINY, x)


def sphere(origin: Tensor, ray: Tensor, size: Size) -> Met:
    x, y, z = origin.unbind(1)
    centred = vector(x, y - size.radius, z)
    b = dot(centred, ray)
    inside = b * b - dot(centred, centred) + size.radius**2
    t = -b - inside.clamp(min=0).sqrt()
    t = torch.where((inside > 0) & (t > NEAR), t, FAR)
    return t, lambda: (centred + t[:, None] * ray) / size.radius[:, None]


def cube(origin: Tensor, ray: Tensor, size: Size) -> Met:
    """Three slabs (Kay and Kajiya 1986) in the cube's own axes."""
    half = size.radius * 0.86
    cos, sin = size.turn.cos(), size.turn.sin()
    x, y, z = origin.unbind(1)
    dx, dy, dz = ray.unbind(1)
    o = vector(cos * x + sin * z, y - half, cos * z - sin * x)
    d = vector(cos * dx + sin * dz, dy, cos * dz - sin * dx)
    inverse = 1 / not_zero(d)
    one, other = (-half[:, None] - o) * inverse, (half[:, None] - o) * inverse
    enters = torch.minimum(one, other)
    t, leaves = enters.amax(1), torch.maximum(one, other).amin(1)
    t = torch.where((t < leaves) & (t > NEAR), t, FAR)

    def normal() -> Tensor:
        side = torch.nn.functional.one_hot(enters.argmax(1), 3).movedim(-1, 1)
        nx, ny, nz = (-d.sign() * side).unbind(1)
        return vector(cos * nx - sin * nz, ny, sin * nx + cos * nz)

    return t, normal


def cylinder(origin: Tensor, ray: Tensor, size: Size) -> Met:
    radius = size.radius * 0.85
    x, y, z = origin.unbind(1)
    dx, dy, dz = ray.unbind(1)
    b = x * dx + z * dz
    a = dx * dx + dz * dz
    inside = b * b - a * (x * x + z * z - radius**2)
    side = (-b - inside.clamp(min=0).sqrt()) / a.clamp(min=TINY)
    up = y + side * dy
    side = torch.where((inside > 0) & (side > NEAR) & (up > 0) & (up < size.height), side, FAR)
    top = (size.height - y) / not_zero(dy)
    on_top = (top > NEAR) & (top < side) & ((x + top * dx) ** 2 + (z + top * dz) ** 2 < radius**2)
    t = torch.where(on_top, top, side)

    def normal() -> Tensor:
        out = vector((x + t * dx) / radius, torch.zeros_like(t), (z + t * dz) / radius)
        up = vector(*(torch.full_like(t, value) for value in (0.0, 1.0, 0.0)))
        return torch.where(on_top[:, None], up, out)

    return t, normal


def cone(origin: Tensor, ray: Tensor, size: Size) -> Met:
    slope = (size.radius / size.height) ** 2
    x, y, z = origin.unbind(1)
    dx, dy, dz = ray.unbind(1)
    below = y - size.height  # the tip is the origin of the equation
    a = not_zero(dx * dx + dz * dz - slope * dy * dy)
    b = x * dx + z * dz - slope * below * dy
    inside = b * b - a * (x * x + z * z - slope * below**2)
    root = inside.clamp(min=0).sqrt()

    def met(t: Tensor) -> Tensor:
        up = y + t * dy
        return torch.where((inside > 0) & (t > NEAR) & (up > 0) & (up < size.height), t, FAR)

    t = torch.minimum(met((-b - root) / a), met((-b + root) / a))

    def normal() -> Tensor:
        px, pz = x + t * dx, z + t * dz
        away = (px * px + pz * pz).clamp(min=1e-9).sqrt()
        scale = torch.rsqrt(size.height**2 + size.radius**2)
        return vector(px / away * size.height * scale, size.radius * scale, pz / away * size.height * scale)

    return t, normal


SOLIDS: Mapping[str, Callable[[Tensor, Tensor, Size], Met]] = {"sphere": sphere, "cube": cube, "cylinder": cylinder, "cone": cone}
