"""The files that wildcards are read from: a line for each choice."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 10_000_000  # bytes of a file


@dataclass(frozen=True)
class WildcardFiles:
    """Text files in folders, a line for each choice. A file's name is its path without .txt; the last folder with a name wins."""

    folders: tuple[Path, ...]

    def names(self) -> tuple[str, ...]:
        return self.now().names()

    def lines(self, name: str) -> tuple[str, ...]:
        return self.now().lines(name)

    def now(self) -> "Lists":
        """As they are at this moment: the folders are walked once."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for place, _, files in os.walk(folder):
                paths = (Path(place) / file for file in files if file.lower().endswith(".txt"))
                found |= {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
        return Lists(dict(sorted(found.items())))


@dataclass(frozen=True)
class Lists:
    """Each file is read once, when it is first asked for."""

    paths: Mapping[str, Path]
    _read: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        return tuple(self.paths)

    def lines(self, name: str) -> tuple[str, ...]:
        """Without empty lines and comments. Raises OSError where a file cannot be read."""
        if name not in self._read:
            with self.paths[name].open(encoding="utf-8-sig", errors="replace") as file:
                lines = (line.partition("#")[0].strip() for line in file.read(LARGEST).splitlines())
                self._read[name] = tuple(line for line in lines if line)
        return self._read[name]
