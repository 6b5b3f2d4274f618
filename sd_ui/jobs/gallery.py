"""The pictures that were made: a row for each, and its file under outputs."""

import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sd_ui.jobs.database import Database
from sd_ui.jobs.queue import Job, now


@dataclass(frozen=True)
class Picture:
    """id: 128 bits, not to be guessed. index: from 0, among the pictures of its job. path: relative to outputs, with slashes.

    pixels: sha256 of the RGB bytes, row by row. created: UTC, ISO 8601.
    """

    id: str
    job: str
    owner: str
    index: int
    seed: int
    path: str
    width: int
    height: int
    pixels: str
    created: str


class Gallery:
    """A picture whose file is gone, deleted here or by hand, is gone; its row stays, so that an unfinished job does not draw it again."""

    def __init__(self, db: Database, outputs: Path) -> None:
        self._db, self._outputs = db, outputs

    def add(self, job: Job, index: int, seed: int, path: Path, width: int, height: int, pixels: str) -> Picture:
        """path: of a file that is there already. Raises sqlite3.IntegrityError when the job has a picture of this index."""
        relative = path.relative_to(self._outputs).as_posix()
        picture = Picture(secrets.token_hex(16), job.id, job.owner, index, seed, relative, width, height, pixels, now())
        with self._db.write() as db:
            db.execute(
                'INSERT INTO picture (id, job, owner, "index", seed, path, width, height, pixels, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
                (picture.id, job.id, job.owner, index, str(seed), relative, width, height, pixels, picture.created),
            )
        return picture

    def pictures(self, owner: str, limit: int = 100, before: str | None = None) -> list[Picture]:
        """The newest first. before: the id of the last picture of the page above."""
        found: list[Picture] = []
        below = self._number(before, owner)
        while len(found) < limit:
            rows = self._db.read(
                "SELECT * FROM picture WHERE owner = ? AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?", owner, below, below, limit
            )
            found += self._there(rows)
            if len(rows) < limit:
                break
            below = rows[-1]["number"]
        return found[:limit]

    def get(self, id: str, owner: str) -> Picture | None:
        return next(iter(self._there(self._db.read("SELECT * FROM picture WHERE id = ? AND owner = ?", id, owner))), None)

    def of_job(self, job_id: str, owner: str | None = None) -> list[Picture]:
        """By index. owner None: whoever owns it, for our own use."""
        return self._there(self._db.read('SELECT * FROM picture WHERE job = ? AND (? IS NULL OR owner = ?) ORDER BY "index"', job_id, owner, owner))

    def made(self, job_id: str, index: int) -> Picture | None:
        """Whether its file is still there or not."""
        rows = self._db.read('SELECT * FROM picture WHERE job = ? AND "index" = ?', job_id, index)
        return picture_of(rows[0]) if rows else None

    def delete(self, id: str, owner: str) -> bool:
        """Whether there was such a picture."""
        picture = self.get(id, owner)
        if picture is not None:
            self.file(picture).unlink(missing_ok=True)
        return picture is not None

    def file(self, picture: Picture) -> Path:
        return self._outputs / picture.path

    def _there(self, rows: list[sqlite3.Row]) -> list[Picture]:
        return [picture for picture in map(picture_of, rows) if self.file(picture).is_file()]

    def _number(self, id: str | None, owner: str) -> int | None:
        if id is None:
            return None
        rows = self._db.read("SELECT number FROM picture WHERE id = ? AND owner = ?", id, owner)
        return int(rows[0]["number"]) if rows else 0  # an unknown picture has nothing below it


def picture_of(row: sqlite3.Row) -> Picture:
    return Picture(
        id=row["id"],
        job=row["job"],
        owner=row["owner"],
        index=row["index"],
        seed=int(row["seed"]),
        path=row["path"],
        width=row["width"],
        height=row["height"],
        pixels=row["pixels"],
        created=row["created"],
    )
