"""What a job does when memory runs out: it gives back what it can, goes on more gently, and repeats nothing that was done."""

import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sd_ui.engine.policy import RESIDENT, Policy
from sd_ui.spec.errors import is_out_of_memory
from sd_ui.spec.events import Eased, Event

Result = TypeVar("Result")
Ease = Callable[[str], str | None]  # stage of a job -> how it goes on from now, in words; None: nothing is gentler than what failed


class NothingFits(MemoryError):
    """The last way found no memory either; its own error is the cause."""


def first_that_fits(ways: Sequence[Callable[[], Result]], between: Callable[[], object] = bool) -> Result:
    """One way of doing something after the other, until there is memory enough. between: makes room. Raises NothingFits."""
    for i, way in enumerate(ways):
        try:
            return way()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
            failure = error
        if i < len(ways) - 1:
            between()
    raise NothingFits(str(failure)) from failure


def never(stage: str) -> str | None:
    """Of whoever has nothing to give back."""
    return None


@dataclass
class Relief:
    """One job's, or one picture's. policy: how its model uses the device now. notes: what its owner should know."""

    ease: Ease = never
    policy: Callable[[], Policy] = Policy
    notes: list[str] = field(default_factory=list)

    def again(self) -> "Relief":
        """For one picture, whose notes are not the next one's."""
        return replace(self, notes=list(self.notes))

    def made(self) -> dict[str, Any]:
        """For Made: how memory was saved."""
        now = self.policy()
        return {"memory": "" if now.weights == RESIDENT else now.weights, "economies": now.changes}

    def tried(self, stage: str, work: Callable[[], Result]) -> Generator[Event, Any, Result]:
        """Again and again, more gently each time. work: a piece that can be begun anew. Raises its last error."""

        def once() -> Generator[Event, Any, Result]:
            return work()
            yield

        return self.continued(stage, once)

    def continued(self, stage: str, go_on: Callable[[], Generator[Any, Any, Result]], where: Callable[[], str] = str) -> Generator[Any, Any, Result]:
        """go_on: takes the work up where it was left. where: that place, in words."""
        while True:
            try:
                return (yield from go_on())
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)  # they hold what was computed half-way: nothing could be freed
                if (how := self.ease(stage)) is None:
                    raise
            yield self.noted(f"Out of memory {where() or DOING[stage]}: continued with {how}.")

    def noted(self, text: str) -> Eased:
        self.notes.append(text)
        return Eased(text)


DOING = {
    "loading": "while the model was loaded",
    "reading": "while the prompt was read",
    "encoding": "while the picture was encoded",
    "sampling": "while sampling",
    "decoding": "while the picture was decoded",
}
