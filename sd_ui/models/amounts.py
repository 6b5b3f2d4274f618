"""How large a checkpoint is, from its headers alone: what predicts how long it takes, and how much memory."""

import re
from pathlib import Path

from sd_ui.models import folders, header, published
from sd_ui.models.header import Header

LAYER = re.compile(r"(?:encoder\.layers|resblocks)\.(\d+)\.")


def numbers(path: Path) -> int:
    """Of all its weights together. Raises Unreadable or OSError."""
    return sum(header.read(file).numbers for file in folders.used(path))


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
