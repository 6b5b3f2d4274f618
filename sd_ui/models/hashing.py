"""One thread that hashes models nobody has loaded yet, when there is nothing better to do."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread, get_native_id
from typing import Protocol

from sd_ui.models.hashes import Hashes, Wanted
from sd_ui.models.header import Unreadable
from sd_ui.spec.cards import LORA, ModelCard

LOOK = 2.0  # seconds between two looks at what there is to do
NAP = 0.1  # seconds within a rest after which somebody who waits is noticed
GENTLEST = 19  # nice


class Stopped(Exception):
    """The rest of a file is for another day."""


class Models(Protocol):
    """What is asked of the model index."""

    @property
    def hashes(self) -> Hashes: ...
    def cards(self) -> Mapping[str, ModelCard]: ...


class Hasher:
    """busy: whether jobs run; nothing is read while they do, but for a file that one of them waits for. It rests as long as it has worked."""

    def __init__(self, models: Models, busy: Callable[[], bool]) -> None:
        self._models, self._busy = models, busy
        self._stopping = Event()
        self._thread = Thread(target=self._live, name="hasher", daemon=True)
        self._began = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """At once, also in the middle of a file."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def work(self) -> None:
        """One round: everything that can be used, the small files first. Raises Stopped."""
        cards = [card for card in self._models.cards().values() if not card.fault]
        for card in sorted(cards, key=lambda card: card.size):
            if self._stopping.is_set():
                raise Stopped
            self._began = time.monotonic()
            with suppress(OSError, Unreadable):  # gone, or not to be read: the next round may find it
                self._models.hashes.work_off(card.path, self._breath)
                if card.kind == LORA:  # recipes name one by the hash of its tensors
                    self._models.hashes.work_off_tensors(card.path, self._breath)

    def _live(self) -> None:
        be_gentle()
        done: object = None
        with suppress(Stopped):
            while not self._stopping.wait(LOOK):
                cards = self._models.cards()
                if cards is not done:  # a scan makes a new table
                    self.work()
                    done = cards

    def _breath(self, wanted: Wanted) -> None:
        rested = 2 * time.monotonic() - self._began
        while not wanted() and ((left := rested - time.monotonic()) > 0 or self._busy()):
            if self._stopping.wait(min(NAP, left) if left > 0 else NAP):
                break
        if self._stopping.is_set() and not wanted():
            raise Stopped
        self._began = time.monotonic()


def be_gentle() -> None:
    """The lowest priority, for this thread alone: only Linux can."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), GENTLEST)
