"""Writes GGUF files with known numbers, as llama.cpp's and ComfyUI's converters lay them out. Nothing is asked of the gguf package."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STEP = 32  # bytes that every tensor's place is a multiple of
NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "BF16": 30}
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

Kind = Callable[[str, Tensor], str]


def write(path: Path, tensors: Mapping[str, Tensor], kind: Kind, facts: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """kind: how a tensor is stored, by its name and itself. -> the numbers that are in the file, in float32"""
    stored = {name: (kind(name, tensor), tensor) for name, tensor in tensors.items()}
    data = {name: packed(tensor, how) for name, (how, tensor) in stored.items()}
    head, place = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts or {})), 0
    head += b"".join(_text(name) + _value(value) for name, value in (facts or {}).items())
    for name, (how, tensor) in stored.items():
        shape = tuple(reversed(tensor.shape))
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, NUMBERS[how], place)
        place += _up(len(data[name]))
    body = b"".join(part.ljust(_up(len(part)), b"\0") for part in data.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.ljust(_up(len(head)), b"\0") + body)
    return {name: unpacked(data[name], how).reshape(tensor.shape) for name, (how, tensor) in stored.items()}


def packed(tensor: Tensor, kind: str) -> bytes:
    """As ggml's reference does: a scale in half precision for each 32 numbers."""
    if kind in DTYPES:
        return tensor.to(DTYPES[kind]).contiguous().flatten().view(torch.uint8).numpy().tobytes()
    blocks = tensor.float().reshape(-1, 32)
    if kind == "Q8_0":
        scale = (blocks.abs().amax(1, keepdim=True) / 127).half()
        q = (blocks / scale.float().clamp(min=1e-12)).round().clamp(-127, 127).to(torch.int8).view(torch.uint8)
    else:
        largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
        scale = (largest / -8).half()
        numbers = (blocks / torch.where(scale == 0, 1, scale.float()) + 8.5).floor().clamp(0, 15).to(torch.uint8)
        q = numbers[:, :16] | (numbers[:, 16:] << 4)
    return torch.cat([scale.view(torch.uint8), q], 1).numpy().tobytes()


def unpacked(data: bytes, kind: str) -> Tensor:
    """What the format says that the bytes mean, one number after the other: slow, and hard to get wrong."""
    if kind in DTYPES:
        return torch.frombuffer(bytearray(data), dtype=DTYPES[kind]).float()
    size = {"Q8_0": 34, "Q4_0": 18}[kind]
    found = []
    for place in range(0, len(data), size):
        (scale,) = struct.unpack_from("<e", data, place)
        rest = data[place + 2 : place + size]
        numbers = struct.unpack("<32b", rest) if kind == "Q8_0" else [(byte & 15) - 8 for byte in rest] + [(byte >> 4) - 8 for byte in rest]
        found += [scale * number for number in numbers]
    return torch.tensor(found, dtype=torch.float64).float()


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    match value:
        case str():
            return struct.pack("<I", 8) + _text(value)
        case int():
            return struct.pack("<II", 4, value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(one) for one in value)
        case _:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


def _up(length: int) -> int:
    return -(-length // STEP) * STEP


def numbers(module: Any) -> dict[str, Tensor]:
    """A module's tensors by name, with those unpacked that stay packed in memory."""
    from sd_ui.engine.packed_linear import PackedLinear

    packed = {f"{name}.weight": layer for name, layer in module.named_modules() if isinstance(layer, PackedLinear) and list(layer.buffers())}
    plain = {name: tensor for name, tensor in module.state_dict().items() if not name.rpartition(".")[2].startswith("packed_")}
    return plain | {name: layer.numbers() for name, layer in packed.items()}
