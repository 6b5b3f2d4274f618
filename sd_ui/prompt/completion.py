"""What somebody is in the middle of writing: the name of a network, of a wildcard, or a word. Of the text before the caret alone."""

import re
from dataclasses import dataclass

NETWORK, WILDCARD, WORD = "network", "wildcard", "word"
SHORTEST = 2  # characters of a word that is completed
MOST_WORDS = 4  # of a name that is looked for, such as "very long blue hair"

TAG = re.compile(r"<(?:(lora|lyco):)?([^<>:,\n]*)$", re.IGNORECASE)
WHOLE = re.compile(r"__[^\s_](?:[^\n]*?[^\s])?__")  # a wildcard that is there already
OPEN = re.compile(r"__((?:[^\s_{}|$<>,()\[\]:]|_(?!_))*)$")
PART = re.compile(r"[^,()\[\]{}|<>:\n]*$")  # since the last mark that ends a name


@dataclass(frozen=True)
class Typed:
    """kind: of what may follow. asked: what there is of its name. length: characters before the caret that it takes the place of.

    lora: that a network can be nothing else.
    """

    kind: str
    asked: str
    length: int
    lora: bool = False


def typed(before: str) -> tuple[Typed, ...]:
    """What it may be, the longest first; () for nothing that has a name."""
    line = before[before.rfind("\n") + 1 :]
    if tag := TAG.search(line):
        return (Typed(NETWORK, tag[2].strip(), len(tag[0]), bool(tag[1])),)
    if wildcard := OPEN.search(WHOLE.sub(lambda found: " " * len(found[0]), line)):
        return (Typed(WILDCARD, wildcard[1], len(wildcard[0])),)
    return tuple(_words(line))


def _words(line: str) -> list[Typed]:
    """The last words of a part, as many as a name may have: "a girl with red ha" may mean "red hair" or "hair"."""
    found = PART.search(line)
    part = found[0] if found else ""
    starts = [word.start() for word in re.finditer(r"\S+", part)][-MOST_WORDS:]
    asked = [part[start:] for start in starts] if part and not part[-1].isspace() else []
    return [Typed(WORD, each, len(each)) for each in asked if is_word(each)]


def is_word(text: str) -> bool:
    """No weight, and no wildcard that is complete."""
    return sum(map(str.isalnum, text)) >= SHORTEST and "__" not in text and not re.fullmatch(r"[-+.\d]+", text)
