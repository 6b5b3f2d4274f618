"""How large a checkpoint is, from its headers alone: what predicts how long it takes, and how much memory."""

import math
import re
from pathlib import Path

from sd_ui.models import folders, gguf, header, published
from sd_ui.models.header import FOUR_BITS, Header, Tensor

LAYER = re.compile(r"(?:encoder\.layers|resblocks)\.(\d+)\.")

BLOCKS = {kind: (count, length) for kind, count, length in gguf.KINDS.values() if count > 1}  # GGUF's: numbers and bytes of each
TABLES = ("shared.weight", "embed_tokens.weight", "token_embedding.weight")  # of words: no layers that multiply
SCALES = 4 / 32  # bytes beside each byte of bitsandbytes' four bits: a number in single precision for 64


def numbers(path: Path) -> int:
    """Of all its weights together. Raises Unreadable or OSError."""
    return sum(header.read(file).numbers for file in folders.used(path))


def stored(path: Path) -> tuple[int, int]:
    """Of a checkpoint of a family of ours: bytes of the matrices that GGUF or bitsandbytes packs, which stay packed in memory; and how many numbers
    the rest has. Raises Unreadable or OSError.
    """
    found = [_stored(header.read(file)) for file in folders.used(path)]
    return sum(packed for packed, _ in found), sum(rest for _, rest in found)


def in_memory(found: Header, itemsize: int) -> int:
    """Bytes, where what is packed stays packed, and every other number takes so many."""
    packed, rest = _stored(found)
    return packed + rest * itemsize


def _stored(found: Header) -> tuple[int, int]:
    four = {name.partition(FOUR_BITS)[0] for name in found.tensors if FOUR_BITS in name}
    packed = {name: size for name, tensor in found.tensors.items() if (size := _packed(name, tensor, four))}
    return sum(packed.values()), sum(math.prod(tensor.shape) for name, tensor in found.tensors.items() if name not in packed)


def _packed(name: str, tensor: Tensor, four: set[str]) -> int:
    """Bytes; 0 where it does not stay packed. four: names of what bitsandbytes packed into four bits."""
    count, (block, length) = math.prod(tensor.shape), BLOCKS.get(tensor.dtype, (0, 0))
    if name in four:
        return int(count * (1 + SCALES))
    if tensor.dtype == "I8":
        return count
    stays = block and len(tensor.shape) == 2 and tensor.shape[1] % block == 0 and not name.endswith(TABLES)
    return count // block * length if stays else 0


def text_layers(path: Path) -> int:
    """What clip skip can count back: layers of the text encoder that has the fewest; 0 where that cannot be told. Raises Unreadable or OSError."""
    found = _of_folder(path) if path.is_dir() else _of_file(header.read(path))
    return min(found, default=0)


def _of_folder(path: Path) -> list[int]:
    said = [folders.config(path / part / folders.CONFIG).get("num_hidden_layers") for part, _ in folders.texts(path)]
    return [layers for layers in said if type(layers) is int and layers > 0]


def _of_file(found: Header) -> list[int]:
    counts = []
    for text in published.of(found).texts:
        numbered = [int(match[1]) for name in found.tensors if name.startswith(text.prefix) and (match := LAYER.search(name))]
        counts.append(max(numbered, default=-1) + 1)
    return [count for count in counts if count]
