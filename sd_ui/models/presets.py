"""Reads presets/models/*.toml: what people should know about a model, and the settings at which it is at its best.

A strip of pictures beside it, <name>.webp, shows what the model makes of the examples.
"""

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sd_ui.models.prediction import EPSILON, V
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.samplers import SAMPLERS, SCHEDULES

TYPES: dict[str, Any] = {field.name: (int, float) if field.type is float else field.type for field in fields(Defaults)}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """One file. Its name is the model's; with a `family` in it, it is for all models of the family that have none of their own.

    names: patterns such as "*turbo*": of the family, it is for these models only. Where several fit, the longest pattern knows best.
    prediction: what the model was trained to predict, whatever else says otherwise.
    """

    family: str = ""
    names: tuple[str, ...] = ()
    title: str = ""
    about: str = ""
    examples: tuple[str, ...] = ()
    prediction: str = ""
    defaults: Mapping[str, Any] | None = None
    samples: Path | None = None


Presets = Mapping[str, Preset]


def read(folder: Path) -> Presets:
    """By the files' names in lower case. A file that makes no sense is left out, and the log says why."""
    found = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            strip = path.with_suffix(".webp")
            found[path.stem.casefold()] = replace(parsed(path.read_text(encoding="utf-8")), samples=strip if strip.is_file() else None)
        except (OSError, ValueError) as error:
            log.warning("%s is not used: %s", path.name, error)
    return found


def parsed(text: str) -> Preset:
    """Raises ValueError that names the entry."""
    data = tomllib.loads(text)
    if unknown := data.keys() - ({field.name for field in fields(Preset)} - {"samples"}):
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    for name in ("family", "title", "about"):
        if not isinstance(data.get(name, ""), str):
            raise ValueError(f"{name} is not text")
    if data.get("prediction", "") not in ("", EPSILON, V):
        raise ValueError(f"prediction = {data['prediction']!r} is not known; known are {EPSILON} and {V}")
    lists = {name: _texts(name, data.get(name, [])) for name in ("examples", "names")}
    if lists["names"] and not data.get("family"):
        raise ValueError("names are those of models of a family, and there is no family")
    return Preset(**{**data, **lists, "defaults": checked(data.get("defaults", {}))})


def applied(presets: Presets, card: ModelCard) -> ModelCard:
    """The card with what the preset of its name says, else that of its family and then that of names like it."""
    stem = card.name.rsplit("/", 1)[-1].casefold()
    if card.kind != "checkpoint":
        return card
    own = presets.get(stem)
    for preset in [own] if own and not own.names else _of_family(presets, card.family, stem):
        card = _with(card, preset)
    return card


def _with(card: ModelCard, preset: Preset) -> ModelCard:
    return replace(
        card,
        title=preset.title or card.title,
        about=preset.about.strip() or card.about,
        examples=preset.examples or card.examples,
        samples=preset.samples if preset.examples else card.samples,
        prediction=preset.prediction or card.prediction,
        defaults=replace(card.defaults, **(preset.defaults or {})),
    )


def _of_family(presets: Presets, family: str, stem: str) -> list[Preset]:
    """From the general to the special: that of the family, then that with the longest pattern which fits the name."""
    ours = [preset for preset in presets.values() if family and preset.family == family]
    like = [(len(pattern), i) for i, preset in enumerate(ours) for pattern in preset.names if fnmatchcase(stem, pattern.casefold())]
    return [preset for preset in ours if not preset.names] + ([ours[max(like)[1]]] if like else [])


def _texts(name: str, said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise ValueError(f"{name} is not a list of texts")
    return tuple(said)


def checked(said: Any) -> Mapping[str, Any]:
    """A table of defaults. Raises ValueError that names the entry."""
    if not isinstance(said, dict):
        raise ValueError("defaults is not a table")
    for name, value in said.items():
        if name not in TYPES or isinstance(value, bool) or not isinstance(value, TYPES[name]):
            raise ValueError(f"defaults.{name} = {value!r} makes no sense; known are {', '.join(TYPES)}")
    if said.get("sampler", "Euler") not in SAMPLERS or said.get("schedule", "Automatic") not in SCHEDULES:
        raise ValueError(f"defaults: unknown sampler or schedule; known are {', '.join(SAMPLERS)} and {', '.join(SCHEDULES)}")
    return said
