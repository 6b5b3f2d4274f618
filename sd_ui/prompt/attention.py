"""Brackets that give words more weight or less: (a), (a:1.2), [a]. In time proportional to the text, however deep they nest."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sd_ui.spec.request import EMPHASES

MORE, LESS = 1.1, 1 / 1.1
BREAK, BREAKING = "BREAK", -1.0
DEEPEST = 100  # brackets whose factors are multiplied in A1111's order, from the inside; beyond it the last bit may differ

TOKEN = re.compile(r"\\[()\[\]\\]|\\|[()\[\]]|:(?:\s*[+-]?[.\d]+\s*\))?|[^\\()\[\]:]+")
BREAKS = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Piece:
    """Text of one weight, as a tokenizer gets it. start, end: where it stands in what was parsed, from its first character to its last."""

    text: str
    weight: float
    start: int
    end: int

    @property
    def is_break(self) -> bool:
        """The rest of the chunk stays empty. Inside brackets the word is a word, with a negative weight: that is how A1111 reads it."""
        return self.text == BREAK and self.weight == BREAKING


@dataclass(frozen=True)
class Mark:
    """One token of the grammar. kind: the bracket, or "text". factor: of a ")" that says one."""

    kind: str
    text: str
    start: int
    end: int
    factor: float | None = None


def parse(text: str, emphasis: str = EMPHASES[0]) -> tuple[Piece, ...]:
    """At least one piece; neighbours of equal weight are one. What is not closed reaches to the end. Never raises.

    The rules are those of AUTOMATIC1111's `parse_prompt_attention`, except that a factor that is no number, such as 1.2.3, is text.
    emphasis "None" reads no brackets, "Ignore" reads them as weight 1.
    """
    if emphasis == "None":
        return (Piece(text, 1.0, 0, len(text)),)
    pieces = _merged(_weighed(list(marks(text))))
    if emphasis != "Ignore":
        return tuple(pieces) or (Piece("", 1.0, 0, 0),)
    return tuple(Piece(piece.text, BREAKING if piece.is_break else 1.0, piece.start, piece.end) for piece in pieces) or (Piece("", 1.0, 0, 0),)


def marks(text: str) -> Iterator[Mark]:
    for found in TOKEN.finditer(text):
        said, start, end = found[0], *found.span()
        if said[0] == "\\":
            yield Mark("text", said[1:], start, end)
        elif said in "()[]":
            yield Mark(said, said, start, end)
        elif said[0] == ":" and len(said) > 1:
            yield from _factor(said, start, end)
        else:
            yield Mark("text", said, start, end)


def _factor(said: str, start: int, end: int) -> Iterator[Mark]:
    try:
        yield Mark(")", said, start, end, float(said[1:-1]))
    except ValueError:
        yield Mark("text", said[:-1], start, end - 1)
        yield Mark(")", ")", end - 1, end)


# ---------------------------------------------------------------- weights
@dataclass
class _Open:
    """The open brackets of one kind, from the outside: which is closed when and what it multiplies by; and the products so far."""

    factors: list[tuple[int, float]] = field(default_factory=list)
    products: list[float] = field(default_factory=lambda: [1.0])

    def push(self, closing: tuple[int, float]) -> None:
        self.factors.append(closing)
        self.products.append(self.products[-1] * closing[1])

    def pop(self) -> None:
        self.factors.pop()
        self.products.pop()


def closings(found: list[Mark]) -> tuple[dict[int, tuple[int, float]], set[int]]:
    """For each opening bracket, by its index: when it is closed, in order, and its factor. And the indexes of brackets that close one.

    Round and square brackets do not know of each other: "(a [b) c]" is two ranges that overlap.
    """
    open_: dict[str, list[int]] = {"(": [], "[": []}
    closed: dict[int, tuple[int, float]] = {}
    closing = set()
    for i, mark in enumerate(found):
        if mark.kind in open_:
            open_[mark.kind].append(i)
        elif mark.kind in ")]" and (stack := open_["(" if mark.kind == ")" else "["]):
            factor = LESS if mark.kind == "]" else MORE if mark.factor is None else mark.factor
            closed[stack.pop()] = (len(closed), factor)
            closing.add(i)
    for kind, factor in (("(", MORE), ("[", LESS)):
        for i in open_[kind]:
            closed[i] = (len(closed), factor)
    return closed, closing


def _weighed(found: list[Mark]) -> Iterator[Piece]:
    closed, closing = closings(found)
    open_ = {"(": _Open(), "[": _Open()}
    for i, mark in enumerate(found):
        if mark.kind in open_:
            open_[mark.kind].push(closed[i])
        elif i in closing:
            open_["(" if mark.kind == ")" else "["].pop()
        elif mark.text == "" or mark.text[0] == ":" or mark.start + len(mark.text) < mark.end:  # escapes and colons hold no BREAK
            yield Piece(mark.text, _product(1.0, *open_.values()), mark.start, mark.end)
        else:
            yield from _broken(mark, *open_.values())


def _broken(mark: Mark, round_: _Open, square: _Open) -> Iterator[Piece]:
    """Text between breaks, without the spaces around them."""
    place, text = 0, mark.text
    weight = _product(1.0, round_, square)
    for found in BREAKS.finditer(text):
        before = text[place : found.start()]
        kept = (before.lstrip() if place else before).rstrip()
        yield Piece(kept, weight, mark.start + place, mark.start + found.start())
        yield Piece(BREAK, _product(BREAKING, round_, square), mark.start + found.start(), mark.start + found.end())
        place = found.end()
    yield Piece(text[place:].lstrip() if place else text, weight, mark.start + place, mark.end)


def _product(weight: float, round_: _Open, square: _Open) -> float:
    if len(round_.factors) + len(square.factors) > DEEPEST:
        return weight * round_.products[-1] * square.products[-1]
    for _, factor in sorted((*round_.factors, *square.factors)):
        weight *= factor
    return weight


def _merged(pieces: Iterator[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    run: list[Piece] = []
    for piece in pieces:
        if run and run[0].weight != piece.weight:
            merged.append(_joined(run))
            run = []
        run.append(piece)
    return [*merged, _joined(run)] if run else merged


def _joined(run: list[Piece]) -> Piece:
    return Piece("".join(piece.text for piece in run), run[0].weight, run[0].start, run[-1].end)
