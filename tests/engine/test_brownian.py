"""One path of noise per picture: a Brownian motion, whatever is asked and in which order, with the numbers that torchsde's tree gives."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchsde

from sd_ui.engine.noise import randomness
from sd_ui.engine.samplers.brownian import BrownianPath

LOW, HIGH = float(np.float32(0.029167533)), float(np.float32(14.614643))
SHAPE = (1, 4, 8, 8)


def path(seed=5, shape=SHAPE, low=LOW, high=HIGH):
    return BrownianPath(seed, low, high, lambda other: randomness(0).unit(other, shape))


@pytest.mark.filterwarnings("ignore:Should have")  # the ends of the way are rounded by it, and then missed by a rounding
@pytest.mark.parametrize("seed", [0, 5, 123456789, 2**32 - 1])
def test_the_numbers_are_those_of_torchsde_as_k_diffusion_asks_for_them(seed):
    tree = torchsde.BrownianTree(torch.tensor(LOW), torch.zeros(SHAPE), torch.tensor(HIGH), entropy=seed)
    sigmas = torch.tensor(np.exp(np.linspace(math.log(HIGH), math.log(LOW), 12)), dtype=torch.float32)
    for sigma, target in pairwise(sigmas):
        theirs = -tree(target, sigma) / (sigma - target).sqrt()
        assert torch.allclose(path(seed).between(float(sigma), float(target)), theirs, atol=1e-5)


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
