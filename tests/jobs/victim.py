"""What a process does that is to be killed: it runs jobs, and says each accepted job and each step."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from sd_ui import durable
from sd_ui.jobs.gallery import Gallery
from sd_ui.jobs.keep import Keep
from sd_ui.jobs.queue import Queue
from tests.jobs.fakes import ALICE, Painter, asked, house

OWNERS_OF_POINTS: dict[str, tuple[Any, str]] = {
    "submit": (Queue, "_insert"),
    "claim": (Queue, "_begin"),
    "picture": (Keep, "picture"),
    "file": (durable, "write"),
    "rename": (os, "replace"),
    "row": (Gallery, "add"),
    "end": (Queue, "finish"),
}
POINTS = tuple(f"{when} {name}" for name in OWNERS_OF_POINTS for when in ("before", "after"))


def set_trap(point: str) -> None:
    when, name = point.split()
    owner, attribute = OWNERS_OF_POINTS[name]
    real: Callable[..., Any] = getattr(owner, attribute)

    def trapped(*args: Any, **more: Any) -> Any:
        if when == "after":
            real(*args, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, trapped)


def request_of(number: int) -> Any:
    return asked(f"job {number}", seed=2**64 - 2 if number == 0 else number * 10, count=1 + (number + 1) % 3, steps=3)


class Voice:
    """Says words to the test; both threads of the process speak."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.lock = connection, Lock()

    def __call__(self, *words: object) -> None:
        with self.lock:
            self.connection.send(words)


def main(connection: Connection, outputs: Path, jobs: int, point: str) -> None:
    """point: where it kills itself, such as "before rename"; "": nowhere."""
    say = Voice(connection)

    def before_step(request: Any, step: int) -> None:
        time.sleep(0.002)
        say("step", request.prompt, step)

    if point:
        set_trap(point)
    with house(outputs, Painter(before_step), attempts=1000, per_owner=10_000, in_all=10_000) as home:
        say("up")
        for number in range(jobs):
            job = home.queue.submit(request_of(number), ALICE, key=f"job {number}")
            say("accepted", number, job.id)
        for job in home.queue.jobs(ALICE, limit=jobs):
            home.ended(job)
