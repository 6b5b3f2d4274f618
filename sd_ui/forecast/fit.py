"""Least squares for a handful of numbers, as careful as little data asks for: relative, never negative, unmoved by single odd values."""

from collections.abc import Sequence
from dataclasses import dataclass

ODD = 0.25  # part by which a value may be off before it counts less
CAREFUL = 0.05  # how strongly the expected shape holds, against one observation
ROUNDS, SWEEPS, CLOSE = 5, 100, 1e-4

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Seen:
    """cost: what was measured where the features had these values. weight: how much it counts."""

    features: Vector
    cost: float
    weight: float = 1.0


def fitted(seen: Sequence[Seen], shape: Vector) -> Vector:
    """Factors for the features, none below 0, with which features x factors come near the costs, counted in parts of each cost.

    shape: factors of the expected proportions, of any size; where the data say nothing, these stay. Iteratively reweighted least squares with
    Huber's weights (Huber 1964), with a ridge towards the shape. seen: at least one, with costs above 0.
    """
    size = median([each.cost / max(dot(each.features, shape), 1e-30) for each in seen])
    start = tuple(size * each for each in shape)
    rows = [(tuple(f * s / each.cost for f, s in zip(each.features, start, strict=True)), each.weight) for each in seen]
    scales: Vector = tuple(1.0 for _ in shape)
    for _ in range(ROUNDS):
        heard = [(row, weight * min(1.0, ODD / max(abs(dot(row, scales) - 1), 1e-9))) for row, weight in rows]
        scales = _solved(heard, scales)
    return tuple(scale * each for scale, each in zip(scales, start, strict=True))


def _solved(rows: Sequence[tuple[Vector, float]], scales: Vector) -> Vector:
    """min sum w (row . x - 1)^2 + CAREFUL sum (x - 1)^2 with x >= 0, by coordinate descent on the normal equations."""
    places = range(len(scales))
    square = [[sum(weight * row[i] * row[j] for row, weight in rows) + CAREFUL * (i == j) for j in places] for i in places]
    aim = [sum(weight * row[i] for row, weight in rows) + CAREFUL for i in places]
    x = list(scales)
    for _ in range(SWEEPS):
        before = tuple(x)
        for i in places:
            x[i] = max(0.0, x[i] + (aim[i] - dot(square[i], x)) / square[i][i])
        if max(abs(now - was) for now, was in zip(x, before, strict=True)) < CLOSE:
            break
    return tuple(x)


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def median(values: Sequence[float]) -> float:
    """values: at least one."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
