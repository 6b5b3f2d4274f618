"""What a job takes: seconds by what they were spent on, calls of the model, and the memory at its peak."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any

import psutil
import torch

from sd_ui.engine import device, memory
from sd_ui.engine.families.stock import StockModel
from sd_ui.engine.loaded import Loaded
from sd_ui.spec.measured import Measured, Seconds

LOOKS_APART = 0.02  # seconds between two looks at the memory of a process, which nobody else keeps the peak of


@dataclass
class Stopwatch:
    """Of one job. counted: calls, previews and pictures so far. cold: whether a model had to be read.

    policy: how its model used memory, "" for the usual way.
    """

    began: float = field(default_factory=time.monotonic)
    cold: bool = False
    policy: str = ""
    counted: Counter[str] = field(default_factory=Counter)
    _spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _working: int = 0
    _said: Measured | None = None

    @contextmanager
    def spends(self, on: str) -> Iterator[None]:
        """on: a name in Seconds."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._spent[on] += time.monotonic() - began

    @contextmanager
    def watches_memory(self, where: torch.device) -> Iterator[None]:
        with watched(where) as peak:
            yield
        self._working = max(self._working, peak.beyond)

    def saw(self, loaded: Loaded | StockModel) -> None:
        """The model that the job runs on; the first time counts."""
        if self._said is None:
            place = loaded.place
            said = Measured(device.facts(place)["device"], place.dtype_name, loaded.attention, model_hash=loaded.model_hash)
            self._said = replace(said, weights=memory.size(loaded.components.values()))

    def measured(self) -> Measured | None:
        """None where the job needed no model."""
        if self._said is None:
            return None
        spent = {name: round(seconds, 4) for name, seconds in self._spent.items()}
        seconds = Seconds(**spent, whole=round(time.monotonic() - self.began, 4))
        counts: dict[str, Any] = {name: self.counted[name] for name in ("pictures", "calls", "previews")}
        return replace(self._said, **counts, policy=self.policy, cold=self.cold, seconds=seconds, working=self._working)


@dataclass
class Peak:
    """Bytes: before, and at most since."""

    before: int
    most: int

    @property
    def beyond(self) -> int:
        return max(0, self.most - self.before)


@contextmanager
def watched(where: torch.device) -> Iterator[Peak]:
    """A CUDA device keeps its own peak; of everything else this process's memory is looked at again and again meanwhile."""
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
        peak = Peak(before := int(torch.cuda.memory_allocated(where)), before)
        try:
            yield peak
        finally:
            peak.most = int(torch.cuda.max_memory_allocated(where))
        return
    process, ended = psutil.Process(), Event()
    peak = Peak(before := own(process), before)

    def look() -> None:
        while not ended.wait(LOOKS_APART):
            peak.most = max(peak.most, own(process))

    looking = Thread(target=look, name="memory", daemon=True)
    looking.start()
    try:
        yield peak
    finally:
        ended.set()
        looking.join()


def own(process: psutil.Process) -> int:
    """Bytes that are nobody else's: without pages of files, which come when weights that are mapped are first used, and which the system may take."""
    now = process.memory_info()
    return int(now.rss - getattr(now, "shared", 0))
