"""Which of the models that there are a recipe means: the one with its hash, else the one with its name."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sd_ui.prompt import coined, networks
from sd_ui.recipes import data
from sd_ui.recipes.recipe import Recipe
from sd_ui.spec.cards import INVERSION, LORA, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, NONE
from sd_ui.spec.samplers import AUTOMATIC

Known = Callable[[ModelCard], Sequence[str]]  # the hashes of a model, as far as somebody has read it: of its file, of its tensors
PROMPTS, EMBEDDING = ("prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt"), "embedding:"  # how its hashes are called
KINDS = {"model": "checkpoint", "refiner": "checkpoint", "vae": "vae"}
SHORTEST = 10  # digits that tell models apart; A1111's oldest hashes, of 8, are of another kind


def found(recipe: Recipe, cards: Mapping[str, ModelCard], known: Known) -> Recipe:
    """The recipe with the names of this server's models, in its tags too. What is missing keeps its name, and notes say so."""
    values, notes = dict(recipe.values), list(recipe.notes)
    for field, kind in KINDS.items():
        if values.get(field) in (None, "", AUTOMATIC, NONE) and field not in recipe.hashes:
            continue
        label, name, digits = FIELDS[field].label, data.words(values.pop(field, "")), recipe.hashes.get(field, "")
        card = _by_hash(digits, kind, cards.values(), known) or _by_name(name, kind, cards)
        if card is None:
            notes.append(_missing(label, name, digits))
            continue
        values[field] = card.name
        if _is_another(digits, card, known):
            notes.append(f"{label} {card.name} here is another file of that name: its hash is not {digits[:SHORTEST]}.")
    if "prompt" in values:
        values["prompt"] = _worn(values["prompt"], recipe.hashes, cards, known, notes)
    _coin(values, recipe.hashes, cards.values(), known, notes)
    return replace(recipe, values=values, notes=tuple(dict.fromkeys(notes)))


def _by_hash(digits: str, kind: str, cards: Iterable[ModelCard], known: Known) -> ModelCard | None:
    if len(digits) < SHORTEST:
        return None
    return next((card for card in cards if card.kind == kind and _has(card, digits, known)), None)


def _by_name(name: str, kind: str, cards: Mapping[str, ModelCard]) -> ModelCard | None:
    """By the name here, else the file's own, in whichever folder; letters' case counts only where it decides."""
    ours = [card for card in cards.values() if card.kind == kind]
    for called in (lambda card: card.name, lambda card: data.stem(card.path.name), lambda card: card.title):
        for same in (lambda a, b: a == b, lambda a, b: a.casefold() == b.casefold()):
            for wanted in (name, data.stem(name)):
                if card := next((card for card in ours if wanted and same(called(card), wanted)), None):
                    return card
    return None


def _is_another(digits: str, card: ModelCard, known: Known) -> bool:
    return len(digits) >= SHORTEST and any(known(card)) and not _has(card, digits, known)


def _has(card: ModelCard, digits: str, known: Known) -> bool:
    return any(sha256.startswith(digits) for sha256 in known(card))


def _missing(label: str, name: str, digits: str) -> str:
    told = f" (hash {digits[:SHORTEST]})" if digits else ""
    return f"{label} {name or 'without a name'}{told} is not here, so yours stays."


def _worn(prompt: str, hashes: dict[str, str], cards: Mapping[str, ModelCard], known: Known, notes: list[str]) -> str:
    """Tags whose LoRA has another name here get that name."""
    for tag in reversed([tag for tag in networks.asked(prompt) if not tag.fault]):
        if _is_here(tag.name, cards):
            continue
        if card := _by_hash(hashes.get(f"lora:{tag.name}", ""), LORA, cards.values(), known):
            said = prompt[tag.start : tag.end]
            prompt = prompt[: tag.start] + said.replace(tag.name, card.name, 1) + prompt[tag.end :]
        else:
            notes.append(f"The LoRA {tag.name} is not here: take its tag out of the prompt, or put the file into the models folder.")
    return prompt


def _coin(values: dict[str, Any], hashes: Mapping[str, str], cards: Iterable[ModelCard], known: Known, notes: list[str]) -> None:
    """Embeddings that have another name here are called by that name in all prompts."""
    ours = [card for card in cards if card.kind == INVERSION]
    for name, digits in ((what.removeprefix(EMBEDDING), digits) for what, digits in hashes.items() if what.startswith(EMBEDDING)):
        names = {said.casefold() for card in ours for said in coined.names(card)}
        card = None if name.casefold() in names else _by_hash(digits, INVERSION, ours, known)
        if card:
            word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
            here = coined.escaped(coined.called(card)).replace("\\", r"\\")  # in a replacement a backslash is a command
            values |= {field: word.sub(here, values[field]) for field in PROMPTS if field in values}
        elif name.casefold() not in names:
            notes.append(f"The embedding {name} is not here: put the file into the models folder, or its name is read as plain words.")


def _is_here(name: str, cards: Mapping[str, ModelCard]) -> bool:
    try:
        networks.named(name, cards)
    except BadRequest:
        return False
    return True
