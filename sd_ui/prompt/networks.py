"""The tags in a prompt that ask for a LoRA, as AUTOMATIC1111 writes them, and which LoRA a name means. It opens no file."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sd_ui.prompt.comments import masked
from sd_ui.spec.cards import LORA, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.values import unknown

TAG = re.compile(r"<(lora|lyco|hypernet):([^<>]*)(>?)", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
STRONGEST = 100.0  # of a weight; beyond it nothing but noise is left
FORM = "write <lora:name:0.8>, or <lora:name:text:unet> with one weight for the text encoder and one for the U-Net"


@dataclass(frozen=True)
class LoraTag:
    """name: as it was written. unet, text: how strongly it changes U-Net and text encoder. start, end: where the tag stands in the text.

    fault: why the tag makes no sense, in words; "" where it does.
    """

    name: str
    unet: float
    text: float
    start: int
    end: int
    fault: str = ""


@dataclass(frozen=True)
class Extracted:
    """text: without the tags, for the text encoder."""

    text: str
    loras: tuple[LoraTag, ...]


def extract(text: str) -> Extracted:
    """Never raises: what is wrong with a tag stands in it.

    The grammar is that of AUTOMATIC1111's `extra_networks.py` and `extra_networks_lora.py`: `<lora:name:text:unet>`, where a missing weight of
    the text encoder is 1 and a missing one of the U-Net is the text encoder's; `te=` and `unet=` name them; `lyco` means the same as `lora`.
    """
    found = list(TAG.finditer(text))
    ends = [0, *(match.end() for match in found)]
    starts = [*(match.start() for match in found), len(text)]
    return Extracted("".join(text[a:b] for a, b in zip(ends, starts, strict=True)), tuple(_tag(match) for match in found))


def asked(prompt: str) -> tuple[LoraTag, ...]:
    """What a prompt asks for: its tags outside of comments."""
    return extract(masked(prompt)).loras


def checked(tags: Iterable[LoraTag]) -> tuple[LoraTag, ...]:
    """Raises BadRequest("prompt") for the first tag that makes no sense."""
    tags = tuple(tags)
    for tag in tags:
        if tag.fault:
            raise BadRequest("prompt", tag.fault)
    return tags


def named(name: str, cards: Mapping[str, ModelCard]) -> ModelCard:
    """The LoRA of a name: its name in the index, else its file's, else the one it was trained under; letters' case does not matter.

    Raises BadRequest("prompt") with the nearest names, or with the names of all that could be meant.
    """
    loras = [card for card in cards.values() if card.kind == LORA]
    for called in (lambda card: card.name, lambda card: card.path.stem, lambda card: card.lora.alias if card.lora else ""):
        found = [card for card in loras if name and called(card).casefold() == name.casefold()]
        found = [card for card in found if called(card) == name] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest("prompt", f"the LoRA {name!r} could be any of {', '.join(card.name for card in found[:5])}; write one of these names")
    why = unknown(name, [card.name for card in loras]) if loras else f"{name!r} is not known; there are no LoRAs in the models folders"
    raise BadRequest("prompt", f"the LoRA {why}")


def resolved(tags: Iterable[LoraTag], cards: Mapping[str, ModelCard]) -> tuple[tuple[LoraTag, ModelCard], ...]:
    """Each LoRA once, in the order of first mention; the weights of several tags of it add up. Raises BadRequest("prompt")."""
    found: dict[str, tuple[LoraTag, ModelCard]] = {}
    for tag in checked(tags):
        card = named(tag.name, cards)
        first = found[card.name][0] if card.name in found else None
        found[card.name] = (tag if first is None else replace(first, unet=first.unet + tag.unet, text=first.text + tag.text)), card
    return tuple(found.values())


def _tag(match: "re.Match[str]") -> LoraTag:
    kind, inside, closed = match.groups()
    name, *arguments = inside.split(":")
    try:
        if kind.lower() == "hypernet":
            raise ValueError("hypernetworks are not supported, only LoRAs are")
        if not closed:
            raise ValueError(f"its > is missing; {FORM}")
        if not name.strip():
            raise ValueError(f"it has no name; {FORM}")
        unet, text = _weights(arguments)
    except ValueError as error:
        return LoraTag(name.strip(), 1.0, 1.0, match.start(), match.end(), f"{_shortened(match[0])}: {error}")
    return LoraTag(name.strip(), unet, text, match.start(), match.end())


def _weights(arguments: list[str]) -> tuple[float, float]:
    """Of the U-Net, of the text encoder. Raises ValueError in words."""
    by_place = [part for part in arguments if "=" not in part]
    by_name = {key.strip().lower(): value for key, equals, value in (part.partition("=") for part in arguments) if equals}
    if strange := by_name.keys() - {"te", "unet"}:
        raise ValueError(f"{min(strange)}= is not supported; {FORM}")
    if len(by_place) > 2:
        raise ValueError(f"{len(by_place)} numbers are too many; {FORM}")
    text = _number(by_name.get("te", by_place[0] if by_place else "1"))
    said = by_name.get("unet", by_place[1] if len(by_place) > 1 else None)
    return text if said is None else _number(said), text


def _number(said: str) -> float:
    value = float(said) if NUMBER.fullmatch(said.strip()) else math.nan
    if not abs(value) <= STRONGEST:
        raise ValueError(f"{_shortened(said)!r} is not a weight (a number from {-STRONGEST:g} to {STRONGEST:g})")
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
