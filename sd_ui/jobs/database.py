"""The one database file of an outputs folder: its connection, its lock, and what happens when it is damaged."""

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from sd_ui.jobs.lock import FolderLock
from sd_ui.jobs.salvage import salvage
from sd_ui.jobs.schema import migrate

NUMBERED = re.compile(r"(\d{6,12})-\d+.*\.(png|jpg|webp)")  # the names that `keep` gives
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

log = logging.getLogger(__name__)


class Database:
    """One connection for all threads, and `lock`, so that no thread reads in the middle of another's transaction.

    Every write is durable when it returns (WAL with synchronous FULL). Raises FolderInUse when another process has the folder.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = RLock()
        self._folder_lock = FolderLock(path.with_suffix(".lock"))
        try:
            self._connection = opened(path)
        except BaseException:
            self._folder_lock.close()
            raise

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self.lock:
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: whole and durable at the end of the block, or nothing of it."""
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            self._connection.close()
            self._folder_lock.close()


def opened(path: Path) -> sqlite3.Connection:
    """The database, checked and of the newest schema. A damaged one is moved aside, never deleted, and what is readable of it is taken over."""
    try:
        connection, aside = _checked(path), None
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise  # locked, unreadable, no space: another file would not help
        aside = moved_aside(path)
        log.warning("%s is damaged (%s). It was moved to %s, and a new one begins.", path, error, aside)
        connection = _checked(path)
    migrate(connection)
    if aside:
        saved = salvage(aside, connection)
        log.warning("%d jobs and %d pictures were taken over from %s.", saved["job"], saved["picture"], aside.name)
    if aside or not connection.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'job'").fetchone():
        _go_on_counting(connection, path.parent)
    return connection


def is_damage(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    """Python cannot even read SQLite's message where it quotes damaged text."""
    return isinstance(error, UnicodeDecodeError) or (error.sqlite_errorcode & 0xFF) in DAMAGED


def text(data: bytes) -> str:
    """A text that is damaged makes its own row unusable, not all of them."""
    return data.decode("utf-8", "replace")


def moved_aside(path: Path) -> Path:
    """The database and its log files under another name, for whoever wants to save something from them."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    for end in ("-wal", "-shm", ""):
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(aside.with_name(aside.name + end))
    return aside


def _checked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
    try:
        connection.row_factory, connection.text_factory = sqlite3.Row, text
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # not the quick check: it does not compare indexes with their tables, so a job could be there and never be found
        if (found := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise _damage(found)
    except BaseException:
        connection.close()
        raise
    return connection


def _damage(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _go_on_counting(connection: sqlite3.Connection, outputs: Path) -> None:
    """A new database beside old pictures numbers its jobs after theirs, so that a number means one job for ever."""
    names = (NUMBERED.fullmatch(path.name) for path in outputs.glob("????-??-??/*"))
    counted = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'job'").fetchone()
    highest = max((int(name[1]) for name in names if name), default=0)
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'job'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('job', ?)", (max(highest, counted["seq"] if counted else 0),))
