"""Finding a model among thousands: by words, kind, family and star."""

from collections.abc import Mapping
from dataclasses import dataclass

from sd_ui.models.hashes import SHORT
from sd_ui.spec.cards import ModelCard


@dataclass(frozen=True)
class Query:
    """text: words that must all be there. kind, family: "" for any. starred: those with a star alone."""

    text: str = ""
    kind: str = ""
    family: str = ""
    starred: bool = False


def found(cards: Mapping[str, ModelCard], hashes: Mapping[str, str], query: Query) -> list[ModelCard]:
    """Those with a star first, those that cannot be used last, else as they stand in the index. hashes: by name, where they are known."""
    words = query.text.casefold().split()
    fitting = [card for card in cards.values() if _fits(card, query) and all(word in _text(card, hashes.get(card.name, "")) for word in words)]
    return sorted(fitting, key=lambda card: (not card.own.starred, bool(card.fault)))


def _fits(card: ModelCard, query: Query) -> bool:
    return query.kind in ("", card.kind) and query.family in ("", card.family) and (card.own.starred or not query.starred)


def _text(card: ModelCard, sha256: str) -> str:
    beside = card.beside
    said = (card.name, card.title, card.family, beside.title, beside.base, *card.triggers, beside.notes, card.own.notes, sha256[:SHORT])
    return "\n".join(said).casefold()
