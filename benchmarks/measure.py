"""How everything here is measured: what is compared runs in turn within one process, and medians are reported."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. ours, theirs: measured, with the unit; ratio: ours over theirs, below 1 is better; "" where nothing is compared."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""


@dataclass(frozen=True)
class Spent:
    """Seconds of the median round. cpu: of all threads of this process; on a shared machine it says more than wall."""

    wall: float
    cpu: float


def in_turn(rounds: int, contestants: Mapping[str, Callable[[], object]]) -> dict[str, Spent]:
    """One warm-up each, then `rounds` rounds in which each runs once, in an order that turns from round to round."""
    names = list(contestants)
    for run in contestants.values():
        run()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            contestants[name]()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Spent(statistics.median(w for w, _ in rows), statistics.median(c for _, c in rows)) for name, rows in spent.items()}


def compared(what: str, ours: Spent, theirs: Spent) -> Row:
    return Row(what, f"{ours.cpu:.2f} CPU s ({ours.wall:.2f} s)", f"{theirs.cpu:.2f} CPU s ({theirs.wall:.2f} s)", f"{ours.cpu / theirs.cpu:.2f}")
