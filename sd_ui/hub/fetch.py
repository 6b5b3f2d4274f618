"""One plan onto the disk: every byte counted and hashed, what is there kept for the next time, and the model in its place at the very end."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from sd_ui import durable
from sd_ui.hub.hub import CHUNK, Cut, Hub, RemoteFile
from sd_ui.hub.names import safe
from sd_ui.hub.plan import Plan
from sd_ui.models import folders, layouts
from sd_ui.spec.codec import dump, load
from sd_ui.spec.errors import BadRequest

STAGING = ".downloads"  # in the models folder, so that a rename suffices; the scan passes over names with a dot
PLAN = "plan.json"
MARGIN = 1_000_000_000  # bytes that are left free for everything else on the disk
TRIES = 5  # in a row without a new byte
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))

Told = Callable[[int], None]  # how many bytes are new; negative where some have to come again


class Stopped(Exception):
    """Somebody wants no more of it for now."""


def free_bytes(folder: Path) -> int:
    """On the disk where the folder is, or would be."""
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def folder_of(models_dirs: tuple[Path, ...]) -> Path:
    """Where fetched models go: the first folder of models that is not a model itself; the usual one where none is named."""
    named = models_dirs or (Path("models"),)
    return next((folder for folder in layouts.of_programs(named) if not folders.is_model(folder)), named[0])


@dataclass(frozen=True)
class Fetcher:
    """models: the folder where models go. free: how many bytes its disk has left. pause: seconds after a broken connection, times the tries."""

    hub: Hub
    models: Path
    free: Callable[[Path], int] = free_bytes
    pause: float = 1.0

    def check(self, plan: Plan) -> None:
        """Raises BadRequest("hub") where it is there already, or does not fit."""
        target = self.target(plan)
        taken = target if target.exists() else target.parent if plan.layout == "file" and folders.is_model(target.parent) else None
        if taken is not None:
            raise BadRequest("hub", f"{taken.relative_to(self.models)} is in the models folder already; move it away to fetch {plan.name} anew")
        needed, free = plan.size - self.present(plan), self.free(self.models)
        if needed + MARGIN > free:
            raise BadRequest(
                "hub", f"{plan.name} needs {size(needed)}, and {size(MARGIN)} to spare; the disk of the models folder has {size(free)} left"
            )

    def fetch(self, plan: Plan, told: Told, stopping: Event) -> Path:
        """The model's place, once all of it is there. Raises BadRequest("hub"), Stopped, OSError; what has come stays for the next time."""
        self.check(plan)
        staging, target = self._files(plan), self.target(plan)
        self._keep_only(self._begun(plan), plan)
        durable.write(staging.parent / PLAN, json.dumps(dump(plan)).encode())
        try:
            for file in plan.files:
                self._file(plan, file, staging / file.name, told, stopping)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(staging if plan.layout == "folder" else staging / plan.files[0].name, target)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise BadRequest("hub", "the disk of the models folder is full; make room, and it goes on from here") from error
        self.discard(plan)
        return target

    def present(self, plan: Plan) -> int:
        """Bytes that an earlier try has left, of files that are still the same ones."""
        return sum(_length(path) for file in self._begun(plan) for path in _places(self._files(plan) / file.name))

    def discard(self, plan: Plan) -> None:
        shutil.rmtree(self._files(plan).parent, ignore_errors=True)

    def target(self, plan: Plan) -> Path:
        return self.models.joinpath(*plan.name.split("/"))

    def _files(self, plan: Plan) -> Path:
        return self.models / STAGING / plan.key / "files"

    def unfinished(self) -> list[Plan]:
        """What earlier tries have left, of this program's earlier lives too."""
        found = []
        for path in sorted((self.models / STAGING).glob(f"*/{PLAN}")):
            with suppress(OSError, ValueError, RecursionError):  # damaged: fetching it again begins anew
                plan: Plan = load(Plan, json.loads(path.read_bytes()), "plan")
                if plan.key == path.parent.name and all(safe(file.name) for file in plan.files):
                    found.append(plan)
        return found

    def _begun(self, plan: Plan) -> list[RemoteFile]:
        """Files of the plan that an earlier try wanted, too. The repository may have changed since: a name and a size alone say nothing."""
        before = next((one for one in self.unfinished() if one.key == plan.key), None)
        return [file for file in plan.files if before and file in before.files]

    def _keep_only(self, begun: list[RemoteFile], plan: Plan) -> None:
        for file in plan.files:
            for path in _places(self._files(plan) / file.name) if file not in begun else ():
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------ one file
    def _file(self, plan: Plan, file: RemoteFile, path: Path, told: Told, stopping: Event) -> None:
        if path.is_file() and _length(path) == file.size:  # it has its name only since its hash was right
            return
        digest, part, tries = _Digest(file), _part(path), 0
        _take_up(part, digest, told)
        while digest.size < file.size:
            before, why = digest.size, "the connection ended early"
            try:
                self._append(plan, file, part, digest, told, stopping)
            except Cut as error:
                why = str(error)
            tries = 1 if digest.size > before else tries + 1
            if digest.size < file.size:
                self._wait(tries, why, stopping)
        if not digest.right:
            part.unlink()
            told(-file.size)
            raise BadRequest("hub", f"{file.name} came damaged: its hash is not the one that {self.hub.host} says. It was deleted; try again")
        os.replace(part, path)

    def _wait(self, tries: int, why: str, stopping: Event) -> None:
        if tries > TRIES:
            raise BadRequest("hub", f"{self.hub.host} cannot be reached any more ({why}); what has come is kept, and it goes on from there")
        if stopping.wait(self.pause * tries):
            raise Stopped

    def _append(self, plan: Plan, file: RemoteFile, part: Path, digest: "_Digest", told: Told, stopping: Event) -> None:
        """As much as comes. Raises Cut, Stopped, BadRequest."""
        begin, chunks = self.hub.stream(plan.repository, file, digest.size)
        with closing(chunks), part.open("ab") as out:
            if begin < digest.size:  # a server that knows no parts sends everything again
                told(-digest.size)
                out.truncate(0)
                digest.restart()
            for chunk in chunks:
                if stopping.is_set():
                    raise Stopped
                chunk = chunk[: file.size - digest.size]  # what is beyond the end cannot be right, and need not be kept to be found wrong
                out.write(chunk)
                digest.update(chunk)
                told(len(chunk))


class _Digest:
    """The hash that the hub names a file by, and how many bytes have gone into it."""

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.restart()

    def restart(self) -> None:
        self._hash = hashlib.sha256() if self.file.sha256 else hashlib.sha1(f"blob {self.file.size}\0".encode(), usedforsecurity=False)
        self.size = 0

    def update(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def right(self) -> bool:
        return self._hash.hexdigest() == (self.file.sha256 or self.file.blob)


def _take_up(part: Path, digest: _Digest, told: Told) -> None:
    """Hashes what an earlier try has left."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    if (left := part.stat().st_size) > digest.file.size:
        told(-left)
        part.write_bytes(b"")
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _places(path: Path) -> tuple[Path, Path]:
    """Of a file that has come, and of one that is on its way."""
    return path, _part(path)


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def size(count: int) -> str:
    """Bytes, as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
