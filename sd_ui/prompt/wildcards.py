"""What a template becomes with a seed: wildcards and variants chosen, variables filled in.

Written here and not taken from the dynamicprompts library: that one parses with pyparsing, by recursion and without bounds, so that nested
braces of a stranger end in a RecursionError and lists that name each other in a process without an end; and it brings jinja2.
"""

import fnmatch
import itertools
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sd_ui.prompt import variants
from sd_ui.prompt.variants import Assign, Fault, Group, Item, Items, Line, Option, Read, Template, Wildcard
from sd_ui.spec.values import unknown

LONGEST = 32_000  # characters of a resolved prompt, as of any prompt
MOST_ITEMS = 100_000  # looked at on the way, so that lists that grow each other come to an end
DEEPEST = 50  # wildcards inside wildcards


class Unresolvable(ValueError):
    """fault: where in the template, and why, in words."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.why)
        self.fault = fault


class Wildcards(Protocol):
    def names(self) -> Sequence[str]: ...
    def lines(self, name: str) -> Sequence[str]: ...


def resolved(text: str, seed: int, wildcards: Wildcards, stream: str = "prompt") -> str:
    """The same text, seed and files give the same result, on every machine. stream: "negative_prompt" chooses independently of "prompt".

    A text without anything to choose comes back as it is. Raises Unresolvable.
    """
    template = parsed(text)
    return text if template.fixed else chosen(template, seed, wildcards, stream)


def chosen(template: Template, seed: int, wildcards: Wildcards, stream: str = "prompt") -> str:
    """What `resolved` makes of a text, for one that is needed with many seeds."""
    return _Writer(wildcards, random.Random(f"{stream} {seed}")).written(template.items)


def parsed(text: str) -> Template:
    """Raises Unresolvable for what nothing can be chosen from."""
    template = variants.parse(text)
    if fatal := next((fault for fault in template.faults if fault.fatal), None):
        raise Unresolvable(fatal)
    return template


def unknown_names(text: str, wildcards: Wildcards) -> list[Fault]:
    """Those that stand in the text itself."""
    known = {name.casefold(): name for name in wildcards.names()} if "__" in text else {}
    return [fault for item in _walked(variants.parse(text).items) if isinstance(item, Wildcard) if (fault := _fault_of(item, known))]


def matching(name: str, known: Mapping[str, str]) -> list[str]:
    """known: names by their lower case. A whole name, a pattern with *, or the end of a path that only one name has."""
    asked = name.casefold()
    if asked in known:
        return [known[asked]]
    if "*" in asked:
        return sorted(known[each] for each in fnmatch.filter(known, asked))
    ends = [known[each] for each in known if each.endswith(f"/{asked}")]
    return ends if len(ends) == 1 else []


def _fault_of(item: Wildcard, known: Mapping[str, str]) -> Fault | None:
    if matching(item.name, known):
        return None
    listed = unknown(item.name, known.values()) if known else f"{item.name!r} is not known; there are no wildcard files"
    return Fault(item.start, item.end, f"the wildcard {listed}")


def _walked(items: Items) -> Iterator[Item]:
    waiting = [iter(items)]
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
            continue
        yield item
        waiting += [iter(inside) for inside in _inside(item)]


def _inside(item: Item) -> list[Items]:
    match item:
        case Group(options):
            return [option.items for option in options]
        case Assign(value=value):
            return [value]
        case Read(default=default):
            return [default or ()]
        case variants.Sequence(items):
            return [items]
    return []


# ---------------------------------------------------------------- choosing
@dataclass
class _Task:
    """Items that are being written. wildcard: whose line they are; into: the variable that gets what is written."""

    items: Iterator[Item]
    wildcard: str = ""
    into: str = ""


@dataclass
class _Writer:
    """One template with one seed. Tasks wait on a stack instead of in recursion."""

    wildcards: Wildcards
    chance: random.Random
    tasks: list[_Task] = field(default_factory=list)
    outs: list[list[str]] = field(default_factory=lambda: [[]])
    variables: dict[str, Items] = field(default_factory=dict)
    read: dict[str, "_Choice"] = field(default_factory=dict)
    known: dict[str, str] | None = None
    length: int = 0
    looked: int = 0

    def written(self, items: Items) -> str:
        self.tasks.append(_Task(iter(items)))
        while self.tasks:
            item = next(self.tasks[-1].items, None)
            if item is None:
                self._end(self.tasks.pop())
            else:
                self._count(item)
                self._write(item)
        return "".join(self.outs[0])

    def _count(self, item: Item) -> None:
        self.looked += 1
        self.length += len(item) if isinstance(item, str) else 0
        if self.looked > MOST_ITEMS or self.length > LONGEST:
            raise Unresolvable(Fault(0, 0, f"wildcards make it longer than {LONGEST} characters, or never come to an end"))

    def _end(self, task: _Task) -> None:
        if task.into:
            self.variables[task.into] = ("".join(self.outs.pop()),)

    def _write(self, item: Item) -> None:
        match item:
            case str():
                self.outs[-1].append(item)
            case variants.Sequence(items):
                self.tasks.append(_Task(iter(items)))
            case Line(text):
                self.tasks.append(_Task(iter(parsed(text).items)))
            case Group():
                self._choose(item)
            case Wildcard():
                self._line(item, 1, 1, "")
            case Assign(name, value, now):
                self._assign(name, value, now)
            case Read():
                self._recall(item)

    # ------------------------------------------------------------ groups
    def _choose(self, group: Group) -> None:
        """A single wildcard in braces with a number means so many of its lines."""
        first = group.options[0].items
        if len(group.options) == 1 and len(first) == 1 and isinstance(first[0], Wildcard):
            self._line(first[0], group.low, group.high, group.separator)
            return
        self._draw(_Choice(group.options), group.low, group.high, group.separator, "")

    def _draw(self, choice: "_Choice", low: int, high: int, separator: str, wildcard: str) -> None:
        high = min(high, len(choice.options))
        low = min(low, high)
        count = low + int(self.chance.random() * (high - low + 1))
        for i, items in reversed(list(enumerate(self._drawn(choice, count)))):
            self.tasks.append(_Task(iter(items), wildcard))
            if i:
                self.tasks.append(_Task(iter((separator,))))

    def _drawn(self, choice: "_Choice", count: int) -> Iterator[Items]:
        """So many different ones, by weight."""
        while count:
            place = choice.place(self.chance.random())
            yield choice.options[place].items
            count -= 1
            if count:
                choice = choice.without(place)
                self.looked += len(choice.options) // 10

    # ------------------------------------------------------------ wildcards and variables
    def _line(self, item: Wildcard, low: int, high: int, separator: str) -> None:
        around = [task.wildcard for task in self.tasks if task.wildcard]
        if item.name in around or len(around) > DEEPEST:
            circle = " → ".join([*around, item.name][:8])
            raise Unresolvable(Fault(item.start, item.end, f"wildcards name each other in a circle: {circle}"))
        self._draw(self._options(item), low, high, separator, item.name)

    def _options(self, item: Wildcard) -> "_Choice":
        if item.name not in self.read:
            if self.known is None:
                self.known = {name.casefold(): name for name in self.wildcards.names()}
            if fault := _fault_of(item, self.known):
                raise Unresolvable(fault)
            lines = [line for name in matching(item.name, self.known) for line in self.wildcards.lines(name)]
            if not lines:
                raise Unresolvable(Fault(item.start, item.end, f"the wildcard {item.name!r} is an empty file"))
            self.read[item.name] = _Choice(tuple(Option((Line(text),), weight) for text, weight in map(variants.weighed, lines)))
        return self.read[item.name]

    def _assign(self, name: str, value: Items, now: bool) -> None:
        if now:
            self.outs.append([])
            self.tasks.append(_Task(iter(value), into=name))
        else:
            self.variables[name] = value

    def _recall(self, item: Read) -> None:
        value = self.variables.get(item.name, item.default)
        if value is None:
            raise Unresolvable(Fault(item.start, item.end, f"the variable ${{{item.name}}} has no value; give it one before: ${{{item.name}=...}}"))
        self.tasks.append(_Task(iter(value)))


class _Choice:
    """Options, and their weights added up. Raises Unresolvable where all of them are 0."""

    def __init__(self, options: tuple[Option, ...]) -> None:
        self.options = options
        self._sums = list(itertools.accumulate(option.weight for option in options))
        if not self._sums[-1] > 0:
            raise Unresolvable(Fault(0, 0, "there is nothing to choose: all weights of a choice are 0"))

    def place(self, point: float) -> int:
        """point: 0 <= point < 1, of the whole weight."""
        last = bisect_right(self._sums, self._sums[-1]) - 1
        return min(bisect_right(self._sums, point * self._sums[-1]), last)

    def without(self, place: int) -> "_Choice":
        return _Choice(self.options[:place] + self.options[place + 1 :])
