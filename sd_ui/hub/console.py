"""Fetching a model on the command line: what will come, how far it is, where it lies."""

import sys
import time
from threading import Event

from sd_ui.hub import names, plan
from sd_ui.hub.fetch import Fetcher, size
from sd_ui.hub.plan import Plan

LOOKS_APART = 0.5  # seconds between two lines of progress


class Line:
    """One line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, done: int, total: int) -> None:
        self._done, self._total, self._first = done, total, done
        self._began, self._said = time.monotonic(), 0.0

    def told(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if sys.stderr.isatty() and (now - self._said >= LOOKS_APART or self._done >= self._total):
            self._said = now
            rate = max(0.0, self._done - self._first) / max(now - self._began, 0.001)
            share = 100 * self._done // max(self._total, 1)
            print(f"\r{size(self._done)} of {size(self._total)}, {share} %, {size(int(rate))}/s   ", end="", file=sys.stderr, flush=True)


def get(fetcher: Fetcher, text: str, revision: str, only_plan: bool) -> int:
    """The exit code. Raises BadRequest("hub"), KeyboardInterrupt, OSError."""
    hub = fetcher.hub
    found = plan.planned(hub, names.parsed(text, hub.hosts, revision))
    fetcher.check(found)
    print(described(found, fetcher.free(fetcher.models)), file=sys.stderr)
    if only_plan:
        print(*(f"{file.name}  {size(file.size)}" for file in found.files), sep="\n")
        return 0
    if there := fetcher.present(found):
        print(f"{size(there)} of it are here already", file=sys.stderr)
    target = fetcher.fetch(found, Line(there, found.size).told, Event())
    print("" if sys.stderr.isatty() else "done", file=sys.stderr)
    print(target)
    return 0


def described(found: Plan, free: int) -> str:
    """What would be fetched, in words."""
    count, half = len(found.files), " in half precision" if found.half else ""
    return f"{found.name}: {count} file{'s' if count > 1 else ''}, {size(found.size)}{half}; {size(free)} are free"
