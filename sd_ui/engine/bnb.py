"""Weights as bitsandbytes stores them, back into float32: four bits with a table of values, or eight bits with a scale for each row.

Reference: bitsandbytes' QuantState.from_dict, dequantize_4bit and Linear8bitLt (SCB). Dettmers et al. 2023 (QLoRA): nf4, and scales of scales.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sd_ui.engine.packed import Packed, Rows
from sd_ui.models.header import Unreadable

STATE = ".quant_state.bitsandbytes__"  # after a weight's name: how it was quantised, as JSON; then the table's name
BESIDE = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")  # after a weight's name
ROWS, FORMAT = ".SCB", ".weight_format"  # after a layer's name: each row's largest number; how its eight bits lie
EIGHT = 127.0
LONGEST = 4096  # bytes of such a JSON


@dataclass(frozen=True)
class FourBits:
    """packed: two numbers a byte, the first in its upper half. table: what the 16 of them mean. largest: of each block."""

    packed: Tensor
    table: Tensor
    largest: Tensor
    block: int
    shape: tuple[int, ...]

    def unpacked(self) -> Tensor:
        raw = self.packed.flatten()
        halves = torch.stack([raw >> 4, raw & 15], 1).flatten()[: math.prod(self.shape)]
        numbers = self.table.float()[halves.long()]
        blocks = torch.nn.functional.pad(numbers, (0, -len(numbers) % self.block)).reshape(-1, self.block)
        return (blocks * self.largest[:, None]).flatten()[: len(numbers)].reshape(self.shape)


@dataclass(frozen=True)
class FourBitRows:
    """Of a matrix whose rows are whole blocks."""

    table: tuple[float, ...]
    block: int

    def __call__(self, packed: Tensor, largest: Tensor) -> Tensor:
        """packed: (rows, bytes). largest: (rows, blocks). -> (rows, numbers)"""
        table = torch.tensor(self.table, device=packed.device)
        return FourBits(packed, table, largest.flatten(), self.block, (len(packed), 2 * packed.shape[1])).unpacked()


def unpacked(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file with its layers of bitsandbytes packed, and what belongs to them gone. Raises Unreadable."""
    four = {name.partition(STATE)[0]: tensor for name, tensor in found.items() if STATE in name}
    eight = {name.removesuffix(ROWS) + ".weight": rows for name, rows in found.items() if name.endswith(ROWS)}
    if not four and not eight:
        return dict(found)
    gone = {weight + end for weight in four for end in BESIDE}
    gone |= {weight.removesuffix(".weight") + end for weight in eight for end in (ROWS, FORMAT)}
    kept = {name: tensor for name, tensor in found.items() if name not in gone and STATE not in name}
    try:
        kept |= {weight: _four(weight, state, found) for weight, state in four.items()}
        return kept | {weight: _eight(found[weight], rows) for weight, rows in eight.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable(f"damaged: its layers of bitsandbytes make no sense ({error})") from error


def _four(weight: str, state: Tensor, found: Mapping[str, Tensor]) -> Tensor:
    told = json.loads(bytes(state[:LONGEST].tolist()))
    shape, block, raw = tuple(told["shape"]), told["blocksize"], found[weight]
    if not all(type(n) is int and n > 0 for n in (*shape, block)) or 2 * raw.numel() != math.prod(shape) + math.prod(shape) % 2:
        raise ValueError(f"{weight} has {raw.numel()} bytes for the shape {shape}")
    largest = _largest(weight, told, found)
    if largest.numel() != -(-math.prod(shape) // block) or found[f"{weight}.quant_map"].numel() != 16:
        raise ValueError(f"{weight} has {largest.numel()} blocks")
    table = found[f"{weight}.quant_map"]
    if len(shape) == 2 and shape[1] % block == 0 and block % 2 == 0:
        each = FourBitRows(tuple(table.float().flatten().tolist()), block)
        return Packed(shape, Rows(each, (raw.reshape(shape[0], -1), largest.reshape(shape[0], -1))))
    return Packed(shape, FourBits(raw, table, largest, block, shape).unpacked)


def _largest(weight: str, told: Mapping[str, object], found: Mapping[str, Tensor]) -> Tensor:
    """Each block's largest number; these may be quantised themselves, to eight bits with a table, a scale for each block of theirs and an offset."""
    stored = found[f"{weight}.absmax"]
    if "nested_offset" not in told:
        return stored.float()
    block, offset = told["nested_blocksize"], told["nested_offset"]
    if type(block) is not int or block < 1 or not isinstance(offset, int | float):
        raise ValueError(f"{weight} does not say how its scales are stored")
    scales, table = found[f"{weight}.nested_absmax"], found[f"{weight}.nested_quant_map"]
    if scales.numel() != -(-stored.numel() // block) or table.numel() != 256 or stored.dtype != torch.uint8:
        raise ValueError(f"{weight} has {scales.numel()} scales of scales")
    return table.float()[stored.long()] * scales.float().repeat_interleave(block)[: stored.numel()] + offset


def _eight(weight: Tensor, rows: Tensor) -> Tensor:
    if weight.dtype != torch.int8 or weight.ndim != 2 or rows.numel() != weight.shape[0]:
        raise ValueError(f"{rows.numel()} rows for {tuple(weight.shape)}")
    return Packed(tuple(weight.shape), Rows(_rows, (weight, rows.flatten())))


def _rows(weight: Tensor, rows: Tensor) -> Tensor:
    return weight.float() * (rows.float() / EIGHT)[:, None]
