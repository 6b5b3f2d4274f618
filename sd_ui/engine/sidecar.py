"""A model's weights once more: in the precision that is computed in, each where a processor likes it, so that they can be used where they lie.

A copy of ours is never written to after it has its name, so it can be mapped into memory; a user's own file can be overwritten at any time, and
whoever had mapped it would crash.
"""

import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sd_ui import durable
from sd_ui.models import gguf, header
from sd_ui.models.published import FIRST_STAGE, UNET

ALIGNED = 64  # bytes, as torch lays out its own tensors: at other addresses the last bits of sums come out differently
PIECE = 2**22  # bytes between two looks at whether to go on
FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in FLOATS.items()}
TEXTS = ("cond_stage_model.", "conditioner.", "text_encoder/", "text_encoder_2/")
CONVERTED = {  # by the beginnings of names, the parts that are computed in this precision whatever they were saved in; a VAE may want float32
    torch.float32: ("",),
    torch.bfloat16: (UNET, "unet/", FIRST_STAGE, "vae/", *TEXTS),
    torch.float16: (UNET, "unet/", *TEXTS),
}
GoOn = Callable[[], None]  # called between two pieces of the work; what it raises ends it


@dataclass(frozen=True)
class Written:
    """What a file of ours must look like for as long as it is there: bytes, and their CRC-32."""

    size: int
    crc: int


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * header.BITS[self.dtype] // 8


def differs(source: Path, dtype: torch.dtype, part: str = "") -> bool:
    """Whether something in the file is saved in another precision than it is computed in. part: the folder it lies in, with a slash."""
    found = header.read(source).tensors
    return any(dtype_of(part + name, tensor.dtype, dtype) != tensor.dtype for name, tensor in found.items())


def understood(source: Path) -> bool:
    """Whether it is a safetensors file of plain numbers. Quantised weights mean something only together with others."""
    return not gguf.is_one(source) and all(header.BITS[tensor.dtype] > 8 or tensor.dtype == "BOOL" for tensor in header.read(source).tensors.values())


def dtype_of(name: str, saved: str, dtype: torch.dtype) -> str:
    """The type that a tensor has in the copy, as safetensors names it."""
    return NAMES[dtype] if saved in FLOATS and name.startswith(CONVERTED[dtype]) else saved


def size_of(source: Path, dtype: torch.dtype, part: str = "") -> int:
    """Bytes of the copy's tensors."""
    return sum(entry.size for entry in _entries(source, dtype, part))


def write(source: Path, target: Path, dtype: torch.dtype, part: str, go_on: GoOn) -> Written:
    """The names stay. Raises OSError and what go_on raises; then nothing has the target's name.

    The source is read, not mapped: whoever cuts it off meanwhile ends this with an error, not the program with a signal.
    """
    entries = _entries(source, dtype, part)
    head = _head(entries)
    size, crc = len(head), zlib.crc32(head)
    with source.open("rb", buffering=0) as file, durable.writing(target) as out:
        out.write(head)
        for data in _tensors(file, entries, go_on):
            out.write(data)
            size, crc = size + len(data), zlib.crc32(data, crc)
    return Written(size, crc)


def checked(path: Path, said: Written, go_on: GoOn) -> bool:
    """Whether every byte is still what was written; all of them are in the system's memory then."""
    crc, piece = 0, memoryview(bytearray(PIECE))
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(piece):
            crc = zlib.crc32(piece[:length], crc)
            go_on()
    return crc == said.crc


def usable(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a mapped tensor can be computed with where it lies."""
    return tensor.dtype == dtype and tensor.is_contiguous() and tensor.data_ptr() % ALIGNED == 0 and tensor.numel() > 0


def alone(tensor: Tensor) -> Tensor:
    """The same numbers at the same place as a storage of their own: a mapped tensor's storage is the whole file, and would be counted so."""
    plain = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return torch.from_numpy(plain.numpy()).view(tensor.dtype)


def _entries(source: Path, dtype: torch.dtype, part: str) -> list[_Entry]:
    """In the order of the copy: those that fill whole lines of memory first, so that all of these begin at one."""
    found = header.read(source).tensors
    entries = [_Entry(name, dtype_of(part + name, tensor.dtype, dtype), tensor.shape) for name, tensor in found.items()]
    return sorted(entries, key=lambda entry: entry.size % ALIGNED != 0)


def _head(entries: list[_Entry]) -> bytes:
    table: dict[str, Any] = {}
    end = 0
    for entry in entries:
        table[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (end, end + entry.size)}
        end += entry.size
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    return struct.pack("<Q", len(text)) + text


def _tensors(file: FileIO, entries: list[_Entry], go_on: GoOn) -> Iterator[memoryview]:
    """Each piece is to be used before the next is asked for: they lie in the same memory, since the system takes its time to hand out more."""
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    table = json.loads(file.read(min(length, header.LONGEST)) or "{}")
    if any(entry.name not in table for entry in entries):
        raise OSError("the file was overwritten meanwhile")
    raw, made = bytearray(PIECE), torch.empty(2 * PIECE, dtype=torch.uint8)
    for entry in entries:
        begin, end = table[entry.name]["data_offsets"]
        saved, wanted = table[entry.name]["dtype"], entry.dtype
        file.seek(8 + length + begin)
        for at in range(begin, end, PIECE):
            go_on()
            data = memoryview(raw)[: min(PIECE, end - at)]
            if file.readinto(data) != len(data):
                raise OSError("the file was cut off meanwhile")
            yield data if saved == wanted else _converted(data, FLOATS[saved], FLOATS[wanted], made)


def _converted(data: memoryview, saved: torch.dtype, wanted: torch.dtype, made: Tensor) -> memoryview:
    numbers = torch.frombuffer(data, dtype=saved)
    converted = made.view(wanted)[: len(numbers)].copy_(numbers)
    found: memoryview = converted.view(torch.uint8).numpy().data
    return found
