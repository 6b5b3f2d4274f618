"""Jobs in the database: a job is in exactly one state, a crash loses none of them, and each owner sees only their own."""

import json
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Condition

from sd_ui.jobs.database import Database
from sd_ui.spec.codec import dump, load
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest

WAITING, RUNNING, DONE, FAILED, CANCELLED = STATES = ("waiting", "running", "done", "failed", "cancelled")
JOB = 'SELECT job.*, (SELECT group_concat("index") FROM picture WHERE picture.job = job.id) AS done FROM job'
UPCOMING_THEN_NEWEST = "ORDER BY state = 'running' DESC, state = 'waiting' DESC, CASE state WHEN 'waiting' THEN place ELSE -number END"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """id: 128 bits, not to be guessed. number: counts up, names the files. done: indexes of the pictures that are kept already.

    note: why it failed, or what the user should know. created: UTC, ISO 8601. attempts: how often it was begun.
    """

    id: str
    number: int
    owner: str
    request: GenerationRequest
    delivery: Delivery
    state: str
    note: str
    created: str
    done: frozenset[int] = frozenset()
    attempts: int = 0


class Queue:
    """attempts: how often a job may take the process down with it. per_owner, in_all: how many jobs may wait."""

    def __init__(self, db: Database, attempts: int = 3, per_owner: int = 50, in_all: int = 500) -> None:
        self._db, self._attempts, self._per_owner, self._in_all = db, attempts, per_owner, in_all
        self._changed = Condition(db.lock)
        self._woken = False
        self._listeners: list[Callable[[str, str], None]] = []
        self.changes = 0  # how often it may have changed which job comes next
        self.interrupted = self._recover()

    def submit(self, request: GenerationRequest, owner: str, delivery: Delivery = Delivery(), key: str = "") -> Job:
        """From here on a power cut loses nothing. The same key again is the same job, not a second one."""
        with self._changed:
            if earlier := self.keyed(owner, key):
                if (earlier.request, earlier.delivery) != (request, delivery):
                    raise BadRequest("key", f"{key!r} was used for another request already")
                return earlier
            self.check_room(owner)
            job = self._insert(request, owner, delivery, key)
            self.changes += 1
            self._changed.notify_all()
            return job

    def keyed(self, owner: str, key: str) -> Job | None:
        """The job that this owner submitted under this key."""
        return self._one("owner = ? AND key = ?", owner, key) if key else None

    def check_room(self, owner: str) -> None:
        """Raises BadRequest when the owner, or everybody together, has enough jobs waiting."""
        row = self._db.read("SELECT count(*) AS everybodys, coalesce(sum(owner = ?), 0) AS own FROM job WHERE state = 'waiting'", owner)[0]
        if row["own"] >= self._per_owner:
            raise BadRequest("queue", f"{row['own']} of your jobs are waiting (at most {self._per_owner}): wait for one to end, or cancel one")
        if row["everybodys"] >= self._in_all:
            raise BadRequest("queue", f"{row['everybodys']} jobs are waiting on this server (at most {self._in_all}): try again later")

    def claim(self, timeout: float | None = None) -> Job | None:
        """The next waiting job, now running; None when none came within timeout seconds, or after `wake`."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._next() is not None, timeout)
            self._woken = False
            while (waiting := self._next()) is not None:
                if job := self._begin(waiting):
                    self.changes += 1
                    return job
            return None

    def next(self) -> Job | None:
        """The job that would be claimed next."""
        waiting = self._next()
        return readable(waiting) if waiting else None

    def wake(self) -> None:
        """Ends a claim that waits."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def finish(self, job_id: str, state: str, note: str = "") -> str:
        """The state that the job is in now: one that was cancelled meanwhile stays so."""
        with self._db.write() as db:
            db.execute("UPDATE job SET state = ?, note = ?, ended = ? WHERE id = ? AND state = 'running'", (state, note, now(), job_id))
            return str(db.execute("SELECT state FROM job WHERE id = ?", (job_id,)).fetchone()["state"])

    def release(self, job_id: str) -> None:
        """A running job waits again, as if it had not been begun."""
        with self._changed:
            with self._db.write() as db:
                db.execute("UPDATE job SET state = 'waiting', attempts = attempts - 1 WHERE id = ? AND state = 'running'", (job_id,))
            self.changes += 1
            self._changed.notify_all()

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """owner None: whoever owns it, for our own use."""
        return self._one("id = ? AND (? IS NULL OR owner = ?)", job_id, owner, owner)

    def jobs(self, owner: str, states: Iterable[str] = STATES, limit: int = 100) -> list[Job]:
        """The running ones, the waiting ones in their order, then those that have ended, newest first."""
        wanted = json.dumps(list(states))
        chosen = f"SELECT number FROM job WHERE owner = ? AND state IN (SELECT value FROM json_each(?)) {UPCOMING_THEN_NEWEST} LIMIT ?"
        rows = self._db.read(f"{JOB} WHERE number IN ({chosen}) {UPCOMING_THEN_NEWEST}", owner, wanted, limit)
        return [job for row in rows if (job := readable(row))]

    def pending(self) -> int:
        """How many jobs run or wait, whosever they are."""
        return int(self._db.read("SELECT count(*) AS pending FROM job WHERE state IN ('running', 'waiting')")[0]["pending"])

    def upcoming(self, limit: int = 100) -> list[Job]:
        """Everybody's running jobs, then the waiting ones in their order."""
        rows = self._db.read(f"{JOB} WHERE state IN ('running', 'waiting') ORDER BY state = 'running' DESC, place LIMIT ?", limit)
        return [job for row in rows if (job := readable(row))]

    def position(self, job_id: str) -> int:
        """How many jobs, whosever they are, come before this one; 0 when it does not wait."""
        before = "SELECT count(*) AS before FROM job, (SELECT place FROM job WHERE id = ? AND state = 'waiting') AS mine"
        return int(self._db.read(f"{before} WHERE state = 'running' OR (state = 'waiting' AND job.place < mine.place)", job_id)[0]["before"])

    def move(self, job_id: str, owner: str, places: int) -> int:
        """Moves a waiting job among the owner's own, forward where places is negative. The position that it has then.

        The owner's jobs exchange the places that they have, so nobody else waits longer for it.
        """
        with self._db.write() as db:
            rows = db.execute("SELECT id, place FROM job WHERE owner = ? AND state = 'waiting' ORDER BY place", (owner,)).fetchall()
            ids = [row["id"] for row in rows]
            if job_id in ids:
                to = min(max(ids.index(job_id) + places, 0), len(ids) - 1)
                ids.remove(job_id)
                ids.insert(to, job_id)
                db.executemany("UPDATE job SET place = ? WHERE id = ?", [(row["place"], id) for row, id in zip(rows, ids, strict=True)])
        self.changes += 1
        return self.position(job_id)

    def cancel(self, job_id: str, owner: str | None = None) -> str | None:
        """The state that the job is in now, as often as one asks; None for a job that this owner does not have."""
        with self._db.write() as db:
            row = db.execute("SELECT state FROM job WHERE id = ? AND (? IS NULL OR owner = ?)", (job_id, owner, owner)).fetchone()
            if row is None or row["state"] not in (WAITING, RUNNING):
                return None if row is None else str(row["state"])
            db.execute("UPDATE job SET state = 'cancelled', ended = ? WHERE id = ?", (now(), job_id))
        self.changes += 1
        for listener in self._listeners:
            listener(job_id, row["state"])
        return CANCELLED

    def on_cancel(self, listener: Callable[[str, str], None]) -> None:
        """listener(job id, the state it was in) is called in the thread that cancels, when the cancelling is durable."""
        self._listeners.append(listener)

    # ------------------------------------------------------------ within one transaction
    def _recover(self) -> tuple[str, ...]:
        """Whoever ran the running jobs is gone (the folder's lock says so): they wait again. The ids of all of them."""
        reason = (
            f"The program ended {self._attempts} times while this job ran, so it is not tried again. "
            "Perhaps it needs more memory than there is: try a smaller picture or another model."
        )
        with self._db.write() as db:
            ids = tuple(row["id"] for row in db.execute("SELECT id FROM job WHERE state = 'running' ORDER BY place"))
            given_up = (reason, now(), self._attempts)
            db.execute("UPDATE job SET state = 'failed', note = ?, ended = ? WHERE state = 'running' AND attempts >= ?", given_up)
            db.execute("UPDATE job SET state = 'waiting' WHERE state = 'running'")
        return ids

    def _insert(self, request: GenerationRequest, owner: str, delivery: Delivery, key: str) -> Job:
        id = secrets.token_hex(16)
        values = (id, owner, key or None, json.dumps(dump(request)), json.dumps(dump(delivery)), now())
        with self._db.write() as db:
            db.execute(
                "INSERT INTO job (id, owner, key, place, request, delivery, state, created) VALUES (?, ?, ?, 0, ?, ?, 'waiting', ?)",
                values,
            )
            db.execute("UPDATE job SET place = number WHERE id = ?", (id,))
            return job_of(db.execute(f"{JOB} WHERE id = ?", (id,)).fetchone())

    def _next(self) -> sqlite3.Row | None:
        rows = self._db.read(f"{JOB} WHERE state = 'waiting' ORDER BY place LIMIT 1")
        return rows[0] if rows else None

    def _begin(self, waiting: sqlite3.Row) -> Job | None:
        job, id = readable(waiting), waiting["id"]
        with self._db.write() as db:
            if job is None:
                note = "This job was stored by another version of the program, which this one cannot read."
                db.execute("UPDATE job SET state = 'failed', note = ?, ended = ? WHERE id = ?", (note, now(), id))
                return None
            db.execute("UPDATE job SET state = 'running', attempts = attempts + 1 WHERE id = ?", (id,))
            return job_of(db.execute(f"{JOB} WHERE id = ?", (id,)).fetchone())

    def _one(self, where: str, *values: object) -> Job | None:
        rows = self._db.read(f"{JOB} WHERE {where}", *values)
        return readable(rows[0]) if rows else None


def readable(row: sqlite3.Row) -> Job | None:
    """None for a job that a later version stored in a way that is not known here."""
    try:
        return job_of(row)
    except ValueError as error:
        log.warning("job %s cannot be read: %s", row["number"], error)
        return None


def job_of(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        number=row["number"],
        owner=row["owner"],
        request=load(GenerationRequest, json.loads(row["request"])),
        delivery=load(Delivery, json.loads(row["delivery"]), "delivery"),
        state=row["state"],
        note=row["note"],
        created=row["created"],
        done=frozenset(map(int, row["done"].split(","))) if row["done"] else frozenset(),
        attempts=row["attempts"],
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
