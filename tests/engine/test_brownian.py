"""One path of noise per picture: a Brownian motion, whatever is asked and in which order, with the numbers that torchsde's tree gives."""

import math
from itertools import pairwise

import numpy as np
import torch

from sd_ui.engine.noise import randomness
from sd_ui.engine.samplers.brownian import BrownianPath

LOW, HIGH = float(np.float32(0.029167533)), float(np.float32(14.614643))
SHAPE = (1, 4, 8, 8)


def path(seed=5, shape=SHAPE, low=LOW, high=HIGH):
    return BrownianPath(seed, low, high, lambda other: randomness(0).unit(other, shape))


class Tree:
    """The oracle: an interval that splits itself where it is asked, and stays split, as torchsde's BrownianInterval does with halfway_tree."""

    def __init__(self, start, end, seed, key=0, depth=0, parent=None, is_left=False):
        self.start, self.end, self.seed, self.key, self.depth = round(start, 6), round(end, 6), seed, key, depth
        self.parent, self.is_left, self.middle = parent, is_left, None
        if parent is None:
            first = np.random.SeedSequence(entropy=seed, pool_size=24).generate_state(3)[0]
            self.W = self.randn(first) * math.sqrt(end - start)

    def randn(self, seed):
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(int(seed)))

    def split(self, where):
        self.middle = round(0.5 * (self.end + self.start), 6)
        state = np.random.SeedSequence(entropy=self.seed, spawn_key=(self.key, self.depth), pool_size=24).generate_state(4)
        self.noise = self.randn(state[0])
        self.left = Tree(self.start, self.middle, self.seed, 2 * self.key, self.depth + 1, self, True)
        self.right = Tree(self.middle, self.end, self.seed, 2 * self.key + 1, self.depth + 1, self)
        if where != self.middle:
            (self.right if where > self.middle else self.left).split(where)

    def increment(self):
        if self.parent is None:
            return self.W
        up = self.parent
        h, before, after = 1 / (up.end - up.start), up.middle - up.start, up.end - up.middle
        left = before * up.increment() * h + math.sqrt(before * after * h) * up.noise
        return left if self.is_left else up.increment() - left

    def located(self, a, b):
        if (a, b) == (self.start, self.end):
            return [self]
        if self.middle is None:
            self.split(b if a == self.start else a)
        if b <= self.middle:
            return self.left.located(a, b)
        if a >= self.middle:
            return self.right.located(a, b)
        return [*self.left.located(a, self.middle), *self.right.located(self.middle, b)]

    def __call__(self, a, b):
        total, *more = self.located(max(round(a, 6), self.start), min(round(b, 6), self.end))
        W = total.increment()
        for node in more:
            W = W + node.increment()
        return W


def test_the_numbers_are_those_of_the_tree_that_is_built_as_it_is_asked():
    tree, ours = Tree(LOW, HIGH, 5), path()
    sigmas = np.exp(np.linspace(math.log(HIGH), math.log(LOW), 8)).astype(np.float32).tolist()
    for sigma, target in pairwise(sigmas):
        theirs = -tree(target, sigma) / math.sqrt(sigma - target)
        assert torch.allclose(ours.between(sigma, target), theirs, atol=1e-6)


def test_what_is_asked_before_changes_nothing():
    fresh, used = path(), path()
    for sigma in (3.0, 0.4, 11.0):
        used.between(sigma, sigma / 2)
    assert torch.equal(fresh.between(2.0, 1.3), used.between(2.0, 1.3))
    assert not torch.equal(fresh.between(2.0, 1.3), path(seed=6).between(2.0, 1.3))


def test_parts_of_the_way_add_up():
    whole, one, two = path().between(9.0, 1.0), path().between(9.0, 4.0), path().between(4.0, 1.0)
    assert torch.allclose(whole * math.sqrt(8), one * math.sqrt(5) + two * math.sqrt(3), atol=1e-5)
    assert torch.allclose(path().between(1.0, 9.0), -whole)


def test_it_is_unit_noise_and_stretches_that_do_not_overlap_are_strangers():
    big = path(shape=(1, 4, 64, 64))
    stretches = [big.between(a, b).flatten() for a, b in ((14.0, 9.0), (9.0, 2.0), (2.0, 0.5), (0.5, 0.03))]
    for i, noise in enumerate(stretches):
        assert abs(float(noise.mean())) < 0.03 and abs(float(noise.std()) - 1) < 0.03
        assert all(abs(float(torch.corrcoef(torch.stack([noise, other]))[0, 1])) < 0.03 for other in stretches[:i])


def test_beyond_its_ends_there_is_no_more_noise():
    beyond, whole = path().between(20.0, LOW / 2) * math.sqrt(20.0 - LOW / 2), path().between(HIGH, LOW) * math.sqrt(HIGH - LOW)
    assert torch.allclose(beyond, whole, atol=1e-5)
