"""One Brownian path per picture: the noise between any two sigmas, the same whatever was asked before and whoever else is in the batch.

The numbers are those of torchsde's BrownianTree (Li et al. 2020; Kidger et al. 2021), which A1111 takes its SDE samplers' noise from, but for the
rounding of sums: a dyadic tree over sigma, down to a millionth, every node with a seed of its own. The tests compare; the program does without it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from torch import Tensor

DIGITS = 6  # sigmas are told apart down to a millionth
DEEP = 32  # halvings from the whole path to the smallest difference, at most
POOL = 24  # words of entropy that a node's seed is mixed in

Draw = Callable[[int], Tensor]  # seed -> unit noise


@dataclass(frozen=True, eq=False)
class Node:
    """What the path adds from `start` to `end`."""

    start: float
    end: float
    added: Tensor
    key: int = 0
    depth: int = 0


@dataclass(frozen=True, eq=False)
class BrownianPath:
    """From `low` to `high`, in sigma. draw: unit noise of the picture's shape from a seed."""

    seed: int
    low: float
    high: float
    draw: Draw

    def between(self, sigma: float, target: float) -> Tensor:
        """Unit noise on the way from one sigma to another; the way back is its negative."""
        low, high = sorted((min(max(sigma, self.low), self.high), min(max(target, self.low), self.high)))
        parts = [node.added for node in self._covering(self._top, round(low, DIGITS), round(high, DIGITS))]
        added = sum(parts[1:], start=parts[0])  # one after the other: the order is part of the numbers
        return added * (1 if target > sigma else -1) / abs(target - sigma) ** 0.5

    @cached_property
    def _top(self) -> Node:
        (seed,) = np.random.SeedSequence(self.seed, pool_size=POOL).generate_state(1)
        added = self.draw(int(seed)) * math.sqrt(self.high - self.low)
        return Node(round(self.low, DIGITS), round(self.high, DIGITS), added)

    def _covering(self, node: Node, low: float, high: float) -> Iterator[Node]:
        """The largest nodes that make up [low, high] together, from left to right."""
        if low <= node.start and node.end <= high:
            yield node
            return
        left, right = self._halves(node)
        if low < left.end:
            yield from self._covering(left, low, high)
        if high > right.start:
            yield from self._covering(right, low, high)

    @cached_property
    def _halves(self) -> Callable[[Node], tuple[Node, Node]]:
        """The way down to where the last question ended is the way down to where the next one begins: it is remembered."""
        seed, draw = self.seed, self.draw  # not self, which would keep itself alive
        return lru_cache(2 * DEEP)(lambda node: halved(node, seed, draw))


def halved(node: Node, seed: int, draw: Draw) -> tuple[Node, Node]:
    """A Brownian bridge: what is added halfway, given what is added in all."""
    middle = round(0.5 * (node.end + node.start), DIGITS)
    (own,) = np.random.SeedSequence(seed, spawn_key=(node.key, node.depth), pool_size=POOL).generate_state(1)
    part = 1 / (node.end - node.start)
    before, after = middle - node.start, node.end - middle
    added = before * node.added * part + math.sqrt(before * after * part) * draw(int(own))
    return (
        Node(node.start, middle, added, 2 * node.key, node.depth + 1),
        Node(middle, node.end, node.added - added, 2 * node.key + 1, node.depth + 1),
    )
