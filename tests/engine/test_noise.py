"""Seeds as in A1111: a card's numbers on any machine, variations, resized seeds, another seed for the steps; and noise that stays in its place."""

import math

import numpy as np
import pytest
import torch

from sd_ui.engine import noise
from sd_ui.engine.noise import begun, randomness, slerp
from sd_ui.engine.philox import CardNoise, PlaceNoise, philox
from sd_ui.spec.request import NOISES, Noise

# torch.randn on CUDA after manual_seed(0), as published with A1111's emulation
ON_A_CARD = (-0.92466, -0.42534, -2.64385, 0.14518, -0.12087)


def first(seed=1, width=64, height=64, **asked):
    return begun(4, width, height, seed, Noise(**asked))[0]


def test_philox_gives_the_known_answers_of_its_authors():
    """Salmon et al. 2011, the vectors of Random123: all zeros, all ones, digits of pi."""

    def words(*numbers):
        return [np.array([number], np.uint64) for number in numbers]

    def out(counter, key):
        return [f"{int(word[0]):08x}" for word in philox(words(*counter), key[0] | key[1] << 32)]

    assert out((0,) * 4, (0, 0)) == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    assert out((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2) == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]
    counter, key = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert out(counter, key) == ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"]


def test_a_cards_noise_is_drawn_without_a_card():
    drawn = CardNoise(0)((1, 4, 64, 64))
    assert drawn.dtype == torch.float32 and drawn.flatten()[:5].tolist() == pytest.approx(ON_A_CARD, abs=1e-5)
    assert torch.equal(CardNoise(0)((5,)), CardNoise(0)((1, 4, 64, 64)).flatten()[:5])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_draws_the_same():
    stream = CardNoise(5)
    card = torch.Generator("cuda").manual_seed(5)
    for _ in range(3):
        theirs = torch.randn(1, 4, 64, 64, generator=card, device="cuda").cpu()
        assert torch.allclose(stream((1, 4, 64, 64)), theirs, atol=1e-6)


@pytest.mark.parametrize("source", NOISES)
def test_every_source_is_unit_noise_from_the_seed_alone(source):
    stream = randomness(3, source)
    one, two = (stream.normal((1, 4, 64, 64)) for _ in range(2))
    for drawn in (one, two):
        assert abs(float(drawn.mean())) < 0.03 and abs(float(drawn.std()) - 1) < 0.03 and drawn.isfinite().all()
    assert torch.equal(randomness(3, source).normal((1, 4, 64, 64)), one) and torch.equal(stream.unit(3, (1, 4, 64, 64)), one)
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.03
    assert not torch.equal(randomness(4, source).normal((1, 4, 64, 64)), one)


def test_size_stable_noise_keeps_its_pattern_where_sizes_overlap():
    small, wide, tall = (PlaceNoise(9)((1, 4, h, w)) for h, w in ((8, 8), (8, 16), (13, 8)))
    assert torch.equal(wide[..., 4:12], small) and torch.equal(tall[..., 2:10, :], small)
    assert not torch.equal(noise.cpu(9)((1, 4, 8, 16))[..., 4:12], noise.cpu(9)((1, 4, 8, 8)))


# ---------------------------------------------------------------- variations
def published_slerp(val, low, high):
    """As A1111 has it, for (C, h, w)."""
    low_norm, high_norm = low / torch.norm(low, dim=1, keepdim=True), high / torch.norm(high, dim=1, keepdim=True)
    omega = torch.acos((low_norm * high_norm).sum(1))
    so = torch.sin(omega)
    return (torch.sin((1.0 - val) * omega) / so).unsqueeze(1) * low + (torch.sin(val * omega) / so).unsqueeze(1) * high


@pytest.mark.parametrize("part", [0.01, 0.3, 1.0])
def test_a_variation_is_the_way_between_two_noises(part):
    one, other = first(1), first(2)
    varied = first(1, variation_seed=2, variation_strength=part)
    assert torch.allclose(varied[0], published_slerp(part, one[0], other[0]), atol=1e-6)
    assert torch.allclose(varied, other, atol=1e-5) == (part == 1.0)
    assert abs(float(first(1, 512, 512, variation_seed=2, variation_strength=part).std()) - 1) < 0.05


def test_a_variation_towards_itself_changes_nothing():
    assert torch.equal(first(1, variation_seed=1, variation_strength=0.5), first(1))
    assert torch.equal(slerp(0.5, first(1), first(1)), first(1))


def test_without_strength_a_variation_seed_changes_nothing():
    assert torch.equal(first(1, variation_seed=2), first(1))


# ---------------------------------------------------------------- resized seeds
def published_resize(x, noise):
    """As A1111 has it, for (C, h, w)."""
    x = x.clone()
    dx, dy = (x.shape[2] - noise.shape[2]) // 2, (x.shape[1] - noise.shape[1]) // 2
    w = noise.shape[2] if dx >= 0 else noise.shape[2] + 2 * dx
    h = noise.shape[1] if dy >= 0 else noise.shape[1] + 2 * dy
    tx, ty = max(dx, 0), max(dy, 0)
    dx, dy = max(-dx, 0), max(-dy, 0)
    x[:, ty : ty + h, tx : tx + w] = noise[:, dy : dy + h, dx : dx + w]
    return x


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (64, 136), (72, 56), (40, 200)])
def test_a_resized_seed_has_the_other_sizes_noise_in_its_middle(size):
    got = first(3, *size, from_width=64, from_height=64)
    assert torch.equal(got[0], published_resize(first(3, *size)[0], first(3, 64, 64)[0]))
    assert torch.equal(first(3, 64, 64, from_width=64, from_height=64), first(3, 64, 64))


def test_a_resized_variation_varies_at_the_size_that_it_comes_from():
    got = first(3, 128, 64, from_width=64, from_height=64, variation_seed=5, variation_strength=0.2)
    varied = first(3, 64, 64, variation_seed=5, variation_strength=0.2)
    assert torch.equal(got[..., 4:12], varied)


# ---------------------------------------------------------------- the noise of the steps
@pytest.mark.parametrize("source", NOISES)
def test_steps_draw_on_where_the_first_noise_ended_or_from_another_seed(source):
    shape = (1, 4, 8, 8)
    whole = randomness(7, source)
    one, two = whole.normal(shape), whole.normal(shape)
    noise, steps = begun(4, 64, 64, 7, Noise(source))
    assert torch.equal(noise, one) and torch.equal(steps.normal(shape), two)
    noise, steps = begun(4, 64, 64, 7, Noise(source, eta_delta=31337))
    assert torch.equal(noise, one) and torch.equal(steps.normal(shape), randomness(7 + 31337, source).normal(shape))
    assert steps.seed == 7  # the path of the SDE samplers stays the picture's


def test_the_largest_seed_and_delta_go_round():
    _, steps = begun(4, 64, 64, 2**64 - 1, Noise(eta_delta=2))
    assert torch.equal(steps.normal((1, 4, 8, 8)), randomness(1).normal((1, 4, 8, 8))) and math.isfinite(float(first(2**64 - 1).sum()))
