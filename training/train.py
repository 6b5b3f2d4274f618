"""The command: python -m training.train --minutes N. Renders, trains one stage after the other, and goes on where it was after a kill."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from training import driver
from training.course import Course
from training.recipe import RECIPES, STAGES

RUN = Path(__file__).parent / "run"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="of the whole training, over all its runs; each stage gets its share")
    parser.add_argument("--stage", choices=(*STAGES, "decoder"), help="only this one, with all the minutes (default: all that have not ended)")
    parser.add_argument("--recipe", choices=RECIPES, default="gpu" if torch.cuda.is_available() else "cpu", help="how large (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=RUN, help="where renders and states are kept (default: training/run)")
    options = parser.parse_args(argv)
    if options.minutes <= 0:
        parser.error(f"--minutes: {options.minutes:g} is not more than 0")
    make_way()
    given = Course(options.run, RECIPES[options.recipe], options.minutes)
    with only_one(options.run):
        for stage in (options.stage,) if options.stage else STAGES:
            driver.go(given, stage, given.minutes if options.stage else given.share(stage))
    return 0


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two trainings in one folder would overwrite each other's states. The system gives the lock back however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"--run: another training is at work in {folder}") from None
        yield


def make_way() -> None:
    """The lowest priority: whoever else uses this computer must not notice."""
    if hasattr(os, "nice"):
        os.nice(19)
    torch.set_num_threads(1)


if __name__ == "__main__":
    raise SystemExit(main())
