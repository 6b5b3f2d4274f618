"""What jobs took, in the database: the newest of each model, so that predictions follow the machine and the table stays small."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sd_ui.forecast.work import Measurement, work_of
from sd_ui.jobs.database import Database
from sd_ui.jobs.queue import Job, now
from sd_ui.spec.codec import dump, load
from sd_ui.spec.measured import Measured

OF_A_MODEL, IN_ALL = 60, 600
NEWEST = "SELECT facts FROM measurement ORDER BY number DESC LIMIT ?"

log = logging.getLogger(__name__)


class Measurements:
    """facts: family and number of weights of a checkpoint, by its name."""

    def __init__(self, database: Database, facts: Callable[[str], tuple[str, int]]) -> None:
        self._database, self._facts = database, facts
        self._known = read_rows(row["facts"] for row in database.read(NEWEST, IN_ALL))

    def known(self) -> tuple[Measurement, ...]:
        """Oldest first. Replaced as a whole, so any thread may read it."""
        return self._known

    def add(self, job: Job, measured: Measured) -> None:
        """Of a job that has ended. Nothing here is worth failing it for."""
        work = replace(work_of(job.request, job.delivery), pictures=measured.pictures)
        try:
            family, numbers = self._facts(work.model)
            one = Measurement(work, measured, family, numbers, now())
            self._put(one)
        except (ValueError, sqlite3.Error) as error:  # a model that went while it was drawn with; a full disk
            log.info("What job %d took was not kept: %s", job.number, error)
            return
        self._known = (*self._known, one)[-IN_ALL:]

    def _put(self, one: Measurement) -> None:
        older = "SELECT number FROM measurement WHERE model = ? ORDER BY number DESC LIMIT -1 OFFSET ?"
        oldest = "SELECT number FROM measurement ORDER BY number DESC LIMIT -1 OFFSET ?"
        with self._database.write() as db:
            values = one.work.model, json.dumps(dump(one)), one.when
            db.execute("INSERT INTO measurement (model, facts, created) VALUES (?, ?, ?)", values)
            db.execute(f"DELETE FROM measurement WHERE number IN ({older})", (one.work.model, OF_A_MODEL))
            db.execute(f"DELETE FROM measurement WHERE number IN ({oldest})", (IN_ALL,))


def read(path: Path) -> tuple[Measurement, ...]:
    """Of a database that another process may be using; nothing where there is none, or none that can be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as there:
            return read_rows(row[0] for row in there.execute(NEWEST, (IN_ALL,)))
    except sqlite3.Error:
        return ()


def read_rows(rows: Iterable[str]) -> tuple[Measurement, ...]:
    """Newest first -> oldest first, without those that another version wrote."""
    found = []
    for row in rows:
        try:
            found.append(load(Measurement, json.loads(row), "measurement"))
        except (ValueError, RecursionError):
            continue
    return tuple(reversed(found))
