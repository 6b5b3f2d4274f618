"""What stands at the head of a GGUF file: facts, and names, types and shapes of tensors. Read with struct; nothing is executed, no package needed.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sd_ui.models.header import Header, Tensor, Unreadable

MAGIC = b"GGUF"
LONGEST = 64 * 2**20  # bytes before the weights; text encoders bring their vocabulary
MOST_TENSORS, MOST_FACTS, MOST_DIMENSIONS, DEEPEST = 100_000, 100_000, 8, 4
ALIGNMENT, ARCHITECTURE, ORIGINAL_SHAPE = "general.alignment", "general.architecture", "comfy.gguf.orig_shape."
UNET = "model.diffusion_model."  # before a denoiser's names in whole checkpoints; files with a denoiser alone leave it out
DENOISERS = ("flux", "sd1", "sdxl", "sd3", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2", "qwen_image")  # as converters name them
T5 = ("t5", "t5encoder")  # named as llama.cpp names text models
T5_NAMES = {
    "token_embd": "shared", "enc.output_norm": "encoder.final_layer_norm", "attn_norm": "layer.0.layer_norm", "ffn_norm": "layer.1.layer_norm",
    "attn_q": "layer.0.SelfAttention.q", "attn_k": "layer.0.SelfAttention.k", "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o", "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "ffn_gate": "layer.1.DenseReluDense.wi_0", "ffn_up": "layer.1.DenseReluDense.wi_1", "ffn_down": "layer.1.DenseReluDense.wo",
}  # fmt: skip
T5_BLOCK = re.compile(r"enc\.blk\.(\d{1,3})\.(\w+)")
KINDS = {  # number in the file: name, numbers in a block, bytes of a block
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
}  # fmt: skip
UNPACKED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")  # by engine/blocks.py
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class Stored:
    """One tensor. shape: as torch counts. begin, length: bytes in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    length: int


@dataclass(frozen=True)
class Contents:
    """facts: what the file says of itself; of long lists only that they are there."""

    facts: dict[str, Any]
    tensors: tuple[Stored, ...]

    @property
    def header(self) -> Header:
        """As of a safetensors file. A denoiser alone gets the names that it has in a whole checkpoint."""
        facts = {name: str(value) for name, value in self.facts.items() if isinstance(value, str | int | float)}
        return Header({self.named(one.name): Tensor(one.kind, one.shape) for one in self.tensors}, facts)

    def named(self, name: str) -> str:
        """What the tensor is called in files of other kinds."""
        if self.facts.get(ARCHITECTURE) in T5:
            return _named_t5(name)
        return UNET + name if self.alone and not name.startswith(UNET) else name

    @property
    def alone(self) -> bool:
        return self.facts.get(ARCHITECTURE) in DENOISERS and not any(one.name.startswith(("first_stage_model.", "cond_stage_model.", "conditioner."))
                                                                     for one in self.tensors)  # fmt: skip


def is_one(path: Path) -> bool:
    """By its first bytes, whatever it is called. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(file: BinaryIO, size: int) -> Contents:
    """file: at its beginning. size: bytes that the whole has. Raises Unreadable."""
    reader = _Reader(file.read(min(size, LONGEST)))
    if reader.take(4) != MAGIC or reader.number("<I") not in (2, 3):
        raise Unreadable("a GGUF file of a version that is not read here (2 and 3 are)")
    tensors, facts = reader.number("<Q"), reader.number("<Q")
    if not 0 < tensors <= MOST_TENSORS or facts > MOST_FACTS:
        raise Unreadable(f"a GGUF file, and damaged: its header claims {tensors} tensors and {facts} facts")
    known = {reader.text(): reader.value(reader.number("<I")) for _ in range(facts)}
    told = [_told(reader) for _ in range(tensors)]
    step = known.get(ALIGNMENT, 32)
    if type(step) is not int or not 0 < step <= 2**16:
        raise Unreadable("damaged: its alignment makes no sense")
    start = -(-reader.place // step) * step
    found = tuple(sorted((_stored(entry, start, known) for entry in told), key=lambda one: one.begin))
    _check(found, size)
    return Contents(known, found)


def _named_t5(name: str) -> str:
    stem, _, last = name.rpartition(".")
    block = T5_BLOCK.fullmatch(stem)
    if block and block[2] in T5_NAMES:
        return f"encoder.block.{block[1]}.{T5_NAMES[block[2]]}.{last}"
    return f"{T5_NAMES[stem]}.{last}" if stem in T5_NAMES else name


def _told(reader: "_Reader") -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape as torch counts, number of the kind, and the place among the weights."""
    name, count = reader.text(), reader.number("<I")
    if count > MOST_DIMENSIONS:
        raise Unreadable(f"damaged: {name[:80]!r} has {count} dimensions")
    shape = tuple(reversed([reader.number("<Q") for _ in range(count)]))
    return name, shape, reader.number("<I"), reader.number("<Q")


def _stored(entry: tuple[str, tuple[int, ...], int, int], start: int, facts: dict[str, Any]) -> Stored:
    name, shape, number, offset = entry
    kind = KINDS.get(number)
    if kind is None:
        raise Unreadable(f"a GGUF file with numbers of a kind that is not known here ({number}, in {name[:80]!r})")
    word, numbers, length = kind
    if numbers > 1 and word not in UNPACKED:
        raise Unreadable(f"a GGUF file with numbers in {word}, which is not read here ({', '.join(UNPACKED)} are)")
    count = math.prod(shape)
    if count % numbers:
        raise Unreadable(f"damaged: {name[:80]!r} does not fill its blocks of {numbers} numbers")
    original = _shape(facts.get(ORIGINAL_SHAPE + name))
    if original and math.prod(original) == count:  # its rows did not fill blocks, so it was laid out anew
        shape = original
    return Stored(name, word, shape, start + offset, count // numbers * length)


def _shape(told: Any) -> tuple[int, ...]:
    """() for what is none."""
    return tuple(told) if isinstance(told, list) and all(type(side) is int and side > 0 for side in told) else ()


def _check(found: tuple[Stored, ...], size: int) -> None:
    end = 0
    for one in found:
        if one.begin < end:
            raise Unreadable(f"damaged: {one.name[:80]!r} begins within the tensor before it")
        end = one.begin + one.length
    if end > size:
        raise Unreadable(f"damaged: its tensors need {end} bytes, there are {size} (an interrupted download?)")
    if len({one.name for one in found}) < len(found):
        raise Unreadable("damaged: two tensors have the same name")


class _Reader:
    """Takes values from the head of a file, one after the other. Raises Unreadable at its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def take(self, count: int) -> bytes:
        taken = self._data[self.place : self.place + count]
        if len(taken) < count:
            raise Unreadable("damaged: its header is cut off")
        self.place += count
        return taken

    def number(self, kind: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """Of a list that is longer than a shape, None: nobody here asks for a vocabulary."""
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY or depth > DEEPEST:
            raise Unreadable(f"damaged: its header has a value of the unknown kind {kind}")
        return self._list(self.number("<I"), self.number("<Q"), depth)

    def _list(self, kind: int, count: int, depth: int) -> Any:
        if kind in SCALARS and count > MOST_DIMENSIONS:
            self.take(count * struct.calcsize(SCALARS[kind]))
            return None
        values = self._values(kind, count, depth)
        return list(values) if count <= MOST_DIMENSIONS else sum(1 for _ in values) and None

    def _values(self, kind: int, count: int, depth: int) -> Iterator[Any]:
        return (self.value(kind, depth + 1) for _ in range(count))
