"""What is done for the next load while the engine's thread is at work: copies that load fast, hashes, files read into the system's memory.

Only files are touched here, never a model. The thread lives as long as there is something to do.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors import SafetensorError

from sd_ui.engine import memory
from sd_ui.engine.device import Place
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models import folders
from sd_ui.models.hashes import Hashes
from sd_ui.spec.cards import ModelCard

PIECE = 2**22  # bytes between two looks at whether it is still wanted
SPARE = 2**30  # bytes of memory that files read ahead leave alone
log = logging.getLogger(__name__)


class Unwanted(Exception):
    """Nobody waits for this any more."""


@dataclass(frozen=True)
class Task:
    """next: only for a job that waits; it ends when another one is the next."""

    card: ModelCard
    place: Place
    next: bool


class Ahead:
    """copying: whether copies are written. A program that draws one picture and ends would not come far with one."""

    def __init__(self, sidecars: Sidecars, hashes: Hashes, copying: bool = True) -> None:
        self.sidecars, self._hashes, self._copying = sidecars, hashes, copying
        self._tasks: deque[Task] = deque()
        self._next: Task | None = None
        self._thread: threading.Thread | None = None
        self._idle = threading.Condition()
        self._swept = False

    def copy(self, card: ModelCard, place: Place) -> None:
        """Of a model that was loaded the slow way: its copy is written, for the next time."""
        if self._copying:
            self._take(Task(card, place, next=False))

    def ready(self, card: ModelCard | None, place: Place) -> None:
        """The model of the job that comes next, or None: of no job, and what was begun for another one ends."""
        task = Task(card, place, next=True) if card else None
        if task == self._next:
            return
        self._next = task
        if task:
            self._take(task)

    def wait(self, timeout: float | None = None) -> bool:
        """Until there is nothing to do. Whether there is nothing."""
        with self._idle:
            return self._idle.wait_for(lambda: self._thread is None, timeout)

    def _take(self, task: Task) -> None:
        with self._idle:
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="ahead")
                self._thread.start()

    def _work_off(self) -> None:
        try:
            while task := self._taken():
                self._try(task)
        finally:
            with self._idle:
                if self._thread is threading.current_thread():  # it fell, and another one must be able to begin
                    self._thread = None
                self._idle.notify_all()

    def _taken(self) -> Task | None:
        """None ends the thread: from then on the next task begins another one."""
        with self._idle:
            if self._tasks:
                return self._tasks.popleft()
            self._thread = None
            return None

    def _try(self, task: Task) -> None:
        try:
            self._do(task, self._go_on(task))
        except Unwanted:
            pass
        except (
            OSError,
            ValueError,
            RuntimeError,
            MemoryError,
            SafetensorError,
        ) as error:  # whoever loads it says what is wrong
            log.info("%s could not be made ready ahead of its time: %s", task.card.name, error)

    def _go_on(self, task: Task) -> Callable[[], None]:
        main = threading.main_thread()

        def go_on() -> None:
            if not main.is_alive() or (task.next and task is not self._next):  # the program ends, or somebody else is the next
                raise Unwanted

        return go_on

    def _do(self, task: Task, go_on: Callable[[], None]) -> None:
        card, place = task.card, task.place
        go_on()
        if not self._swept:
            self._swept = True
            self.sidecars.sweep()
        if task.next:
            self._hashes.work_off(card.path, lambda _: go_on())
        if self.sidecars.wanted(card, place):
            self.sidecars.make(card, place, go_on)
        if task.next and memory.free(torch.device("cpu")) > card.size + SPARE:
            self._read(card, place, go_on)

    def _read(self, card: ModelCard, place: Place, go_on: Callable[[], None]) -> None:
        self.sidecars.check(card, place, go_on)
        piece = bytearray(PIECE)
        for file in folders.used(self.sidecars.find(card, place) or card.path):
            with file.open("rb", buffering=0) as opened:
                while opened.readinto(piece):
                    go_on()
