"""How long jobs wait for those before them, whosever they are: sums of predictions."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sd_ui.forecast.forecast import Forecast
from sd_ui.jobs.bus import Bus
from sd_ui.jobs.queue import RUNNING, Job, Queue
from sd_ui.spec.events import Stepped

FRESH = 1.0  # seconds for which an answer holds: every page with a waiting job asks several times a second
Foretell = Callable[[Job], Forecast]


@dataclass(frozen=True)
class Ahead:
    """jobs: that run or wait. seconds: until all of them have ended; None where one of them cannot be predicted."""

    jobs: int
    seconds: float | None


@dataclass(frozen=True)
class _Look:
    """What was seen of the queue, and when."""

    at: float
    pending: int
    ahead: Ahead
    each: Mapping[str, float | None]


class Waits:
    """fresh: seconds."""

    def __init__(self, queue: Queue, bus: Bus, foretell: Foretell, fresh: float = FRESH) -> None:
        self._queue, self._bus, self._foretell, self._fresh = queue, bus, foretell, fresh
        self._last = _Look(-fresh, 0, Ahead(0, 0.0), {})

    def ahead(self) -> Ahead:
        """Of a job that comes now."""
        return self._looked().ahead

    def of_each(self) -> Mapping[str, float | None]:
        """By the ids of the waiting jobs: seconds until each begins."""
        return self._looked().each

    def _looked(self) -> _Look:
        """Two threads may look at the same time; either answer is right."""
        now, pending = time.monotonic(), self._queue.pending()
        if now - self._last.at >= self._fresh or pending != self._last.pending:
            self._last = self._look(now, pending)
        return self._last

    def _look(self, now: float, pending: int) -> _Look:
        each: dict[str, float | None] = {}
        passed: list[float | None] = []
        for job in self._queue.upcoming():
            if job.state != RUNNING:
                each[job.id] = total(passed)
            passed.append(self._left(job))
        return _Look(now, pending, Ahead(len(passed), total(passed)), each)

    def _left(self, job: Job) -> float | None:
        """A running job tells itself, after its first step."""
        if job.state == RUNNING and isinstance(said := self._bus.latest(job.id), Stepped):
            return said.remaining
        found = self._foretell(job)
        return found.seconds if found.runs else None


def total(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
