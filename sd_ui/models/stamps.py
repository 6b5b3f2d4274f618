"""Whether something on the disk is still what it was: by path, size and time of change, without reading it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Stamp = tuple[tuple[str, int, int], ...]
WEIGHTS, FACTS, CONFIG = ".safetensors", (".json", ".txt"), ".yaml"


def stamp(path: Path) -> Stamp:
    """Of a file with the config beside it, or of all weights and configs in a model's folder. () where there is nothing."""
    try:
        return tuple((str(file), status.st_size, status.st_mtime_ns) for file in files(path) for status in (file.stat(),))
    except OSError:  # gone between the listing and the look
        return ()


def files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in (*path.glob("*"), *path.glob("*/*")) if file.suffix in (WEIGHTS, *FACTS) and file.is_file())
    beside = path.with_suffix(CONFIG)  # may say what is in the file, and come later
    return [path, beside] if beside.is_file() else [path]


class Remembered:
    """Answers of functions of a path, kept for as long as the path's stamp stays the same."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Callable[[Path], Any], Path], tuple[Stamp, Any]] = {}

    def ask(self, function: Callable[[Path], T], path: Path) -> T:
        now = stamp(path)
        kept = self._answers.get((function, path))
        if kept is None or kept[0] != now:
            kept = self._answers[function, path] = (now, function(path))
        answer: T = kept[1]
        return answer
