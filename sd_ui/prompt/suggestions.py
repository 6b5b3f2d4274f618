"""What a word in a prompt may become: LoRAs, embeddings, styles, wildcards and tags by name, for the page's list below the caret."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from sd_ui.prompt import coined, completion
from sd_ui.prompt.completion import NETWORK, WILDCARD, Typed, typed
from sd_ui.prompt.tags import Tag, TagFiles
from sd_ui.prompt.wording import Wording
from sd_ui.spec.cards import INVERSION, LORA, ModelCard

MOST = 20  # that are offered at a time
LOOKED_AT = 300  # LoRAs of a fitting name that are held against the model, of which each costs some time
EMOTICON = 3  # characters up to which an underscore is part of a face, such as ^_^

Cards = Callable[[], Mapping[str, ModelCard]]
Fits = Callable[[str, ModelCard], bool]  # whether a checkpoint can use a network


@dataclass(frozen=True)
class Suggestion:
    """kind: what it is, in a word. name: as it is shown. insert: what takes the place of what was typed; a style is chosen instead."""

    kind: str
    name: str
    insert: str
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """length: characters before the caret that are replaced. sure: that nothing but a name can be meant, so that Enter may take the first."""

    length: int = 0
    found: tuple[Suggestion, ...] = ()
    sure: bool = False


class Suggestions:
    """cards: of the models as they are now. fits: whether a checkpoint can use a LoRA or an embedding."""

    def __init__(self, cards: Cards, fits: Fits, wording: Wording, tags: TagFiles) -> None:
        self._cards, self._fits, self._wording, self._tags = cards, fits, wording, tags

    def of(self, before: str, model: str, negative: bool = False) -> Answer:
        """before: the text up to the caret, or its last part. Never raises."""
        for each in typed(before):
            if found := tuple(islice(self._found(each, model, negative), MOST)):
                return Answer(each.length, found, each.kind != completion.WORD)
        return Answer()

    def _found(self, asked: Typed, model: str, negative: bool) -> Iterator[Suggestion]:
        if asked.kind == WILDCARD:
            yield from (Suggestion("wildcard", name, f"__{name}__") for name in matching(asked.asked, self._wording.wildcards.names()))
        elif asked.kind == NETWORK:
            yield from () if negative else self._loras("" if "lora:".startswith(asked.asked.casefold()) else asked.asked, model)
            yield from () if asked.lora else self._embeddings(asked.asked, model)
            yield from () if asked.lora else self._styles(asked.asked)
        else:
            yield from self._embeddings(asked.asked, model)
            yield from (suggested(tag) for tag in self._tags.now().found(asked.asked, MOST))

    def _loras(self, asked: str, model: str) -> Iterator[Suggestion]:
        cards = [card for card in self._cards().values() if card.kind == LORA and not card.fault]
        stems = Counter(card.path.stem.casefold() for card in cards)
        names = {card.path.stem if stems[card.path.stem.casefold()] == 1 else card.name: card for card in cards}
        said = {name: " ".join((name, card.beside.title, *card.triggers)) for name, card in names.items() if not set(name) & set("<>:")}
        for name in islice(matching(asked, said, said), LOOKED_AT):
            card = names[name]
            if self._fits(model, card):
                yield Suggestion("LoRA", name, f"<lora:{name}:{card.beside.weight or 1:g}>", ", ".join(card.triggers[:3]))

    def _embeddings(self, asked: str, model: str) -> Iterator[Suggestion]:
        names: dict[str, list[ModelCard]] = {}  # one for each family may have the same name
        for card in self._cards().values():
            if card.kind == INVERSION and not card.fault:
                names.setdefault(coined.called(card), []).append(card)
        for name in matching(asked, names):
            if any(self._fits(model, card) for card in names[name]):
                yield Suggestion("embedding", name, coined.escaped(name))

    def _styles(self, asked: str) -> Iterator[Suggestion]:
        styles = self._wording.styles()
        for name in matching(asked, styles):
            yield Suggestion("style", name, "", styles[name].prompt or styles[name].negative_prompt)


def matching(asked: str, names: Iterable[str], said: Mapping[str, str] | None = None) -> list[str]:
    """Those with all the words asked for, in what is `said` of them where it is given. Names that begin so come first, those that hold it next."""
    words, whole = asked.casefold().split(), asked.casefold().strip()
    fitting = [name for name in names if all(word in (said[name] if said else name).casefold() for word in words)]
    return sorted(fitting, key=lambda name: (not name.casefold().startswith(whole), whole not in name.casefold()))


def suggested(tag: Tag) -> Suggestion:
    """As it is written in prompts: with spaces, and with brackets that are no weights."""
    text = tag.name if len(tag.name) <= EMOTICON else tag.name.replace("_", " ")
    facts = [f"also {tag.alias}"] * bool(tag.alias) + [shortened(tag.count)] * bool(tag.count)
    return Suggestion("tag", text, coined.escaped(text), " · ".join(facts))


def shortened(count: int) -> str:
    """1234567 as 1.2M."""
    return next((f"{count / unit:.3g}{letter}" for unit, letter in ((10**6, "M"), (10**3, "k")) if count >= unit), str(count))
