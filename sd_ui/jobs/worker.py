"""The one thread that gives jobs to the engine, puts its pictures away and says how each job ended."""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import Protocol

from sd_ui.jobs.bus import Bus
from sd_ui.jobs.keep import Keep
from sd_ui.jobs.queue import CANCELLED, DONE, FAILED, RUNNING, Job, Queue
from sd_ui.jobs.reasons import reason_of
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import FINAL, Cancelled, Done, Drawn, Event, Failed, Stepped
from sd_ui.spec.measured import Measured
from sd_ui.spec.request import GenerationRequest

STARTING, READY, UNUSABLE = "starting", "ready", "failed"
PAUSE = 1.0  # seconds until a database that could not be written is tried again

log = logging.getLogger(__name__)


class Driver(Protocol):
    """The engine, here or elsewhere. It is only used by the worker's thread."""

    def add(self, job: str, request: GenerationRequest, delivery: Delivery, done: frozenset[int]) -> None: ...
    def turn(self) -> list[tuple[str, Event | Exception | None]]:
        """What each job says next. None: its course has ended; an exception: it failed."""

    def drop(self, job: str) -> None: ...
    def ready(self, request: GenerationRequest | None) -> None:
        """What will be asked next, so that its model may be made ready meanwhile; None: nothing waits."""

    def facts(self) -> dict[str, str]: ...


OpenDriver = Callable[[Callable[[str], None]], Driver]
Measure = Callable[[Job, Measured], None]


@dataclass(frozen=True)
class EngineState:
    """phase: "starting", "ready" or "failed". facts: what the engine runs on, by name."""

    phase: str
    text: str
    facts: dict[str, str] = field(default_factory=dict)


@dataclass
class Course:
    """A job that runs, and what it said that its owner should know."""

    job: Job
    notes: list[str] = field(default_factory=list)
    drawn: int = 0


@dataclass(frozen=True)
class Ending:
    """state: what the database keeps. event: what the watchers hear."""

    job_id: str
    state: str
    note: str
    event: Event


class Worker:
    """open_driver is called in the worker's thread: that is where torch is imported. room: how many jobs run at once.

    measure: hears what each job took.
    """

    def __init__(
        self, queue: Queue, bus: Bus, keep: Keep, open_driver: OpenDriver, room: int = 1, measure: Measure = lambda job, measured: None
    ) -> None:
        self._queue, self._bus, self._keep, self._open_driver, self._room, self._measure = queue, bus, keep, open_driver, room, measure
        self._running: dict[str, Course] = {}
        self._unwritten: list[Ending] = []
        self._seen = -1  # of the queue's changes
        self._unwanted: SimpleQueue[str] = SimpleQueue()
        self._closing = Flag()
        self._state = EngineState(STARTING, "The engine is starting.")
        self._thread = Thread(target=self._live, name="worker", daemon=True)
        bus.look_back(self._past)
        queue.on_cancel(self._cancelled)

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return bool(self._running)

    def start(self) -> "Worker":
        self._thread.start()
        return self

    def stop(self, patience: float = 30.0) -> None:
        """Running jobs wait again, for the next start. patience: seconds for the step, or the start of the engine, that is under way."""
        self._closing.set()
        self._queue.wake()
        if self._thread.is_alive():
            self._thread.join(patience)
        self._bus.close()

    def cancel(self, job_id: str) -> None:
        """A waiting job ends at once, a running one within a step. Whether it is the asker's job, `queue.cancel` checks."""
        self._queue.cancel(job_id)

    # ------------------------------------------------------------ the worker's thread
    def _live(self) -> None:
        self._recover()
        if (driver := self._opened()) is None:
            return  # the jobs stay where they are, for a start that succeeds
        while not self._closing.is_set():
            try:
                self._round(driver)
            except Exception:  # such as a full disk: nothing is lost, and space may come back
                log.exception("The queue cannot go on; it is tried again.")
                self._closing.wait(PAUSE)
        for job_id in self._running:
            driver.drop(job_id)
            self._queue.release(job_id)

    def _round(self, driver: Driver) -> None:
        while self._unwritten:
            self._write(self._unwritten[0])
            self._unwritten.pop(0)
        self._drop_unwanted(driver)
        self._take_on(driver)
        if self._running:
            self._look_ahead(driver)
            self._turn(driver)

    def _opened(self) -> Driver | None:
        def tell(text: str) -> None:
            self._state = EngineState(STARTING, text)

        try:
            driver = self._open_driver(tell)
            self._state = EngineState(READY, "The engine is ready.", driver.facts())
            return driver
        except Exception as error:  # whatever an installation can lack: the page stays up and says it
            text = f"The engine could not be started: {reason_of(error)}"
            log.error(text, exc_info=None if isinstance(error, BadRequest) else error)  # a wrong setting is no fault in the program
            self._state = EngineState(UNUSABLE, text)
            return None

    def _recover(self) -> None:
        """What a process that died left on the disk: half-written files, and whole ones that are not in the gallery yet."""
        try:
            self._keep.sweep()
            for job_id in self._queue.interrupted:
                if job := self._queue.get(job_id):
                    self._keep.recover(job)
        except Exception:  # a folder in whatever state must not keep the engine from starting
            log.exception("The outputs folder could not be put in order; pictures that are not in the gallery are drawn again.")

    def _take_on(self, driver: Driver) -> None:
        while len(self._running) < self._room and (job := self._queue.claim(self._patience())):
            self._running[job.id] = Course(job)
            if len(job.done) == job.request.count:  # it died between its last picture and its end
                self._end(job.id, DONE)
                continue
            try:
                driver.add(job.id, job.request, job.delivery, job.done)
            except Exception as error:
                self._fail(job.id, error)

    def _look_ahead(self, driver: Driver) -> None:
        """Tells the driver what comes next, whenever that may have changed."""
        if self._seen != self._queue.changes:
            self._seen = self._queue.changes
            job = self._queue.next()
            driver.ready(job.request if job else None)

    def _patience(self) -> float | None:
        """How long to wait for a job: as long as it takes, where there is nothing else to do."""
        if self._running:
            return 0
        return PAUSE if self._unwritten else None

    def _turn(self, driver: Driver) -> None:
        try:
            said = driver.turn()
        except Exception as error:  # not one job's failure but the driver's: none of its jobs can go on
            said = [(job_id, error) for job_id in self._running]
            for job_id in self._running:
                driver.drop(job_id)
        for job_id, event in said:
            if job_id in self._running:  # else it failed by an earlier word of the same turn
                self._hear(driver, job_id, event)
        if any(not isinstance(event, Stepped) for _, event in said):
            self._state = replace(self._state, facts=driver.facts())

    def _hear(self, driver: Driver, job_id: str, event: Event | Exception | None) -> None:
        match event:
            case None:
                self._complete(job_id)
            case Exception():
                self._fail(job_id, event)
            case Drawn():
                self._save(driver, job_id, event)
            case Measured():
                self._measure(self._running[job_id].job, event)
            case _ if not isinstance(event, FINAL):  # how a job ended is said here, when it is written down
                self._bus.publish(job_id, event)

    def _save(self, driver: Driver, job_id: str, drawn: Drawn) -> None:
        course = self._running[job_id]
        try:
            self._keep.picture(course.job, drawn)
        except Exception as error:
            driver.drop(job_id)
            self._fail(job_id, error)
            return
        course.drawn += 1
        course.notes += [note for note in self._keep.notes(course.job, drawn) if note not in course.notes]
        self._bus.publish(job_id, drawn)

    def _complete(self, job_id: str) -> None:
        course = self._running[job_id]
        made, asked = len(course.job.done) + course.drawn, course.job.request.count
        if made < asked:
            self._fail(job_id, RuntimeError(f"the engine ended after {made} of {asked} pictures"))
        else:
            self._end(job_id, DONE)

    def _fail(self, job_id: str, error: Exception) -> None:
        job = self._running[job_id].job
        log.error("Job %d failed.", job.number, exc_info=error)
        self._end(job_id, FAILED, reason_of(error, job.request))

    def _end(self, job_id: str, state: str, reason: str = "") -> None:
        course = self._running.pop(job_id)
        notes = tuple(course.notes)
        event: Event = Failed(reason) if state == FAILED else Done(self._keep.ids(course.job), notes)
        ending = Ending(job_id, state, reason or "\n".join(notes), event)
        try:
            self._write(ending)
        except sqlite3.Error:  # who watches need not wait for the disk
            log.exception("The end of job %d could not be written down; it is tried again.", course.job.number)
            self._unwritten.append(ending)
            self._bus.publish(job_id, event)

    def _write(self, ending: Ending) -> None:
        """First what survives a crash, then the news."""
        state = self._queue.finish(ending.job_id, ending.state, ending.note)
        self._bus.publish(ending.job_id, Cancelled() if state == CANCELLED else ending.event)

    def _drop_unwanted(self, driver: Driver) -> None:
        while True:
            try:
                job_id = self._unwanted.get_nowait()
            except Empty:
                return
            if self._running.pop(job_id, None):
                driver.drop(job_id)
                self._bus.publish(job_id, Cancelled())

    # ------------------------------------------------------------ other threads
    def _cancelled(self, job_id: str, was: str) -> None:
        if was == RUNNING:
            self._unwanted.put(job_id)  # the driver belongs to the worker's thread: it drops the job before its next step
        else:
            self._bus.publish(job_id, Cancelled())

    def _past(self, job_id: str) -> Event | None:
        """How a job ended that the bus does not remember; a job that does not exist must not be waited for either."""
        job = self._queue.get(job_id)
        match job:
            case None:
                return Failed("There is no such job.")
            case Job(state="done"):
                return Done(self._keep.ids(job), tuple(job.note.splitlines()))
            case Job(state="failed"):
                return Failed(job.note)
            case Job(state="cancelled"):
                return Cancelled()
        return None
