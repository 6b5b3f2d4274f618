"""The models that are being fetched: one after the other, in a thread of its own, watched by whoever likes."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from sd_ui.hub import names, plan
from sd_ui.hub.fetch import Fetcher, Stopped
from sd_ui.hub.plan import Plan
from sd_ui.spec.errors import BadRequest

WINDOW = 8.0  # seconds over which the rate is taken
ASKED = 20  # answers of the hub that are remembered until somebody presses Download
WAITING, RUNNING, STOPPED, DONE, FAILED = "waiting", "running", "stopped", "done", "failed"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetch:
    """What there is to say of one. done, total: bytes. rate: bytes a second, 0 where it is not known. text: why it stopped or failed."""

    key: str
    name: str
    state: str
    done: int
    total: int
    rate: float = 0.0
    text: str = ""


@dataclass
class _Entry:
    plan: Plan
    state: str
    done: int
    text: str = ""
    stopping: Event = field(default_factory=Event)
    marks: deque[tuple[float, int]] = field(default_factory=deque)  # time and bytes, of the last seconds


class Downloads:
    """arrived: called when a model has come, in the thread that fetches. What was left unfinished by an earlier program is there as stopped."""

    def __init__(self, fetcher: Fetcher, arrived: Callable[[], None]) -> None:
        self.fetcher, self._arrived = fetcher, arrived
        self._asked: dict[str, Plan] = {}
        self._lock = Lock()  # of the table of entries and their states: the page's threads press while the fetching one counts
        self._entries = {one.key: _Entry(one, STOPPED, fetcher.present(one)) for one in fetcher.unfinished()}
        self._thread: Thread | None = None
        self._closed = False

    def plan(self, text: object, revision: str = "") -> Plan:
        """Asks the hub what would be fetched. Raises BadRequest("hub") where it could not be used, is there already, or does not fit; Several."""
        hub = self.fetcher.hub
        found = plan.planned(hub, names.parsed(text, hub.hosts, revision))
        self.fetcher.check(found)
        with self._lock:
            self._asked = dict([*self._asked.items(), (str(text).strip(), found)][-ASKED:])
        return found

    def begin(self, text: object) -> None:
        """What `plan` said of the same text. Raises BadRequest("hub")."""
        found = self._asked.get(str(text).strip()) or self.plan(text)
        self.fetcher.check(found)
        with self._lock:
            old = self._entries.get(found.key)
            if old and old.state in (WAITING, RUNNING):
                return
            self._entries[found.key] = _Entry(found, WAITING, self.fetcher.present(found))
            self._work()

    def resume(self, key: str) -> None:
        with self._lock:
            entry = self._entries.get(key)
            if entry and entry.state in (STOPPED, FAILED):
                self._entries[key] = _Entry(entry.plan, WAITING, self.fetcher.present(entry.plan))
                self._work()

    def stop(self, key: str) -> None:
        """What has come stays."""
        with self._lock:
            entry = self._entries.get(key)
            if entry and entry.state in (WAITING, RUNNING):
                entry.stopping.set()
                if entry.state == WAITING:
                    entry.state = STOPPED

    def discard(self, key: str) -> None:
        """What has come goes; of a model that is here already, only the line about it."""
        with self._lock:
            entry = self._entries.get(key)
            if entry and entry.state in (STOPPED, FAILED, DONE):
                del self._entries[key]
                self.fetcher.discard(entry.plan)

    def view(self) -> list[Fetch]:
        with self._lock:
            return [self._said(entry) for entry in self._entries.values()]

    def close(self) -> None:
        """What runs stops, and can go on another day."""
        with self._lock:
            self._closed = True
            for entry in self._entries.values():
                entry.stopping.set()
            running = self._thread  # which forgets itself when it ends
        if running:
            running.join()

    # ------------------------------------------------------------ the thread
    def _work(self) -> None:
        """With the lock."""
        if not self._closed and (self._thread is None or not self._thread.is_alive()):
            self._thread = Thread(target=self._live, name="downloads", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        while entry := self._next():
            state, text = self._fetched(entry)
            with self._lock:
                entry.state, entry.text = state, text
                entry.marks.clear()

    def _next(self) -> _Entry | None:
        with self._lock:
            entry = None if self._closed else next((entry for entry in self._entries.values() if entry.state == WAITING), None)
            if entry:
                entry.state = RUNNING
            else:
                self._thread = None  # whoever adds one now starts another
            return entry

    def _fetched(self, entry: _Entry) -> tuple[str, str]:
        def told(count: int) -> None:
            with self._lock:
                entry.done += count
                now = time.monotonic()
                entry.marks.append((now, entry.done))
                while now - entry.marks[0][0] > WINDOW:
                    entry.marks.popleft()

        try:
            self.fetcher.fetch(entry.plan, told, entry.stopping)
            self._arrived()
        except Stopped:
            return STOPPED, ""
        except BadRequest as error:
            return FAILED, error.why
        except OSError as error:
            log.warning("%s could not be fetched", entry.plan.name, exc_info=True)
            return FAILED, f"it cannot be written into the models folder ({error.strerror or type(error).__name__})"
        return DONE, ""

    def _said(self, entry: _Entry) -> Fetch:
        return Fetch(entry.plan.key, entry.plan.name, entry.state, entry.done, entry.plan.size, _rate(entry), entry.text)


def _rate(entry: _Entry) -> float:
    """Bytes a second until now, so that it falls while nothing comes."""
    if len(entry.marks) < 2:
        return 0.0
    (began, before), (_, after) = entry.marks[0], entry.marks[-1]
    return max(0.0, after - before) / max(time.monotonic() - began, 0.001)
