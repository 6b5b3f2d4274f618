"""The grammar of prompts that are different each time: {a|b}, {2$$a|b|c}, {0.5::a|b}, __name__, ${name=...}. It chooses nothing."""

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

TOKEN = re.compile(r"\\.?|[${}|]|%(?=\{)|__|(?:[^\\${}|%_]|_(?!_)|%(?!\{))+", re.DOTALL)
NAME = re.compile(r"__([@~!]?)([^\W_](?:(?!__)[\w\-./* ]){0,98}|\*)__")
BOUNDS = re.compile(r"\s*(?:([0-9]{1,4})|([0-9]{0,4})-([0-9]{0,4}))\$\$(?:([^{}|$\\]{0,100})\$\$)?")
WEIGHT = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})::")
VARIABLE = re.compile(r"\$\{\s*([A-Za-z_]\w{0,63})\s*(?:(=!?|:)|(?=\}))")
SEPARATOR = ", "
ALL = 10_000  # options: as many as there are


@dataclass(frozen=True)
class Fault:
    """start, end: where it stands in the text. fatal: nothing can be chosen; otherwise it is read as text."""

    start: int
    end: int
    why: str
    fatal: bool = True


@dataclass(frozen=True)
class Option:
    items: "Items"
    weight: float = 1.0


@dataclass(frozen=True)
class Group:
    """low to high of the options are chosen, and none twice."""

    options: tuple[Option, ...]
    low: int = 1
    high: int = 1
    separator: str = SEPARATOR


@dataclass(frozen=True)
class Wildcard:
    """name: of a list, perhaps with * for any characters."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Assign:
    """now: the value is chosen once, here; otherwise anew wherever it is read."""

    name: str
    value: "Items"
    now: bool


@dataclass(frozen=True)
class Read:
    name: str
    default: "Items | None"
    start: int
    end: int


@dataclass(frozen=True)
class Sequence:
    """Items that belong together although nothing is chosen of them, such as braces around plain text."""

    items: "Items"


@dataclass(frozen=True)
class Line:
    """A line of a wildcard file, not parsed before it is chosen."""

    text: str


Item = str | Group | Wildcard | Assign | Read | Sequence | Line
Items = tuple[Item, ...]


@dataclass(frozen=True)
class Template:
    """fixed: nothing in it has to be chosen."""

    items: Items
    faults: tuple[Fault, ...]
    fixed: bool


def parse(text: str) -> Template:
    """In time proportional to the text, with a stack of its own instead of recursion. Never raises.

    The grammar is that of the dynamicprompts library, except that braces without | and $$ are plain text, as they are in A1111, and that a
    backslash makes the next character plain. What is not closed is text.
    """
    if not any(mark in text for mark in ("{", "__")):
        return Template((text,) if text else (), (), True)
    parser = _Parser(text)
    items = parser.parsed()
    return Template(items, tuple(parser.faults), not parser.chooses)


def weighed(line: str) -> tuple[str, float]:
    """A line of a wildcard file, and its weight: `0.5::text`."""
    found = WEIGHT.match(line)
    return (line[found.end() :].strip(), float(found[1])) if found else (line.strip(), 1.0)


@dataclass
class _Frame:
    """An open brace. opening: as it was written. raw: the beginning of each option, where it says a weight. fault: of a choice."""

    opening: str
    start: int
    end: Callable[[list[Option], int], Item]
    needs_choice: bool
    items: list[Item] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    weight: float = 1.0
    raw: list[str] = field(default_factory=list)
    wraps: bool = False
    fault: Fault | None = None


@dataclass
class _Parser:
    text: str
    faults: list[Fault] = field(default_factory=list)
    chooses: bool = False
    frames: list[_Frame] = field(default_factory=list)
    top: list[Item] = field(default_factory=list)
    wraps: bool = False
    dollars: list[int] | None = None

    def parsed(self) -> Items:
        place = 0
        while place < len(self.text):
            found = TOKEN.match(self.text, place)
            assert found is not None
            place = self._read(found[0], place, found.end())
        while self.frames:
            frame = self.frames.pop()
            self.faults.append(Fault(frame.start, frame.start + 1, "this { is never closed; it is read as text", fatal=False))
            self._items.append(self._plain(frame, ""))
        return tuple(self.top)

    @property
    def _items(self) -> list[Item]:
        return self.frames[-1].items if self.frames else self.top

    def _read(self, said: str, place: int, end: int) -> int:
        """Takes in the token, and says where the next one begins."""
        match said:
            case "{":
                return self._open(place)
            case "$" if found := VARIABLE.match(self.text, place):
                return self._open_variable(found)
            case "%":
                self.wraps = True
            case "}" if self.frames:
                self._close(end)
                return end
            case "|" if self.frames and self.frames[-1].needs_choice:
                self._next_option()
                return self._weight(end)
            case "__" if found := NAME.match(self.text, place):
                return self._wildcard(found)
        self._items.append(said)
        return end

    # ------------------------------------------------------------ braces
    def _open(self, place: int) -> int:
        bounds = BOUNDS.match(self.text, place + 1)
        end = bounds.end() if bounds else place + 1
        low, high, separator = _bounds(bounds) if bounds else (1, 1, SEPARATOR)
        sampler = self.text[end : end + 1]
        fault = Fault(end, end + 1, f"choosing with {sampler} is not supported: the seed decides") if sampler in ("@", "!") else None
        end += sampler == "~"  # at random: that is how it is here anyway

        def group(options: list[Option], _: int) -> Item:
            return Group(tuple(options), low, high, separator)

        self.frames.append(_Frame(self.text[place:end], place, group, True, wraps=self.wraps, fault=fault))
        self.wraps = False
        self.chooses |= bounds is not None
        return self._weight(end)

    def _open_variable(self, found: "re.Match[str]") -> int:
        name, sign = found[1], found[2] or ""

        def variable(options: list[Option], end: int) -> Item:
            value = options[0].items
            return Assign(name, value, sign == "=!") if "=" in sign else Read(name, value if sign else None, found.start(), end)

        self.frames.append(_Frame(found[0], found.start(), variable, False))
        self.chooses = True
        return found.end()

    def _weight(self, place: int) -> int:
        found, frame = WEIGHT.match(self.text, place), self.frames[-1]
        frame.weight = float(found[1]) if found else 1.0
        frame.raw.append(found[0] if found else "")
        self.chooses |= found is not None and bool(frame.options)
        return found.end() if found else place

    def _next_option(self) -> None:
        frame = self.frames[-1]
        frame.options.append(Option(tuple(frame.items), frame.weight))
        frame.items = []
        self.chooses = True

    def _close(self, end: int) -> None:
        frame = self.frames.pop()
        is_choice = frame.options or "$" in frame.opening
        if frame.wraps and self._has_dollars(frame.start, end):
            self.faults.append(Fault(frame.start - 1, frame.start + 1, "wrapping with %{...$$...} is not supported"))
            self.chooses = True
        if frame.needs_choice and not is_choice:
            self._items.append(self._plain(frame, "}"))
            return
        if frame.fault:
            self.faults.append(frame.fault)
        options = [*frame.options, Option(tuple(frame.items), frame.weight)]
        self._items.append(frame.end(options, end))

    def _has_dollars(self, start: int, end: int) -> bool:
        """Looked up instead of searched for: braces may nest 100,000 deep."""
        if self.dollars is None:
            self.dollars = [found.start() for found in re.finditer(r"\$\$", self.text)]
        return bisect_left(self.dollars, start) < bisect_left(self.dollars, end)

    def _plain(self, frame: _Frame, closing: str) -> Item:
        """A brace that is none, as it was written."""
        raw = frame.raw or [""]
        items: list[Item] = [frame.opening]
        for before, option in zip(raw, frame.options, strict=False):
            items += [before, *option.items, "|"]
        return Sequence((*items, raw[-1], *frame.items, closing))

    def _wildcard(self, found: "re.Match[str]") -> int:
        if found[1] in ("@", "!"):
            self.faults.append(Fault(*found.span(), f"choosing with {found[1]} is not supported: the seed decides"))
        self._items.append(Wildcard(found[2], *found.span()))
        self.chooses = True
        return found.end()


def _bounds(found: "re.Match[str]") -> tuple[int, int, str]:
    exact, low, high, separator = found.groups()
    if exact is not None:
        return int(exact), int(exact), SEPARATOR if separator is None else separator
    return int(low or 1), int(high or ALL), SEPARATOR if separator is None else separator
