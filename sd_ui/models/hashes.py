"""The sha256 of weights, which names a model for good."""

import hashlib
from pathlib import Path

from sd_ui.models.folders import used
from sd_ui.models.stamps import Remembered


class Hashes:
    """Reads gigabytes the first time it is asked for a file: ask when a model is loaded, never while a page is built."""

    def __init__(self) -> None:
        self._remembered = Remembered()

    def of(self, path: Path) -> str:
        """Of a file: its sha256. Of a model's folder: the sha256 of the list of the weights that are loaded and their sha256."""
        return self._remembered.ask(_of_folder if path.is_dir() else _of_file, path)

    def of_tensors(self, path: Path) -> str:
        """The sha256 of a safetensors file's numbers, without its header: what A1111 and kohya's scripts call the hash of a LoRA."""
        return self._remembered.ask(_of_tensors, path)


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_tensors(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_folder(path: Path) -> str:
    listed = hashlib.sha256()
    for file in sorted(used(path)):
        listed.update(f"{file.relative_to(path).as_posix()} {_of_file(file)}\n".encode())
    return listed.hexdigest()
