"""How long jobs wait for those before them, whosever they are: sums of predictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sd_ui.forecast.forecast import Forecast
from sd_ui.jobs.bus import Bus
from sd_ui.jobs.queue import RUNNING, Job, Queue
from sd_ui.spec.events import Stepped

Foretell = Callable[[Job], Forecast]


@dataclass(frozen=True)
class Ahead:
    """jobs: that run or wait. seconds: until all of them have ended; None where one of them cannot be predicted."""

    jobs: int
    seconds: float | None


class Waits:
    def __init__(self, queue: Queue, bus: Bus, foretell: Foretell) -> None:
        self._queue, self._bus, self._foretell = queue, bus, foretell

    def ahead(self) -> Ahead:
        """Of a job that comes now."""
        jobs = self._queue.upcoming()
        return Ahead(len(jobs), total([self._left(job) for job in jobs]))

    def of_each(self) -> Mapping[str, float | None]:
        """By the ids of the waiting jobs: seconds until each begins."""
        found: dict[str, float | None] = {}
        passed: list[float | None] = []
        for job in self._queue.upcoming():
            if job.state != RUNNING:
                found[job.id] = total(passed)
            passed.append(self._left(job))
        return found

    def _left(self, job: Job) -> float | None:
        """A running job tells itself, after its first step."""
        if job.state == RUNNING and isinstance(said := self._bus.latest(job.id), Stepped):
            return said.remaining
        found = self._foretell(job)
        return found.seconds if found.runs else None


def total(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
