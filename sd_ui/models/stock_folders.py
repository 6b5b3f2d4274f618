"""Recognises a diffusers folder of a family that runs by diffusers' own pipelines. Configs are read as data, names are compared with the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_ui.models import folders, header, quantised
from sd_ui.models.finding import Finding, faulty
from sd_ui.models.header import Unreadable
from sd_ui.models.stock import StockFamily, named
from sd_ui.spec.cards import Defaults, Stock
from sd_ui.spec.samplers import MODELS_OWN

LIBRARIES = ("diffusers", "transformers")
SCHEDULER, SCHEDULER_CONFIG = "scheduler", "scheduler_config.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
NAMES = folders.PARTS | {"transformer": "the transformer", "movq": "the VAE"}
DISTILLED = "is_distilled"
LARGEST = 4096  # pixels of a side
FEW_STEPS = 4  # of models that were distilled not to need guidance


@dataclass(frozen=True)
class Part:
    """kind: the class that the folder asks for, one of those that the family allows."""

    name: str
    kind: str
    path: Path

    @property
    def has_weights(self) -> bool:
        return self.name != SCHEDULER and not self.name.startswith("tokenizer")

    @property
    def title(self) -> str:
        return title(self.name)


def family_of(index: Mapping[str, Any]) -> StockFamily | None:
    """By the pipeline that a folder's index names; None where it is none of them."""
    return named(str(index.get("_class_name", "")))


def of_folder(path: Path) -> StockFamily | None:
    """None for a folder of another kind."""
    index = path / folders.INDEX
    return family_of(folders.config(index)) if index.is_file() else None


def look(path: Path, family: StockFamily) -> Finding:
    """Raises Unreadable and OSError."""
    index = folders.config(path / folders.INDEX)
    for part in parts(path, family):
        if fault := _fault(part):
            return faulty(fault, family.name)
    guided, side = index.get(DISTILLED) is not True, _side(path, family)
    steps, scale = (family.steps, family.cfg_scale) if guided else (FEW_STEPS, 1.0)
    return Finding(
        family=family.name,
        modes=family.modes,
        defaults=Defaults(width=side, height=side, steps=steps, cfg_scale=scale, sampler=MODELS_OWN),
        stock=Stock(family.title, family.multiple, family.tokens, family.negative and guided, guided, family.most),
    )


def parts(path: Path, family: StockFamily) -> tuple[Part, ...]:
    """Those that the family's pipelines are made of. Raises Unreadable that names a part which is missing, or asks for a class of its own."""
    index = folders.config(path / folders.INDEX)
    return tuple(Part(name, _kind(name, index.get(name), allowed), path / name) for name, allowed in family.parts.items())


def refused(index: Mapping[str, Any], family: StockFamily) -> str:
    """Why a folder with this index cannot be used, whatever else is in it; "" where nothing in the index is against it."""
    try:
        for name, allowed in family.parts.items():
            _kind(name, index.get(name), allowed)
    except Unreadable as error:
        return str(error)
    return ""


def flags(path: Path, family: StockFamily) -> dict[str, bool]:
    """What else the pipelines' constructors are told. Raises Unreadable."""
    index = folders.config(path / folders.INDEX)
    return {name: index.get(name) is True for name in family.flags}


def weights(path: Path, family: StockFamily) -> list[Path]:
    """The files that are loaded. Raises Unreadable."""
    return [file for part in parts(path, family) if part.has_weights for file in folders.weights(part.path)]


def title(part: str) -> str:
    return NAMES.get(part, f"the part {part}")


def _side(path: Path, family: StockFamily) -> int:
    """Pixels that the model was made for."""
    cells = folders.config(path / ("unet" if "unet" in family.parts else "transformer") / folders.CONFIG).get("sample_size")
    return cells * family.cell if family.cell and type(cells) is int and 64 <= cells * family.cell <= LARGEST else family.side


def _kind(name: str, entry: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(entry, list) or len(entry) != 2 or entry == [None, None]:
        raise Unreadable(f"{title(name)} is missing ({folders.INDEX} does not name it)")
    library, kind = entry
    if library not in LIBRARIES or kind not in allowed:
        raise Unreadable(f"{title(name)} asks for the class {kind} of {library}; only {' and '.join(allowed)} are loaded, never code from a model")
    return str(kind)


def _fault(part: Part) -> str:
    """Why a part cannot be used, "" where it can."""
    if part.name == SCHEDULER:
        return "" if (part.path / SCHEDULER_CONFIG).is_file() else f"{part.title} is missing ({part.name}/{SCHEDULER_CONFIG})"
    if not part.has_weights:
        there = any((part.path / file).is_file() for file in TOKENIZER_FILES)
        return "" if there else f"{part.title} is missing ({part.name}/{TOKENIZER_FILES[0]})"
    if not (part.path / folders.CONFIG).is_file():
        return f"{part.title} is missing ({part.name}/{folders.CONFIG})"
    if why := quantised.fault(part.title, folders.config(part.path / folders.CONFIG)):
        return why
    for file in folders.weights(part.path):
        try:
            header.read(file)
        except Unreadable as error:
            return f"{part.title}'s file is {error}"
    return ""
