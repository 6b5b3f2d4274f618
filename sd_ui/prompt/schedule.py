"""Prompt editing: [from:to:when], [to:when], [from::when], and [a|b], which alternates. Which text holds at which step."""

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(r"\\.|[\\\[\]():|]|[^\\\[\]():|]+")
WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")

Slice = tuple[int, int]


@dataclass(frozen=True)
class Switch:
    """before until `when`, after from then on. when: as it was written; with a dot it is a share of the steps, without one a step."""

    start: int
    end: int
    before: Slice
    after: Slice
    when: str

    def step(self, steps: int, earlier: int) -> int:
        """The last step of `before`, at most `steps`; below 1: never."""
        said = float(self.when)
        counted = (said - bool(earlier)) * steps if "." in self.when else said - earlier
        return int(max(-1.0, min(float(steps), counted)))


@dataclass(frozen=True)
class Alternation:
    start: int
    end: int
    options: tuple[Slice, ...]


Group = Switch | Alternation


@dataclass(frozen=True)
class Until:
    """The text that holds up to a step."""

    last: int
    text: str


def timeline(prompt: str, steps: int, earlier: int = 0) -> tuple[Until, ...]:
    """The texts of a run of `steps` steps, in order; the last one lasts to its end. Never raises.

    earlier: the steps of the first pass, where this run is the second of two (hires fix): there shares count from 1 to 2, and steps go on.
    The rules are those of AUTOMATIC1111's `prompt_parser.py`.
    """
    found = groups(prompt)
    if not found:
        return (Until(steps, prompt),)
    lasts = {steps}
    for group in found:
        if isinstance(group, Alternation):
            lasts.update(range(1, steps + 1))
        elif (last := group.step(steps, earlier)) >= 1:
            lasts.add(last)
    opens = [group.start for group in found]
    return tuple(Until(last, _text(prompt, found, opens, last, steps, earlier)) for last in sorted(lasts))


def at(texts: tuple[Until, ...], call: int) -> int:
    """Which of them holds at a model call, counted from 0: the first that lasts so long, so that "until 3" means calls 0 to 3, as in A1111."""
    return min(bisect_left(texts, call, key=lambda until: until.last), len(texts) - 1)


def _text(prompt: str, found: tuple[Group, ...], opens: list[int], step: int, steps: int, earlier: int) -> str:
    """The prompt with each group replaced by what holds at a step. Slices wait on a stack instead of in recursion."""
    said, place, waiting = [], 0, [(len(prompt), len(prompt))]  # where the slice that is being read ends, and where to go on then
    while waiting:
        end, resume = waiting[-1]
        i = bisect_left(opens, place)
        if i < len(found) and found[i].start < end:
            said.append(prompt[place : found[i].start])
            place, stop = _chosen(found[i], step, steps, earlier)
            waiting.append((stop, found[i].end))
        else:
            said.append(prompt[place:end])
            waiting.pop()
            place = resume
    return "".join(said)


def _chosen(group: Group, step: int, steps: int, earlier: int) -> Slice:
    match group:
        case Switch():
            return group.before if step <= group.step(steps, earlier) else group.after
        case Alternation():
            return group.options[(step - 1) % len(group.options)]


# ---------------------------------------------------------------- grammar
@dataclass
class _Frame:
    """An open bracket, and what may divide its inside."""

    bracket: str
    start: int
    colons: list[int] = field(default_factory=list)
    pipes: list[int] = field(default_factory=list)


@dataclass
class _Grammar:
    """Brackets that match properly, with at most two colons or any number of pipes, are groups. Whatever else has a bracket is text.

    A | that divides nothing makes A1111's grammar fail for the whole prompt; then nothing in it is scheduled.
    """

    prompt: str
    found: list[Group] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    stray_pipes: int = 0

    def read(self, said: str, place: int) -> None:
        if said in "([":
            self.frames.append(_Frame(said, place))
        elif said in ")]":
            self._close("(" if said == ")" else "[", place)
        elif said == ":" and self.frames:
            self.frames[-1].colons.append(place)
        elif said == "|":
            self.stray_pipes += 1
            if self.frames:
                self.frames[-1].pipes.append(place)

    def _close(self, bracket: str, place: int) -> None:
        """A bracket that closes nothing is text, and so is every one that would lie around it."""
        frame = self.frames.pop() if self.frames and self.frames[-1].bracket == bracket else None
        if frame is None or not self._makes_sense(frame, place):
            self.frames.clear()

    def _makes_sense(self, frame: _Frame, end: int) -> bool:
        if frame.bracket == "(":
            return len(frame.colons) <= 1 and not frame.pipes
        if frame.pipes:
            if not frame.colons:
                self.stray_pipes -= len(frame.pipes)
                self.found.append(Alternation(frame.start, end + 1, _between([frame.start, *frame.pipes, end])))
            return not frame.colons
        if not frame.colons:
            return True
        when = WHEN.fullmatch(self.prompt, frame.colons[-1] + 1, end)
        if when is None or len(frame.colons) > 2:
            return False
        *before, after = _between([frame.start, *frame.colons])
        self.found.append(Switch(frame.start, end + 1, before[0] if before else (frame.start, frame.start), after, when[1]))
        return True


def groups(prompt: str) -> tuple[Group, ...]:
    """In the order of their beginnings; () where nothing in the prompt is scheduled."""
    if "[" not in prompt:
        return ()
    grammar = _Grammar(prompt)
    for said, place in _tokens(prompt):
        if said == "\\":  # before the end of a line or of the prompt: it escapes nothing, and A1111's grammar fails
            return ()
        grammar.read(said, place)
    return () if grammar.stray_pipes else tuple(sorted(grammar.found, key=lambda group: group.start))


def _tokens(prompt: str) -> Iterator[tuple[str, int]]:
    for found in TOKEN.finditer(prompt):
        yield found[0], found.start()


def _between(places: list[int]) -> tuple[Slice, ...]:
    return tuple((a + 1, b) for a, b in itertools.pairwise(places))
