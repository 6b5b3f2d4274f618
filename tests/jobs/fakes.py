"""An engine of a few lines, and the jobs' side of the house around it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sd_ui.jobs.bus import Bus
from sd_ui.jobs.database import Database
from sd_ui.jobs.gallery import Gallery
from sd_ui.jobs.keep import Keep
from sd_ui.jobs.queue import Queue
from sd_ui.jobs.worker import Worker
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Event, Stepped
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest, Sampling

ALICE, BOB = "a" * 32, "b" * 32


def asked(prompt: str = "a cat", seed: int = 1, count: int = 1, steps: int = 2) -> GenerationRequest:
    return GenerationRequest(prompt, seed=seed, count=count, width=64, height=64, sampling=Sampling(steps=steps))


def painted(request: GenerationRequest, index: int) -> Drawn:
    """The picture that is made of a seed, whoever asks and however often."""
    seed = request.seed_of(index)
    pixels = np.random.default_rng(seed).integers(0, 256, (request.height, request.width, 3), np.uint8)
    return Drawn(index, seed, request.width, request.height, pixels.tobytes(), Made(app="test"), ("painted",))


def pixels_of(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


class Courses:
    """What every fake driver does with its courses: a word of each in turn."""

    courses: dict[str, Iterator[Event]]

    def turn(self) -> list[tuple[str, Event | Exception | None]]:
        return [(job, self.said(job)) for job in list(self.courses)]

    def said(self, job: str) -> Event | Exception | None:
        try:
            return next(self.courses[job])
        except StopIteration:
            del self.courses[job]
            return None
        except Exception as error:
            del self.courses[job]
            return error

    def drop(self, job: str) -> None:
        self.courses.pop(job, None)

    def ready(self, request: GenerationRequest | None) -> None:
        """Its models are paints."""


class Painter(Courses):
    """A driver. before_step(request, step) may sleep, wait or raise."""

    def __init__(self, before_step: Callable[[GenerationRequest, int], Any] = lambda request, step: None) -> None:
        self.courses: dict[str, Iterator[Event]] = {}
        self.before_step = before_step
        self.begun: list[tuple[str, frozenset[int]]] = []

    def add(self, job: str, request: GenerationRequest, delivery: Delivery, done: frozenset[int]) -> None:
        self.begun.append((job, done))
        self.courses[job] = self.course(request, done)

    def course(self, request: GenerationRequest, done: frozenset[int]) -> Iterator[Event]:
        for index in sorted(set(range(request.count)) - done):
            for step in range(1, request.sampling.steps + 1):
                self.before_step(request, step)
                yield Stepped(step, request.sampling.steps, None, index + 1, request.count)
            yield painted(request, index)

    def facts(self) -> dict[str, str]:
        return {"device": "easel"}


@dataclass
class House:
    outputs: Path
    db: Database
    queue: Queue
    gallery: Gallery
    bus: Bus
    keep: Keep
    driver: Painter
    worker: Worker

    def submit(self, *args: Any, owner: str = ALICE, **more: Any) -> Any:
        return self.queue.submit(asked(*args, **more), owner)

    def ended(self, job: Any) -> Event:
        """How a job ends, when it does."""
        return list(self.bus.watch(job.id))[-1]

    def pictures(self) -> list[Path]:
        return sorted(path for path in self.outputs.glob("????-??-??/*") if path.is_file())


@contextmanager
def house(outputs: Path, driver: Painter | None = None, start: bool = True, room: int = 1, open_driver: Any = None, **limits: int) -> Iterator[House]:
    db = Database(outputs / "sd_ui.db")
    queue, gallery, bus = Queue(db, **limits), Gallery(db, outputs), Bus()
    keep, driver = Keep(gallery, outputs, str), driver or Painter()
    worker = Worker(queue, bus, keep, open_driver or (lambda tell: driver), room)
    try:
        if start:
            worker.start()
        yield House(outputs, db, queue, gallery, bus, keep, driver, worker)
    finally:
        worker.stop()
        db.close()


def wait_for(what: Callable[[], Any]) -> Any:
    """The first thing of it that is true; a minute at most, so that a broken promise fails a test instead of holding it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen")
