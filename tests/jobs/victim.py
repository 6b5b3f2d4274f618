"""A process that runs jobs until it is killed: python -m tests.jobs.victim OUTPUTS JOBS [POINT].

It says each accepted job, each step and each picture on its output. With a POINT such as "before rename" it kills itself there.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sd_ui.imaging import files
from sd_ui.jobs.gallery import Gallery
from sd_ui.jobs.keep import Keep
from sd_ui.jobs.queue import Queue
from tests.jobs.fakes import ALICE, Painter, asked, house

OWNERS_OF_POINTS: dict[str, tuple[Any, str]] = {
    "submit": (Queue, "_insert"),
    "claim": (Queue, "_begin"),
    "picture": (Keep, "picture"),
    "file": (files, "write"),
    "rename": (os, "replace"),
    "row": (Gallery, "add"),
    "end": (Queue, "finish"),
}
POINTS = tuple(f"{when} {name}" for name in OWNERS_OF_POINTS for when in ("before", "after"))


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


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


def step(request: Any, step: int) -> None:
    time.sleep(0.002)
    say("step", request.prompt, step)


def main(outputs: str, jobs: str, point: str = "") -> None:
    if point:
        set_trap(point)
    with house(Path(outputs), Painter(step), attempts=1000, per_owner=10_000, in_all=10_000) as home:
        say("up")
        for number in range(int(jobs)):
            job = home.queue.submit(request_of(number), ALICE, key=f"job {number}")
            say("accepted", number, job.id)
        for job in home.queue.jobs(ALICE, limit=int(jobs)):
            home.ended(job)
            say("ended", job.id)


if __name__ == "__main__":
    main(*sys.argv[1:])
