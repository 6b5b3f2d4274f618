"""Walks the models folders: which files and folders may be models, and what they are called. It does not look into them."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sd_ui.models import folders, layouts, mistaken

SUFFIXES = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
DEEPEST = 8
OUTSIDE = "is a link that leads out of the models folders; give its folder as a models folder of its own, or copy the file"
BROKEN = "is a link that leads nowhere"


@dataclass(frozen=True)
class Candidate:
    """name: relative to its folder, without the suffix. fault: why it is not even looked into."""

    name: str
    path: Path
    fault: str = ""


def candidates(roots: Sequence[Path]) -> Iterator[Candidate]:
    """In the order of roots, then of names. What is reached a second time, by a link or by nested roots, is left out."""
    roots = layouts.of_programs(roots)
    real_roots = [root.resolve() for root in roots]
    seen: set[Path] = set()
    for root in roots:
        if folders.is_model(root):
            yield Candidate(_name(Path(root.resolve().name)), root, OUTSIDE if _leaks(root, real_roots) else "")
            continue
        for path, fault in _walk(root, real_roots, seen, DEEPEST):
            yield Candidate(_name(path.relative_to(root)), path, fault)


def _walk(folder: Path, roots: Sequence[Path], seen: set[Path], depth: int) -> Iterator[tuple[Path, str]]:
    entries = _entries(folder)
    names = {path.name for path in entries}
    for path in entries:
        fault = _link_fault(path, roots)
        if fault:
            if path.suffix.lower() in SUFFIXES or path.suffix == "":
                yield path, fault
            continue
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        if path.is_file():
            if path.suffix.lower() in SUFFIXES:
                yield path, mistaken.arriving(path, names)
        elif folders.is_model(path):
            yield path, OUTSIDE if _leaks(path, roots) else mistaken.arriving(path, names)
        elif depth > 1 and path.name.casefold() not in layouts.NO_MODELS:
            yield from _walk(path, roots, seen, depth - 1)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted((Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda path: path.name.casefold())
    except OSError:  # a folder that may not be read, or is gone, holds no models
        return []


def _link_fault(path: Path, roots: Sequence[Path]) -> str:
    if not path.is_symlink():
        return ""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop
        return BROKEN
    return "" if any(real.is_relative_to(root) for root in roots) else OUTSIDE


def _leaks(folder: Path, roots: Sequence[Path]) -> bool:
    return any(_link_fault(path, roots) for path in (*folder.glob("*"), *folder.glob("*/*")))


def _name(relative: Path) -> str:
    """Safe to show and to write down: NFC, and nothing that turns, hides or breaks text."""
    parts = [*relative.parent.parts, relative.stem if relative.suffix.lower() in SUFFIXES else relative.name]
    text = unicodedata.normalize("NFC", "/".join(layouts.named(parts)))
    return "".join(c if c.isprintable() or c == "\u200d" else "_" for c in text)
