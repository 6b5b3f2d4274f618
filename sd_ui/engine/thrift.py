"""Which policy a model gets for a job: the fastest whose need, as estimated, fits into what is free; and what running out of memory has taught."""

from dataclasses import dataclass, field

from sd_ui.engine import policy
from sd_ui.engine.footprint import Footprint, Work
from sd_ui.engine.policy import AUTO, HIGH, Policy, Wishes

FLAGS = {policy.HIGH: "--highvram", policy.MEDIUM: "--medvram", policy.LOW: "--lowvram"}
GIB = 2**30


@dataclass
class Thrift:
    """apart: whether the device has a memory of its own. What was learned holds as long as the process lives, for this size and larger ones."""

    apart: bool
    wishes: Wishes = Wishes()
    _learned: dict[str, list[tuple[int, Policy]]] = field(default_factory=dict)  # by model: pixels that took this policy

    @property
    def rungs(self) -> tuple[Policy, ...]:
        return policy.ladder(self.apart, self.wishes)

    def choose(self, model: str, footprint: Footprint, work: Work, room: int) -> tuple[Policy, str]:
        """room: bytes of the device that the model and its work may fill. -> the policy, and in words what holds and why."""
        rungs = self.rungs
        fits = next((rung for rung in rungs if footprint.peak(rung) <= room), rungs[-1])
        chosen = rungs[0] if self.wishes.mode == HIGH else fits
        needed = policy.gentlest(rungs, chosen, *self._known(model, work))
        if needed != chosen:
            return needed, self._said(needed, "memory ran out before")
        return chosen, self._said(chosen, self._why(rungs, chosen, footprint, room))

    def learn(self, model: str, work: Work, needed: Policy) -> str:
        """This much took a gentler policy. -> in words, as `choose`."""
        self._learned.setdefault(model, []).append((work.pixels, needed))
        return self._said(needed, "memory ran out before")

    def gentler(self, now: Policy, stage: str) -> Policy | None:
        return policy.gentler(self.rungs, now, stage)

    def _known(self, model: str, work: Work) -> list[Policy]:
        return [needed for pixels, needed in self._learned.get(model, ()) if work.pixels >= pixels]

    def _why(self, rungs: tuple[Policy, ...], chosen: Policy, footprint: Footprint, room: int) -> str:
        if not self.apart and (flags := self._flags()):
            return f"this device has no memory of its own that {flags} could save"
        if chosen == rungs[0] and self.wishes.mode != AUTO:
            return f"{FLAGS[self.wishes.mode]} says so"
        needed = footprint.peak(rungs[0])
        return f"about {needed / GIB:.1f} GiB are needed for everything at once, and {room / GIB:.1f} are free"

    def _flags(self) -> str:
        """Those that are about a memory of its own."""
        return " and ".join([*([FLAGS[self.wishes.mode]] if self.wishes.mode in FLAGS else []), *(["--vram-budget"] if self.wishes.budget else [])])

    def _said(self, chosen: Policy, why: str) -> str:
        return f"{chosen.said(self.apart)}, because {why}"
