"""The tensors of a file, mapped and not yet read; what is stored in fewer bits is unpacked when it is placed (packed.py)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from sd_ui.engine import bnb
from sd_ui.engine.blocks import UNPACK
from sd_ui.engine.packed import Packed, Rows
from sd_ui.models import gguf, header
from sd_ui.models.gguf import Stored
from sd_ui.models.header import Unreadable

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I8": torch.int8, "I16": torch.int16,
         "I32": torch.int32, "I64": torch.int64}  # fmt: skip
SCALES = (".scale_weight", ".weight_scale")  # ComfyUI's two names for what the numbers of `.weight` are multiplied with
OF_ACTIVATIONS = (".scale_input", ".input_scale")  # for cards that multiply in float8; nothing here does
MARK, RECIPE = "scaled_fp8", ".comfy_quant"  # that there are scales; how a layer was quantised, as JSON
RECIPES = ("float8_e4m3fn", "float8_e5m2")
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def tensors(path: Path) -> dict[str, Tensor]:
    """Of a safetensors or a GGUF file, checked before it is opened as one. Raises Unreadable, OSError."""
    if gguf.is_one(path):
        return _of_gguf(path)
    header.read(path)
    with safe_open(path, framework="pt", device="cpu") as opened:
        return bnb.unpacked(scaled({name: opened.get_tensor(name) for name in opened.keys()}))  # noqa: SIM118  (it is not a mapping)


# ---------------------------------------------------------------- float8 with scales
def scaled(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers in float8 are multiplied by the scales that lie beside them, which then are gone. Raises Unreadable."""
    for name in found:
        if name.endswith(RECIPE):
            _check_recipe(name, found[name])
    scales = {name.removesuffix(end) + ".weight": scale for name, scale in found.items() for end in SCALES if name.endswith(end)}
    scales = {name: scale for name, scale in scales.items() if name in found and found[name].dtype in FLOAT8}
    if not scales and not any(name.split(".")[-1] == MARK for name in found):
        return dict(found)
    beside = (*SCALES, *OF_ACTIVATIONS, RECIPE)
    return {
        name: _multiplied(name, tensor, scales[name]) if name in scales else tensor
        for name, tensor in found.items()
        if not name.endswith(beside) and name.split(".")[-1] != MARK
    }


def _multiplied(name: str, tensor: Tensor, scale: Tensor) -> Tensor:
    """scale: one for all, or one for each row."""
    if scale.numel() not in (1, tensor.shape[0]):
        raise Unreadable(f"damaged: {name} has {scale.numel()} scales for {tensor.shape[0]} rows")
    return Packed(tuple(tensor.shape), lambda: tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1)))


def _check_recipe(name: str, told: Tensor) -> None:
    try:
        kind = json.loads(bytes(told.flatten().to(torch.uint8).tolist())).get("format")
    except (ValueError, AttributeError, RecursionError):
        kind = "something that makes no sense"
    if kind not in RECIPES:
        raise Unreadable(f"quantised as {kind} ({name}), which is not read here; {' and '.join(RECIPES)} are")


# ---------------------------------------------------------------- GGUF
def _of_gguf(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        contents = gguf.read(file, size)
    raw = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return {contents.named(one.name): _tensor(one, raw[one.begin : one.begin + one.length]) for one in contents.tensors}


@dataclass(frozen=True)
class Blocks:
    """GGUF's numbers of one kind. numbers, length: of a block, and its bytes."""

    kind: str
    numbers: int
    length: int

    def __call__(self, raw: Tensor) -> Tensor:
        """raw: (rows, bytes). -> (rows, numbers)"""
        return UNPACK[self.kind](raw.reshape(-1, self.length)).reshape(len(raw), -1)


def _tensor(one: Stored, raw: Tensor) -> Tensor:
    if one.kind in PLAIN:
        return raw.view(PLAIN[one.kind]).reshape(one.shape)
    blocks = next(Blocks(*kind) for kind in gguf.KINDS.values() if kind[0] == one.kind)
    if one.length and len(one.shape) == 2 and one.shape[1] % blocks.numbers == 0:
        return Packed(one.shape, Rows(blocks, (raw.reshape(one.shape[0], -1),)))
    return Packed(one.shape, lambda: blocks(raw[None]).reshape(one.shape))
