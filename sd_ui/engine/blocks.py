"""Blocks of quantised numbers, as GGUF files store them, back into float32. What each block means: ggml's ggml-quants.c and ggml-common.h."""

from collections.abc import Callable

import torch
from torch import Tensor

Unpack = Callable[[Tensor], Tensor]  # blocks (n, bytes), uint8 -> numbers (n, numbers of a block), float32


def q8_0(b: Tensor) -> Tensor:
    return _half(b, 0) * b[:, 2:].view(torch.int8).float()


def q4_0(b: Tensor) -> Tensor:
    return _half(b, 0) * (_nibbles(b[:, 2:]) - 8)


def q4_1(b: Tensor) -> Tensor:
    return _half(b, 0) * _nibbles(b[:, 4:]) + _half(b, 2)


def q5_0(b: Tensor) -> Tensor:
    return _half(b, 0) * (_nibbles(b[:, 6:]) + 16 * _bits(b[:, 2:6]) - 16)


def q5_1(b: Tensor) -> Tensor:
    return _half(b, 0) * (_nibbles(b[:, 8:]) + 16 * _bits(b[:, 4:8])) + _half(b, 2)


# ---------------------------------------------------------------- 256 numbers with scales of their own for each 16 or 32
def q2_k(b: Tensor) -> Tensor:
    scales, q = b[:, :16], _spread(b[:, 16:80], (0, 2, 4, 6), 3).reshape(-1, 16, 16)
    low = (_half(b, 80) * (scales & 15).float())[..., None]
    return (low * q - (_half(b, 82) * (scales >> 4).float())[..., None]).reshape(-1, 256)


def q3_k(b: Tensor) -> Tensor:
    """Scales are of six bits: four of them in the first eight bytes, the other two in the last four."""
    stored = b[:, 96:108]
    low = torch.cat([stored[:, :8] & 15, stored[:, :8] >> 4], 1)
    high = (stored[:, None, 8:] >> _shifts((0, 2, 4, 6), b)[None, :, None]).reshape(-1, 16) & 3
    scale = _half(b, 108) * ((low | (high << 4)).float() - 32)
    q = _spread(b[:, 32:96], (0, 2, 4, 6), 3) - 4 * (1 - _spread(b[:, :32], tuple(range(8)), 1))
    return (scale[..., None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


def q4_k(b: Tensor) -> Tensor:
    scale, least = _scales(b)
    return (scale * _spread(b[:, 16:], (0, 4), 15).reshape(-1, 8, 32) - least).reshape(-1, 256)


def q5_k(b: Tensor) -> Tensor:
    scale, least = _scales(b)
    q = _spread(b[:, 48:], (0, 4), 15) + 16 * _spread(b[:, 16:48], tuple(range(8)), 1)
    return (scale * q.reshape(-1, 8, 32) - least).reshape(-1, 256)


def q6_k(b: Tensor) -> Tensor:
    low = (b[:, :128].reshape(-1, 2, 1, 64) >> _shifts((0, 4), b)[None, None, :, None]) & 15
    high = (b[:, 128:192].reshape(-1, 2, 1, 32) >> _shifts((0, 2, 4, 6), b)[None, None, :, None]) & 3
    q = low.reshape(-1, 256).float() + 16 * high.reshape(-1, 256).float() - 32
    scale = _half(b, 208) * b[:, 192:208].view(torch.int8).float()
    return (scale[..., None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


# ---------------------------------------------------------------- 16 values that lie closer together around zero
def iq4_nl(b: Tensor) -> Tensor:
    return _half(b, 0) * _values(b)[_nibbles(b[:, 2:]).long()]


def iq4_xs(b: Tensor) -> Tensor:
    """Scales of six bits for each 32: four of them in nibbles, two in a number of 16 bits."""
    low = (b[:, 4:8, None] >> _shifts((0, 4), b)).reshape(-1, 8) & 15
    high = (b[:, 2:4, None] >> _shifts((0, 2, 4, 6), b)).reshape(-1, 8) & 3
    scale = _half(b, 0) * ((low | (high << 4)).float() - 32)
    q = _values(b)[_spread(b[:, 8:].reshape(-1, 16), (0, 4), 15).long()].reshape(-1, 8, 32)
    return (scale[..., None] * q).reshape(-1, 256)


UNPACK: dict[str, Unpack] = {
    "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0, "Q2_K": q2_k, "Q3_K": q3_k, "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k,
    "IQ4_NL": iq4_nl, "IQ4_XS": iq4_xs,
}  # fmt: skip
VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


# ---------------------------------------------------------------- parts of a block
def _half(b: Tensor, place: int) -> Tensor:
    """The number in half precision at this byte. (n, 1)"""
    return b[:, place : place + 2].contiguous().view(torch.float16).float()


def _nibbles(b: Tensor) -> Tensor:
    """The low halves of the bytes, then the high ones."""
    return torch.cat([b & 15, b >> 4], 1).float()


def _bits(b: Tensor) -> Tensor:
    """One for each bit, the lowest first."""
    return ((b[:, :, None] >> _shifts(tuple(range(8)), b)) & 1).reshape(b.shape[0], -1).float()


def _spread(b: Tensor, shifts: tuple[int, ...], mask: int) -> Tensor:
    """Of each run of 32 bytes (or of all, where they are fewer) the same bits of every byte, then the next bits of every byte."""
    run = min(32, b.shape[1])
    parts = b.reshape(b.shape[0], -1, 1, run) >> _shifts(shifts, b)[None, None, :, None]
    return (parts & mask).reshape(b.shape[0], -1).float()


def _scales(b: Tensor) -> tuple[Tensor, Tensor]:
    """Eight scales and eight least values of six bits each, in twelve bytes. (n, 8, 1)"""
    first, second, third = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scale = torch.cat([first & 63, (third & 15) | ((first >> 6) << 4)], 1)
    least = torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], 1)
    return (_half(b, 0) * scale.float())[..., None], (_half(b, 2) * least.float())[..., None]


def _shifts(shifts: tuple[int, ...], b: Tensor) -> Tensor:
    return torch.tensor(shifts, dtype=torch.uint8, device=b.device)


def _values(b: Tensor) -> Tensor:
    return torch.tensor(VALUES, dtype=torch.float32, device=b.device)
