"""What is wrong in a prompt, and where: for the page, which underlines it. Most of it is no error, but not what its writer had in mind."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sd_ui.prompt import attention, composition, networks, schedule, variants
from sd_ui.prompt.comments import masked
from sd_ui.prompt.wildcards import Wildcards, unknown_names

HEAVIEST = 1000.0  # of a word's weight, and of a part's; a picture is lost long before
MOST_GROUPS = 500  # places that change during a run: each is looked at for every step
MOST_PARTS = 16  # joined by AND: each is a call of the model at every step


@dataclass(frozen=True)
class Problem:
    """start, end: in the prompt as it was written. fatal: the prompt cannot be used."""

    start: int
    end: int
    why: str
    fatal: bool = False


def found(prompt: str, steps: int = 0, negative: bool = False, emphasis: str = "Original", wildcards: Wildcards | None = None) -> tuple[Problem, ...]:
    """In the order of their places, each once. steps: of the run, where they are known. In time proportional to the prompt; never raises."""
    text = masked(prompt) if negative else _bare(prompt)
    checks: list[Callable[[], Iterator[Problem]]] = [
        lambda: _brackets(text) if emphasis != "None" else iter(()),
        lambda: _weights(text, emphasis, negative),
        lambda: _schedules(text, steps),
        lambda: _parts(text, negative),
        lambda: _choices(masked(prompt), wildcards),
    ]
    said = {problem for check in checks for problem in check()}
    return tuple(sorted(said, key=lambda problem: (problem.start, problem.end, problem.why)))


def _bare(prompt: str) -> str:
    """With spaces where comments and network tags are, so that what is left stands where it stood."""
    text = masked(prompt)
    kept, place = [], 0
    for tag in networks.extract(text).loras:
        kept += [text[place : tag.start], " " * (tag.end - tag.start)]
        place = tag.end
    return "".join([*kept, text[place:]])


# ---------------------------------------------------------------- brackets and weights
def _brackets(text: str) -> Iterator[Problem]:
    """Each kind for itself, as attention reads them."""
    open_: dict[str, list[attention.Mark]] = {"(": [], "[": []}
    for mark in attention.marks(text):
        if mark.kind in open_:
            open_[mark.kind].append(mark)
        elif mark.kind in ")]":
            bracket = "(" if mark.kind == ")" else "["
            if open_[bracket]:
                open_[bracket].pop()
            else:
                yield Problem(mark.start, mark.end, f"this {mark.kind} closes nothing; it is read as a character")
    for bracket, marks in open_.items():
        for mark in marks:
            yield Problem(mark.start, mark.end, f"this {bracket} is never closed; it reaches to the end")


def _weights(text: str, emphasis: str, negative: bool) -> Iterator[Problem]:
    parts = [composition.Part(text, 1.0, 0, len(text))] if negative else composition.split(text)
    for part in parts:
        if not abs(part.weight) <= HEAVIEST:
            yield Problem(part.start, part.end, f"the weight {part.weight:g} is out of range (-{HEAVIEST:g} to {HEAVIEST:g})", fatal=True)
        for piece in attention.parse(part.text, emphasis):
            start, end = part.start + piece.start, part.start + piece.end
            if not abs(piece.weight) <= HEAVIEST:
                shown = f"{piece.weight:g}" if math.isfinite(piece.weight) else "infinite"
                yield Problem(start, end, f"the weight {shown} is out of range (-{HEAVIEST:g} to {HEAVIEST:g})", fatal=True)
            if attention.BREAK in piece.text and not piece.is_break:
                yield from _breaks(text, start, end)


def _breaks(text: str, start: int, end: int) -> Iterator[Problem]:
    for word in attention.BREAKS.finditer(text, start, end):
        yield Problem(*word.span(), "BREAK inside brackets is read as a word, as in A1111; write it outside of them")


# ---------------------------------------------------------------- schedules and parts
def _schedules(text: str, steps: int) -> Iterator[Problem]:
    groups = schedule.groups(text)
    if len(groups) > MOST_GROUPS:
        first = groups[MOST_GROUPS]
        yield Problem(first.start, first.end, f"{len(groups)} places that change during a run are too many (at most {MOST_GROUPS})", fatal=True)
    for group in groups:
        if isinstance(group, schedule.Switch) and steps:
            step = group.step(steps, 0)
            if step >= steps:
                yield Problem(group.start, group.end, f"{group.when} is not reached in {steps} steps{_share(group.when)}: the text never changes")
    if not groups and "|" in text and schedule.groups(text.replace("|", " ")):
        place = text.index("|")
        yield Problem(place, place + 1, "a | outside of [a|b] keeps A1111's grammar from reading any [from:to:when]; nothing is scheduled")


def _share(when: str) -> str:
    return " (with a dot it is a share of them: 0.5 is half)" if "." in when else ""


def _parts(text: str, negative: bool) -> Iterator[Problem]:
    found = list(composition.AND.finditer(text))
    if negative:
        for word in found:
            yield Problem(*word.span(), "AND is only a word in a negative prompt")
        for tag in networks.extract(text).loras:
            yield Problem(tag.start, tag.end, "a network tag is only text in a negative prompt, as in A1111")
    elif len(found) >= MOST_PARTS:
        place = found[MOST_PARTS - 1].start()
        yield Problem(place, place + 3, f"{len(found) + 1} parts joined by AND are too many (at most {MOST_PARTS})", fatal=True)
    elif not found and (part := composition.split(text)[0]).weight != 1 and abs(part.weight) <= HEAVIEST:
        start = len(part.text)
        yield Problem(start, len(text.rstrip()), f"a number at the end weighs the whole prompt: {part.weight:g}")


def _choices(text: str, wildcards: Wildcards | None) -> Iterator[Problem]:
    for fault in variants.parse(text).faults:
        yield Problem(fault.start, fault.end, fault.why, fault.fatal)
    for fault in unknown_names(text, wildcards) if wildcards else ():
        yield Problem(fault.start, fault.end, fault.why, fatal=True)
