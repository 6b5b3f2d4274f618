"""The copies of models that load fast: where they lie, which still count, and which leave when they take too much of the disk.

One folder for each model and precision. Its table of contents is written last and removed first: what has none is not there.
"""

import json
import logging
import os
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from sd_ui import durable
from sd_ui.engine import sidecar
from sd_ui.engine.device import Place
from sd_ui.engine.sidecar import GoOn, Written
from sd_ui.models import folders, stamps
from sd_ui.models.header import Unreadable
from sd_ui.spec.cards import ModelCard

FORMAT = 1
ABOUT, FILE, FOLDER = "about.json", "model.safetensors", "model"
FAMILIES = ("sd1", "sd2", "sdxl", "sdxl-refiner")  # whose parts are computed in the precisions that `sidecar.CONVERTED` says
SMALL = 256 * 2**20  # bytes; a smaller model loads fast as it is
SPARE = 5 * 2**30  # bytes of the disk that are never taken
ABANDONED = 900  # seconds after which nobody writes to an unfinished copy any more
FAILURES = 2  # of a copy that could not be loaded; it is not made again
log = logging.getLogger(__name__)

Stamp = list[list[str | int]]


@dataclass(frozen=True)
class About:
    """source, stamp: of what it is a copy. files: by their names within the copy."""

    source: str
    stamp: Stamp
    files: dict[str, Written]


@dataclass
class Sidecars:
    """Any thread may use it, and several programs the same folder.

    room: bytes that all copies may take together. least: bytes of a model that is worth a copy. spare: bytes of the disk that stay free.
    """

    folder: Path
    room: int
    least: int = SMALL
    spare: int = SPARE
    _failed: Counter[str] = field(default_factory=Counter)
    _checked: set[str] = field(default_factory=set)

    def find(self, card: ModelCard, place: Place) -> Path | None:
        """The copy of the model as its files are now; a file or a folder, as the model is. It may leave the disk, but never changes."""
        home = self._home(card, place)
        about = home and _about(home)
        if not home or not about or not _whole(home, about):
            return None
        with suppress(OSError):
            os.utime(home / ABOUT)  # tells which was used last
        return home / (FOLDER if card.layout == "folder" else FILE)

    def wanted(self, card: ModelCard, place: Place) -> bool:
        """Whether a copy would be of use and is not there. A graphics card holds weights of its own: there only another precision is worth one."""
        home = self._home(card, place)
        if not home or self._failed[home.name] >= FAILURES or self.find(card, place):
            return False
        try:
            files = dict(_weights(card))
            if sum(file.stat().st_size for file in files) < self.least or not all(map(sidecar.understood, files)):
                return False
            return place.device.type == "cpu" or any(sidecar.differs(file, place.dtype, part) for file, part in files.items())
        except (OSError, Unreadable):  # whoever loads the model will say so
            return False

    def make(self, card: ModelCard, place: Place, go_on: GoOn) -> bool:
        """Writes the copy, where there is room for it. Raises what go_on raises."""
        home, stamp = self._home(card, place), _stamp(card.path.absolute())
        try:
            if not home or not self._has_room(sum(sidecar.size_of(file, place.dtype, part) for file, part in _weights(card))):
                return False
            files = dict(_written(card, place, home, go_on))
            if _stamp(card.path.absolute()) != stamp:
                raise OSError("the model changed meanwhile")
            _announce(home, About(str(card.path.absolute()), stamp, files))
            return True
        except (OSError, Unreadable) as error:
            log.warning("%s: its copy that loads faster could not be written: %s", card.name, error)
            return False
        finally:
            if home and not (home / ABOUT).exists():
                shutil.rmtree(home, ignore_errors=True)

    def check(self, card: ModelCard, place: Place, go_on: GoOn) -> None:
        """Reads every byte of the copy, once in this process: it lies in the system's memory then. A damaged one is removed."""
        home = self._home(card, place)
        about = home and _about(home)
        if not home or not about or home.name in self._checked:
            return
        if all(sidecar.checked(home / name, how, go_on) for name, how in about.files.items()):
            self._checked.add(home.name)
        else:
            log.warning("%s: its copy that loads faster is damaged, and is made anew.", card.name)
            _remove(home)

    def drop(self, card: ModelCard, place: Place) -> None:
        """The copy could not be loaded."""
        if home := self._home(card, place):
            self._failed[home.name] += 1
            _remove(home)

    def sweep(self) -> None:
        """Removes copies of models that are gone or have changed, what writers that died have left, and what there is no room for any more."""
        for home in self._homes():
            about = _about(home)
            gone = about and about.stamp != _stamp(Path(about.source))
            if gone or (not about and _age(home) > ABANDONED):
                _remove(home)
        self._shrink(self.room)

    # ------------------------------------------------------------ folders
    def _home(self, card: ModelCard, place: Place) -> Path | None:
        """None where there can be no copy."""
        if self.room <= 0 or card.family not in FAMILIES or card.layout not in ("file", "folder") or place.dtype not in sidecar.NAMES:
            return None
        if not (stamp := _stamp(card.path.absolute())):
            return None
        said = json.dumps([FORMAT, stamp, place.dtype_name])
        return self.folder / sha256(said.encode()).hexdigest()[:32]

    def _homes(self) -> list[Path]:
        return [home for home in self.folder.iterdir() if home.is_dir()] if self.folder.is_dir() else []

    def _has_room(self, size: int) -> bool:
        """Makes it, if need be: what was used last stays longest."""
        self.sweep()
        self.folder.mkdir(parents=True, exist_ok=True)
        taken, free = sum(map(_size, self._homes())), shutil.disk_usage(self.folder).free - self.spare
        if size > min(self.room, free + taken):
            log.info("No copy that loads faster is written: it would take %d MiB.", size / 2**20)
            return False
        self._shrink(min(self.room, free + taken) - size)
        return True

    def _shrink(self, room: int) -> None:
        """Until all of them together take no more bytes than that. An unfinished one is somebody's who still writes."""
        sizes = {home: _size(home) for home in sorted(self._homes(), key=_used) if (home / ABOUT).exists()}
        taken = sum(sizes.values())
        for home, freed in sizes.items():
            if taken <= room:
                break
            _remove(home)
            taken -= freed


def _weights(card: ModelCard) -> Iterator[tuple[Path, str]]:
    """Its files of weights, each with the folder it lies in, with a slash."""
    for file in folders.used(card.path):
        yield file, f"{file.parent.relative_to(card.path).as_posix()}/" if card.layout == "folder" else ""


def _written(card: ModelCard, place: Place, home: Path, go_on: GoOn) -> Iterator[tuple[str, Written]]:
    for file, part in _weights(card):
        name = f"{FOLDER}/{part}{file.name}" if part else FILE
        yield name, sidecar.write(file, home / name, place.dtype, part, go_on)
    facts = [file for file in stamps.files(card.path) if file.suffix in stamps.FACTS] if card.layout == "folder" else []
    for file in facts:
        name, data = f"{FOLDER}/{file.relative_to(card.path).as_posix()}", file.read_bytes()
        durable.write(home / name, data)
        yield name, Written(len(data), zlib.crc32(data))


def _announce(home: Path, about: About) -> None:
    files = {name: [how.size, how.crc] for name, how in about.files.items()}
    durable.write(home / ABOUT, json.dumps({"source": about.source, "stamp": about.stamp, "files": files}).encode())


def _about(home: Path) -> About | None:
    try:
        told = json.loads((home / ABOUT).read_bytes())
        return About(told["source"], told["stamp"], {name: Written(*how) for name, how in told["files"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _whole(home: Path, about: About) -> bool:
    try:
        return all((home / name).stat().st_size == how.size for name, how in about.files.items())
    except OSError:
        return False


def _remove(home: Path) -> None:
    """Whoever has mapped it keeps it; where the system does not allow that, it stays until the next time."""
    with suppress(OSError):
        (home / ABOUT).unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)


def _stamp(path: Path) -> Stamp:
    """As `stamps.stamp`, and when the system itself last saw a change, which no copying program can set back. [] where there is nothing."""
    try:
        found = ((file, file.stat()) for file in stamps.files(path))
        return [[str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns] for file, status in found]
    except OSError:
        return []


def _size(home: Path) -> int:
    return sum(size for size, _ in _looks(home))


def _age(home: Path) -> float:
    """Seconds since something was last written there."""
    return time.time() - max((changed for _, changed in _looks(home)), default=0.0)


def _looks(home: Path) -> Iterator[tuple[int, float]]:
    """Bytes and time of change of everything in it; what leaves meanwhile is passed over."""
    for file in (home, *home.rglob("*")):
        with suppress(OSError):
            status = file.stat()
            yield (status.st_size if file.is_file() else 0), status.st_mtime


def _used(home: Path) -> float:
    with suppress(OSError):
        return (home / ABOUT).stat().st_mtime
    return 0.0
