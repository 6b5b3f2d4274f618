"""Lists of tags that models were trained with, for completing a word, in the form of a1111-tagcomplete: name,type,count,"aliases"."""

import csv
import io
import logging
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from threading import Lock

LARGEST = 50_000_000  # bytes of a file
SHORTEST_INSIDE = 3  # characters from which on the middle of a word is looked at, too
WORDS = str.maketrans(dict.fromkeys(" (-/:", "_"))  # what stands before a word: people write spaces where lists have underscores
BETWEEN = "\x1f"  # names of one tag; it stands in none, being a space to Python
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tag:
    """count: how often it was used, 0 where nobody says. alias: the other name by which it was found, "" for its own."""

    name: str
    count: int = 0
    alias: str = ""


Row = tuple[Tag, tuple[str, ...]]  # with its other names


@dataclass(frozen=True)
class TagList:
    """Hundreds of thousands of tags, the most used first, searched in milliseconds in little memory.

    lines: of each tag all names, with BETWEEN between them. counts: of each. text: the same lines as they are compared, "_" before each name and
    BETWEEN around it. starts: where its lines begin.
    """

    lines: tuple[str, ...] = ()
    counts: Sequence[int] = ()
    text: str = ""
    starts: Sequence[int] = ()

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "TagList":
        once = {row[0].name: row for row in rows}  # of a name that several files have, the last one counts
        ordered = sorted(once.values(), key=lambda row: -row[0].count)
        lines = tuple(BETWEEN.join((tag.name, *aliases)) for tag, aliases in ordered)
        folded_ = [f"{BETWEEN}_{folded(line).replace(BETWEEN, BETWEEN + '_')}{BETWEEN}\n" for line in lines]
        starts = array("q", accumulate(map(len, folded_), initial=0))
        return cls(lines, array("q", (tag.count for tag, _ in ordered)), "".join(folded_), starts[:-1])

    def found(self, asked: str, limit: int) -> tuple[Tag, ...]:
        """Those of this very name first, then those with a word that begins so, then those that have it anywhere; each by how much it is used."""
        needle = folded(asked)
        if not needle.strip("_"):
            return ()
        found = dict.fromkeys(islice(self._with(f"{BETWEEN}_{needle}{BETWEEN}"), 1))
        for row in chain(self._with("_" + needle), self._with(needle) if len(needle) >= SHORTEST_INSIDE else ()):
            if len(found) >= limit:
                break
            found.setdefault(row)
        return tuple(self._named(row, needle) for row in found)

    def _with(self, needle: str) -> Iterator[int]:
        """Each line that has it, once, from the first on."""
        place = self.text.find(needle)
        while place >= 0:
            row = bisect_right(self.starts, place) - 1
            yield row
            if row + 1 == len(self.starts):
                return
            place = self.text.find(needle, self.starts[row + 1])

    def _named(self, row: int, needle: str) -> Tag:
        name, *aliases = self.lines[row].split(BETWEEN)
        other = "" if needle in folded(name) else next((alias for alias in aliases if needle in folded(alias)), "")
        return Tag(name, self.counts[row], other)


class TagFiles:
    """Files of tags; each is read when it is first needed, and again when it has changed."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._paths = tuple(paths)
        self._lock = Lock()  # of several people who write, one has the files read
        self._stamp: tuple[object, ...] = ()
        self._list = TagList()

    def now(self) -> TagList:
        """Whoever asks while another's question has the files read gets what there was before."""
        stamp = tuple(map(_stamp, self._paths))
        if stamp != self._stamp and self._lock.acquire(blocking=False):
            try:
                self._list, self._stamp = TagList.of(row for path in self._paths for row in rows(path)), stamp
            finally:
                self._lock.release()
        return self._list


def rows(path: Path) -> list[Row]:
    """None of a file that cannot be read; the log says why."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        return [row for cells in csv.reader(io.StringIO(text, newline="")) if (row := _row(cells))]
    except (OSError, ValueError, csv.Error) as error:
        log.warning("%s is not used: %s", path.name, error)
        return []


def folded(name: str) -> str:
    """As it is compared."""
    return name.casefold().translate(WORDS)


def _row(cells: list[str]) -> Row | None:
    """name, type, count, aliases; all but the name may be missing, and a type without a count is a count."""
    name, *more = (" ".join(cell.split()) for cell in cells or [""])
    if not name or name == "name":
        return None
    numbers = [int(cell) for cell in more[:2] if cell.isdecimal() and len(cell) < 12]
    aliases = tuple(alias for part in more[2:] for one in part.split(",") if (alias := one.strip()))
    return Tag(name, numbers[-1] if numbers else 0), aliases


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
