"""What stands in a safetensors file's header, read with struct and json: names, types and shapes, never a weight. Nothing is executed."""

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sd_ui.models import mistaken

LONGEST = 16 * 2**20  # bytes of header; the largest models need less than one
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
    "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
FOUR_BITS = ".quant_state.bitsandbytes__"  # in the name of what tells how a weight was packed into four bits; then which of the ways
WORDS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}


class Unreadable(ValueError):
    """Why a file cannot be used, in words that follow on "the file is"."""


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def numbers(self) -> int:
        """How many there are in all tensors, once they are unpacked."""
        halves = {name.partition(FOUR_BITS)[0] for name in self.tensors if FOUR_BITS in name}  # of bitsandbytes, two to a byte
        return sum(math.prod(tensor.shape) * (2 if name in halves else 1) for name, tensor in self.tensors.items())

    @property
    def stored(self) -> str:
        """How most of its numbers are stored, in a word: "fp16", "fp8", "Q4_K", "nf4"."""
        if four := next((name.partition(FOUR_BITS)[2] for name in self.tensors if FOUR_BITS in name), ""):
            return four
        counts: Counter[str] = Counter()
        for tensor in self.tensors.values():
            counts[tensor.dtype] += math.prod(tensor.shape)
        (most, _), *_ = counts.most_common(1) or [("", 0)]
        return WORDS.get(most, most)

    def shape(self, name: str) -> tuple[int, ...]:
        """() where there is no such tensor."""
        return self.tensors[name].shape if name in self.tensors else ()


def read(path: Path) -> Header:
    """Raises Unreadable for whatever is not an undamaged safetensors file, OSError where it cannot be opened."""
    with path.open("rb") as file:
        return parsed(file, path.stat().st_size)


def parsed(file: BinaryIO, size: int) -> Header:
    """file: at its beginning; the header is all that is read of it, GGUF's too. size: bytes that the whole has. Raises Unreadable."""
    from sd_ui.models import gguf  # it tells its contents as a Header

    start = file.read(64)
    if start.startswith(gguf.MAGIC):
        file.seek(0)
        return gguf.read(file, size).header
    if start[8:9] != b"{":
        raise Unreadable(mistaken.said(start + file.read(mistaken.LOOK), size))
    (length,) = struct.unpack("<Q", start[:8])
    if length > min(LONGEST, size - 8):
        raise Unreadable(
            mistaken.message(start + file.read(mistaken.LOOK), size) or f"damaged: its header claims {length} bytes, the file has {size}"
        )
    file.seek(8)
    return _checked(_parsed(file.read(length)), size - 8 - length)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("damaged: its header is not JSON") from None
    if not isinstance(data, dict):
        raise Unreadable("damaged: its header is not a table of tensors")
    if text.count(b'"data_offsets"') > len(data.keys() - {"__metadata__"}):  # a name that stands twice means two things
        json.loads(text, object_pairs_hook=_once)
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(name for name, _ in pairs)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise Unreadable(f"damaged: {_short(twice)} stands in its header more than once")
    return dict(pairs)


def _checked(data: dict[str, Any], size: int) -> Header:
    """size: bytes of tensor data in the file. The tensors must fill it exactly: no hole, no overlap, nothing beyond the end."""
    metadata = data.pop("__metadata__", {})
    tensors, spans = {}, []
    for name, entry in data.items():
        tensors[name], span = _tensor(name, entry)
        spans.append((*span, name))
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            raise Unreadable(f"damaged: {_short(name)} begins at byte {start} of the data, where {end} was expected")
        end = stop
    if end != size:
        raise Unreadable(f"damaged: its tensors need {end} bytes, there are {size} (an interrupted download, or one that still runs?)")
    return Header(tensors, metadata if isinstance(metadata, dict) else {})


def _tensor(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    try:
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, start, stop))
        if whole and stop - start == math.prod(shape) * BITS[dtype] // 8:
            return Tensor(dtype, shape), (start, stop)
    except (KeyError, TypeError, ValueError):
        pass
    raise Unreadable(f"damaged: the entry of {_short(name)} makes no sense")


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:77] + "...")
