"""Random numbers from counters: Philox4x32-10 (Salmon et al. 2011) and Box-Muller, as an NVIDIA card draws them, on any machine.

torch.randn on CUDA gives element i of the n-th draw the counter (n, 0, i, 0) and the seed as the key, as long as a tensor has no more elements
than the card has threads at once (about 125,000 on a large one); beyond that a card's numbers depend on the card, and these are its own.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]  # 32-bit words, kept in 64 bits

LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # of the key: golden ratio, square root of 3
UNIT = np.float32(2.3283064e-10)  # 2^-32
ANGLE = np.float32(2.3283064e-10 * 6.2831855)


def philox(counter: Sequence[Words], seed: int, rounds: int = 10) -> tuple[Words, Words, Words, Words]:
    """counter: four arrays of words of one shape. -> as many random words."""
    a, b, c, d = counter
    k, l = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)  # noqa: E741
    for _ in range(rounds):
        p, q = a * FACTORS[0], c * FACTORS[1]
        a, b, c, d = (q >> HALF) ^ b ^ k, q & LOW, (p >> HALF) ^ d ^ l, p & LOW
        k, l = (k + STEPS[0]) & LOW, (l + STEPS[1]) & LOW  # noqa: E741
    return a, b, c, d


def normal(counter: Sequence[Words], seed: int) -> NDArray[np.float32]:
    """Box and Muller 1958, with cuRAND's constants, in float32."""
    u, v, _, _ = (words.astype(np.float32) for words in philox(counter, seed))
    u, v = u * UNIT + UNIT / 2, v * ANGLE + ANGLE / 2
    return (np.sqrt(np.float32(-2) * np.log(u)) * np.sin(v)).astype(np.float32)


class CardNoise:
    """The draws of torch.randn(device="cuda") after torch.manual_seed(seed), one after the other."""

    def __init__(self, seed: int) -> None:
        self.seed, self.drawn = seed, 0

    def __call__(self, shape: Sequence[int]) -> Tensor:
        places = np.arange(int(np.prod(shape)), dtype=np.uint64)
        nothing = np.zeros_like(places)
        noise = normal((nothing + np.uint64(self.drawn), nothing, places, nothing), self.seed)
        self.drawn += 1
        return torch.from_numpy(noise.reshape(tuple(shape)))


class PlaceNoise:
    """Noise that belongs to places: where two sizes overlap, counted from the middle, they have the same numbers."""

    def __init__(self, seed: int) -> None:
        self.seed, self.drawn = seed, 0

    def __call__(self, shape: Sequence[int]) -> Tensor:
        *_, channels, height, width = shape
        grid = np.meshgrid(np.arange(channels), np.arange(height) - height // 2, np.arange(width) - width // 2, indexing="ij")
        words = [place.astype(np.int64).astype(np.uint64) & LOW for place in grid]
        noise = normal((np.full_like(words[0], self.drawn), *words), self.seed)
        self.drawn += 1
        return torch.from_numpy(noise.reshape(tuple(shape)))
