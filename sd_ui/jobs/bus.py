"""Events of running jobs, from the worker's thread to everyone who watches."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sd_ui.spec.events import FINAL, Event, Mapped

REMEMBERED = 256  # ended jobs whose last event is kept; an event of the end is a few hundred bytes


@dataclass(eq=False)
class Mailbox:
    """What one watcher has not seen yet: the latest event of each kind, in the order in which they came.

    So a slow watcher misses previews, but neither the depth map nor the end.
    """

    wake: Callable[[], None]
    unseen: dict[type, Event] = field(default_factory=dict)

    def put(self, event: Event) -> None:
        self.unseen.pop(type(event), None)  # so that it goes to the end of the order
        self.unseen[type(event)] = event


@dataclass
class Stream:
    """One job that has not ended: its latest event, its depth map for those who come late, and who watches it."""

    latest: Event | None = None
    mapped: Mapped | None = None
    watchers: set[Mailbox] = field(default_factory=set)

    def put(self, event: Event) -> None:
        self.latest = event
        if isinstance(event, Mapped):
            self.mapped = event
        for mailbox in self.watchers:
            mailbox.put(event)


class Bus:
    """Holds one picture's worth of events for each running job and the last words of some hundred ended ones, however many there were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a job must not end between a watcher's look at the past and its place among the watchers
        self._streams: dict[str, Stream] = {}
        self._ended: dict[str, Event] = {}
        self._past: Callable[[str], Event | None] = lambda job_id: None
        self._closed = False

    def look_back(self, past: Callable[[str], Event | None]) -> None:
        """past(job id): how a job ended that is not remembered here, None if it has not. Without it, who watches such a job waits for ever."""
        self._past = past

    def publish(self, job_id: str, event: Event) -> None:
        with self._lock:
            stream = self._streams.setdefault(job_id, Stream())
            stream.put(event)
            if isinstance(event, FINAL):
                self._end(job_id, event)
            watchers = list(stream.watchers)
        for mailbox in watchers:
            mailbox.wake()

    def latest(self, job_id: str) -> Event | None:
        with self._lock:
            stream = self._streams.get(job_id)
            return stream.latest if stream else self._ended.get(job_id)

    def watch(self, job_id: str) -> Iterator[Event]:
        """The latest events and then those to come, up to Done, Failed or Cancelled. Holds the thread."""
        arrived = threading.Event()
        with self._watching(job_id, arrived.set) as mailbox:
            self._recall(job_id, mailbox)
            while True:
                while event := self._next(mailbox):
                    yield event
                    if isinstance(event, FINAL):
                        return
                if self._closed:
                    return
                arrived.wait()
                arrived.clear()

    async def follow(self, job_id: str) -> AsyncIterator[Event]:
        """The same without holding a thread."""
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody is there any more
                loop.call_soon_threadsafe(arrived.set)

        with self._watching(job_id, wake) as mailbox:
            await asyncio.to_thread(self._recall, job_id, mailbox)
            while True:
                while event := self._next(mailbox):
                    yield event
                    if isinstance(event, FINAL):
                        return
                if self._closed:
                    return
                await arrived.wait()
                arrived.clear()

    def close(self) -> None:
        """Nothing will be published any more: everyone who watches is let go."""
        with self._lock:
            self._closed = True
            watchers = [mailbox for stream in self._streams.values() for mailbox in stream.watchers]
        for mailbox in watchers:
            mailbox.wake()

    @contextmanager
    def _watching(self, job_id: str, wake: Callable[[], None]) -> Iterator[Mailbox]:
        mailbox = Mailbox(wake)
        with self._lock:
            if ended := self._ended.get(job_id):
                mailbox.put(ended)
            else:
                self._enter(self._streams.setdefault(job_id, Stream()), mailbox)
        try:
            yield mailbox
        finally:
            with self._lock:
                self._leave(job_id, mailbox)

    def _recall(self, job_id: str, mailbox: Mailbox) -> None:
        """Comes after _watching: a job that ends in between is published to the mailbox, one that ended before is found in the past."""
        if not mailbox.unseen and (event := self._past(job_id)):
            with self._lock:
                mailbox.put(event)

    def _next(self, mailbox: Mailbox) -> Event | None:
        with self._lock:
            kind = next(iter(mailbox.unseen), None)
            return mailbox.unseen.pop(kind) if kind else None

    def _end(self, job_id: str, event: Event) -> None:
        del self._streams[job_id]
        self._ended[job_id] = event
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    @staticmethod
    def _enter(stream: Stream, mailbox: Mailbox) -> None:
        for event in (stream.mapped, stream.latest):
            if event:
                mailbox.put(event)
        stream.watchers.add(mailbox)

    def _leave(self, job_id: str, mailbox: Mailbox) -> None:
        if stream := self._streams.get(job_id):
            stream.watchers.discard(mailbox)
            if not stream.watchers and stream.latest is None:
                del self._streams[job_id]  # watched while it waited, and not begun yet
