"""Words that embeddings bring (textual inversion, Gal et al. 2022): where a text's tokens spell the name of one, its vectors take their place."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sd_ui.prompt.chunks import Coined
from sd_ui.spec.cards import INVERSION, TITLES, ModelCard

PREFIX = "embedding:"  # ComfyUI's; A1111 has none
ENDINGS = ("", ".safetensors", ".pt", ".bin")  # that ComfyUI's users write
PREFIXED = re.compile(r"embedding:(?=([^\s,()\[\]:<>|{}\\]*[^\s,()\[\]:<>|{}\\.;]))", re.IGNORECASE)
GENERIC = "learned_embeds"  # what diffusers calls every file of the kind: the folder's name tells them apart
HIDING = str.maketrans("", "", "\\")  # what a prompt may have between the letters of a name

Ids = Callable[[str], Sequence[int]]
Spelled = tuple[tuple[int, ...], Coined]


@dataclass(frozen=True)
class Entry:
    """One embedding. names: that call it. misfit: why the model cannot read it, in words; "" where it can."""

    word: Coined
    names: tuple[str, ...]
    misfit: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """The embeddings that there are, for one model, in the order in which they get a name that several have."""

    entries: tuple[Entry, ...] = ()

    def within(self, text: str, ids: Ids) -> Callable[[str], Sequence[int | Coined]]:
        """`ids` for pieces of this text, with coined words in the place of their names' tokens; the longest name first, as in A1111."""
        known = _spelled((entry for entry in self._mentioned(text) if not entry.misfit), ids)
        return (lambda piece: list(_read(ids(piece), known))) if known else ids

    def strangers(self, text: str, ids: Ids) -> tuple[Entry, ...]:
        """Those that a text names, and that the model cannot read: they are words like any others."""
        mentioned = self._mentioned(text)
        unfit = {entry.word: entry for entry in mentioned if entry.misfit}
        if not unfit:
            return ()
        known = _spelled((*(entry for entry in mentioned if not entry.misfit), *unfit.values()), ids)
        found = (unfit.get(id) for id in _read(ids(text), known) if isinstance(id, Coined))
        return tuple(dict.fromkeys(entry for entry in found if entry))

    def unknown(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where a text says "embedding:" of something that is not here: start, end, and the name."""
        names = tuple(name.casefold() for entry in self.entries for name in entry.names)
        for found in PREFIXED.finditer(text):
            if not text[found.end() :].casefold().startswith(names):
                yield found.start(), found.end(1), found[1]

    def at_most(self, text: str) -> int:
        """Tokens that a text can have more than its plain ones, whoever counts."""
        plain = _plain(text)
        return sum(max(plain.count(_plain(name)) for name in entry.names) * entry.word.vectors for entry in self._mentioned(text))

    def _mentioned(self, text: str) -> list[Entry]:
        """Those whose names' letters stand in a text, which is quickly asked of thousands; the tokens decide."""
        plain = _plain(text)
        return [entry for entry in self.entries if any(_plain(name) in plain for name in entry.names)]


def vocabulary(cards: Iterable[ModelCard], widths: tuple[int, ...], size: int) -> Vocabulary:
    """widths: of the model's text encoders. size: tokens that they take at once. Of two with one name that both fit, the first has it."""
    usable = ((card, card.inversion) for card in cards if card.kind == INVERSION and card.inversion and not card.fault)
    return Vocabulary(tuple(Entry(Coined(card.name, facts.vectors), names(card), misfit(card, widths, size)) for card, facts in usable))


def names(card: ModelCard) -> tuple[str, ...]:
    """The name in the index, the file's own, and the word that its maker trained it with."""
    token = card.inversion.token if card.inversion else ""
    return tuple(name for name in dict.fromkeys((card.name, called(card), token)) if _plain(name))


def called(card: ModelCard) -> str:
    """As A1111 calls it."""
    return card.path.parent.name if card.path.stem.casefold() == GENERIC else card.path.stem


def misfit(card: ModelCard, widths: tuple[int, ...], size: int) -> str:
    """Why a model's text encoders cannot read it. A refiner, which has the second encoder alone, reads the half that is for it."""
    facts = card.inversion
    assert facts is not None
    if not widths or facts.widths[-len(widths) :] != widths:
        made_for = TITLES.get(card.family) or "text encoders of width " + " and ".join(map(str, facts.widths))
        return f"it is for {made_for}"
    return f"its {facts.vectors} vectors are more than the {size} words that the model reads at once" if facts.vectors > size else ""


def escaped(name: str) -> str:
    """As a prompt must say it, so that its brackets are no weights."""
    return re.sub(r"([()\[\]{}])", r"\\\1", name)


# ---------------------------------------------------------------- spelling
def _spelled(entries: Iterable[Entry], ids: Ids) -> dict[int, list[Spelled]]:
    """By the first token of a name; the longest first, and each name once."""
    found: dict[tuple[int, ...], Coined] = {}
    for entry in entries:
        for name in entry.names:
            for spelling in (name, *(PREFIX + name + ending for ending in ENDINGS)):
                if key := tuple(ids(spelling)):
                    found.setdefault(key, entry.word)
    by_first: dict[int, list[Spelled]] = {}
    for key in sorted(found, key=len, reverse=True):
        by_first.setdefault(key[0], []).append((key, found[key]))
    return by_first


def _read(ids: Sequence[int], known: dict[int, list[Spelled]]) -> Iterator[int | Coined]:
    ids, place = tuple(ids), 0
    while place < len(ids):
        match = next((one for one in known.get(ids[place], ()) if ids[place : place + len(one[0])] == one[0]), None)
        yield match[1] if match else ids[place]
        place += len(match[0]) if match else 1


def _plain(text: str) -> str:
    """Without what a tokenizer, or the rest of the language, does not see."""
    return "".join(text.translate(HIDING).split()).casefold()
