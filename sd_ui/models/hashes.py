"""The sha256 of weights, which names a model for good. Kept on the disk; each file is read once, however many ask."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from sd_ui.models.folders import used
from sd_ui.models.kept import Kept
from sd_ui.models.stamps import stamp

CHUNK = 2**20  # bytes between two breaths
SHORT = 10  # characters of A1111's short hash, which Civitai calls AutoV2
SHA256 = re.compile(r"[0-9a-f]{64}")
Wanted = Callable[[], bool]  # whether somebody waits
Breath = Callable[[], None]
Compute = Callable[[Path, Breath], str]


class Hashes:
    """Reads gigabytes the first time it is asked for a file: ask when a model is loaded, never while a page is built.

    folder: where they are kept; None: as long as this object lives. They are kept by path, size and time of change, as good as those are:
    they tell what a picture was made with, and let nobody in.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._whole = _kept(folder and folder / "hashes.jsonl")
        self._tensors = _kept(folder and folder / "tensor_hashes.jsonl")
        self._locks: dict[str, Lock] = {}
        self._waiting: list[str] = []  # a path for each who waits

    def of(self, path: Path) -> str:
        """Of a file: its sha256. Of a model's folder: the sha256 of the list of the weights that are loaded and their sha256.

        Where it is being worked off in the background, that goes on at full speed, and is waited for.
        """
        return self._wanted(self._whole, path, _of_folder if path.is_dir() else _of_file)

    def of_tensors(self, path: Path) -> str:
        """The sha256 of a safetensors file's numbers, without its header: what A1111 and kohya's scripts call the hash of a LoRA."""
        return self._wanted(self._tensors, path, _of_tensors)

    def known(self, path: Path) -> str:
        """`of`, where nothing has to be read for it; else ""."""
        return self._whole.get(path, stamp(path)) or ""

    def known_of_tensors(self, path: Path) -> str:
        """`of_tensors` likewise."""
        return self._tensors.get(path, stamp(path)) or ""

    def work_off(self, path: Path, breath: Callable[[Wanted], None]) -> str:
        """`of`, at leisure. breath: called between two chunks; it must come back at once where somebody waits. What it raises ends the work."""
        return self._asked(self._whole, path, _of_folder if path.is_dir() else _of_file, lambda: breath(lambda: str(path) in self._waiting))

    def work_off_tensors(self, path: Path, breath: Callable[[Wanted], None]) -> str:
        """`of_tensors`, at leisure."""
        return self._asked(self._tensors, path, _of_tensors, lambda: breath(lambda: str(path) in self._waiting))

    def _wanted(self, kept: Kept[str], path: Path, compute: Compute) -> str:
        self._waiting.append(str(path))
        try:
            return self._asked(kept, path, compute, _never)
        finally:
            self._waiting.remove(str(path))

    def _asked(self, kept: Kept[str], path: Path, compute: Compute, breath: Breath) -> str:
        if known := kept.get(path, stamp(path)):
            return known
        with self._locks.setdefault(str(path), Lock()):  # loading and the background would read the same gigabytes at the same time
            now = stamp(path)
            found = kept.get(path, now) or compute(path, breath)
            if now and stamp(path) == now:  # a file that changed meanwhile has another one
                kept.put(path, now, found)
                kept.flush()
        return found


def _kept(file: Path | None) -> Kept[str]:
    return Kept(file, "sha256, 1", str, lambda path, raw: _checked(raw))


def _checked(raw: object) -> str:
    if not isinstance(raw, str) or not SHA256.fullmatch(raw):
        raise ValueError("not a sha256")
    return raw


def _never() -> None:
    """No breath is taken while somebody waits."""


def _of_file(path: Path, breath: Breath, skip: int = 0) -> str:
    digest, chunk = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        file.seek(skip)
        while length := file.readinto(chunk):
            digest.update(chunk[:length])
            breath()
    return digest.hexdigest()


def _of_tensors(path: Path, breath: Breath) -> str:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return _of_file(path, breath, 8 + header)


def _of_folder(path: Path, breath: Breath) -> str:
    listed = hashlib.sha256()
    for file in sorted(used(path)):
        listed.update(f"{file.relative_to(path).as_posix()} {_of_file(file, breath)}\n".encode())
    return listed.hexdigest()
