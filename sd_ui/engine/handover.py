"""A call that blocks, as a generator: it runs in a thread of its own, and of the two threads exactly one runs at any time.

So whoever advances the generator may own everything that the call touches, and needs no lock for it.
"""

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

S = TypeVar("S")
R = TypeVar("R")
Tell = Callable[[S], None]


class Stopped(BaseException):
    """Raised inside the call when nobody waits for it any more. No Exception, so that no library takes it for a failure of its own."""


@dataclass
class _Meeting:
    """said: what the call has to say, or how it ended. going: whether it is to go on."""

    said: "queue.SimpleQueue[tuple[str, Any]]" = field(default_factory=queue.SimpleQueue)
    going: "queue.SimpleQueue[bool]" = field(default_factory=queue.SimpleQueue)
    stopped: bool = False

    def tell(self, what: Any) -> None:
        if not self.stopped:  # else something in between has swallowed what stopped the call
            self.said.put(("said", what))
            self.stopped = not self.going.get()
        if self.stopped:
            raise Stopped

    def run(self, work: Callable[[Tell[Any]], Any]) -> None:
        try:
            ended = "done", work(self.tell)
        except BaseException as error:  # handed over, not swallowed: the generator raises it
            ended = "failed", error
        self.said.put(ended)


def steps(work: Callable[[Tell[S]], R], name: str = "handover") -> Generator[S, None, R]:
    """work: is given `tell`; what it tells is yielded, and `tell` returns when the generator goes on. What work returns or raises, this does.

    Closing the generator raises Stopped in the pending `tell`, and comes back when the thread has ended.
    """
    meeting = _Meeting()
    thread = threading.Thread(target=meeting.run, args=(work,), name=name, daemon=True)
    thread.start()
    try:
        while True:
            kind, said = meeting.said.get()
            if kind == "failed":
                raise said
            if kind == "done":
                result: R = said
                return result
            yield said
            meeting.going.put(True)
    finally:
        meeting.going.put(False)  # where the call has ended, nobody reads it
        thread.join()
