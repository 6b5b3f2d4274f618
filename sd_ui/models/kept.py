"""What was found out about files, kept on the disk in lines of JSON, and believed only while a file's stamp is the same."""

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from sd_ui import durable
from sd_ui.models.stamps import Stamp

T = TypeVar("T")
LONGEST = 512 * 2**20  # bytes of a file of such lines; a larger one is begun anew
SLACK = 1000  # superseded lines that are not worth a new file
log = logging.getLogger(__name__)


class Kept(Generic[T]):
    """A cache and no more: damaged lines are passed over, a file that cannot be read or written costs time alone, and nothing is safe because
    it stands here. Who loads a model reads its header again.

    file None: in memory only; its folder must be there. made_by: names what made the answers; those of anything else are not believed.
    written, read: from an answer to plain JSON values and back; what read cannot make sense of (ValueError and the like) is forgotten.
    """

    def __init__(self, file: Path | None, made_by: str, written: Callable[[T], Any], read: Callable[[Path, Any], T]) -> None:
        self._file, self._made_by, self._written, self._read = file, made_by, written, read
        self._raw: dict[str, tuple[Stamp, Any]] = {}  # as the file has them; read when they are asked for
        self._known: dict[str, tuple[Stamp, T]] = {}
        self._new: dict[str, None] = {}  # known, and not in the file yet
        self._whole = True  # whether the file can be added to
        self._lock = threading.Lock()  # two threads must not write the same answers, nor one into a file that another replaces
        self._load()

    def get(self, path: Path, stamp: Stamp) -> T | None:
        """None where nothing is known of the file as it is now."""
        key = str(path)
        if (known := self._known.get(key)) and known[0] == stamp:
            return known[1]
        raw = self._raw.pop(key, None)
        if raw is None or raw[0] != stamp or not stamp:
            return None
        try:
            self._known[key] = (stamp, self._read(path, raw[1]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return self._known[key][1]

    def put(self, path: Path, stamp: Stamp, answer: T) -> None:
        """Known from now on; on the disk after `flush`."""
        with self._lock:
            self._known[str(path)] = (stamp, answer)
            self._new[str(path)] = None

    def flush(self) -> None:
        with self._lock:
            if self._file is None or not self._new:
                return
            try:
                self._append(self._file) if self._whole else self._rewrite(self._file)
            except OSError as error:
                log.info("%s could not be written: %s", self._file, error)
                return
            self._new.clear()
            self._whole = True

    # ------------------------------------------------------------ the file
    def _load(self) -> None:
        try:
            if self._file is None or self._file.stat().st_size > LONGEST:
                raise FileNotFoundError
            first, *lines = self._file.read_text("utf-8", "replace").split("\n")
        except OSError:
            self._whole = False
            return
        if first != self._head():
            self._whole = False
            return
        for line in lines:
            self._take(line)
        self._whole = len(lines) <= 2 * len(self._raw) + SLACK

    def _take(self, line: str) -> None:
        """The later line counts. One that was cut off, or makes no sense, is as if it were not there."""
        try:
            path, stamp, answer = json.loads(line)
            self._raw[str(path)] = (tuple((str(name), int(size), int(time)) for name, size, time in stamp), answer)
        except (ValueError, TypeError, RecursionError):
            pass

    def _append(self, file: Path) -> None:
        lines = [json.dumps([key, self._known[key][0], self._written(self._known[key][1])]) for key in self._new]
        with file.open("ab") as out:  # one write, so that another process's lines stay whole; the empty line ends one that was cut off
            out.write(("\n" + "\n".join(lines) + "\n").encode("ascii"))

    def _rewrite(self, file: Path) -> None:
        answers = self._raw | {key: (stamp, self._written(answer)) for key, (stamp, answer) in list(self._known.items())}
        lines = [self._head(), *(json.dumps([key, stamp, answer]) for key, (stamp, answer) in answers.items())]
        file.parent.mkdir(exist_ok=True)
        durable.write(file, ("\n".join(lines) + "\n").encode("ascii"))

    def _head(self) -> str:
        return json.dumps({"made_by": self._made_by})
