"""AND: a prompt of several texts, each with its own prediction and weight (Liu et al. 2022, Composable Diffusion)."""

import re
from dataclasses import dataclass

AND = re.compile(r"\bAND\b")
NUMBER = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


@dataclass(frozen=True)
class Part:
    """start, end: where it stands in the prompt, with its weight."""

    text: str
    weight: float
    start: int
    end: int


def split(prompt: str) -> tuple[Part, ...]:
    """At least one part. A colon and a number at the end of a part are its weight, with or without AND, as in AUTOMATIC1111."""
    found = list(AND.finditer(prompt))
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(prompt)]
    return tuple(_part(prompt, start, end) for start, end in zip(starts, ends, strict=True))


def _part(prompt: str, start: int, end: int) -> Part:
    text = prompt[start:end].rstrip()
    before, colon, number = text.rpartition(":")
    if colon and NUMBER.fullmatch(number.lstrip()):
        return Part(before.rstrip(), float(number), start, end)
    return Part(text, 1.0, start, end)
