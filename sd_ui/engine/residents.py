"""A model in memory with what belongs to it there: who has borrowed it, its files as they were, its outfits, and how it uses the device."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import nn

from sd_ui.engine import footprint, memory
from sd_ui.engine.arrangement import Arrangement
from sd_ui.engine.device import Place
from sd_ui.engine.footprint import Footprint, Sizes, Work
from sd_ui.engine.wardrobe import Wardrobe
from sd_ui.models.stamps import Stamp, stamp
from sd_ui.spec.cards import ModelCard

Key = tuple[str, str]  # names of checkpoint and VAE; "" for its own VAE


class InMemory(Protocol):
    """What the manager and the memory policies want to know of a model, of whichever family: `Loaded` is one.

    components: its modules by name, in the order in which a job uses them; several may share tensors. They are all that is moved and counted.
    Names say what they are: denoisers have "denoiser", "transformer" or "unet" in them, VAEs "vae".
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def place(self) -> Place: ...

    @property
    def attention(self) -> str: ...

    @property
    def components(self) -> Mapping[str, nn.Module]: ...


@dataclass(eq=False)
class Resident:
    """loaded: an `InMemory`; what it is beyond that, its family knows. stamps: of checkpoint and VAE, as they were read."""

    loaded: Any
    stamps: tuple[Stamp, Stamp]
    leases: int = 0
    wardrobe: Wardrobe = field(default_factory=Wardrobe)
    arrangement: Arrangement = field(default_factory=Arrangement)

    @property
    def name(self) -> str:
        name: str = self.loaded.card.name
        return name

    def trees(self) -> Iterator[tuple[str, nn.Module]]:
        """All its module trees with the names of the components that they are, those of its outfits too; some come twice."""
        yield from self.loaded.components.items()
        yield from self.wardrobe.trees()

    def modules(self) -> Iterator[nn.Module]:
        return (module for _, module in self.trees())

    @cached_property
    def sizes(self) -> Sizes:
        return footprint.sizes(self.loaded.components)

    def footprint(self, work: Work) -> Footprint:
        return footprint.of(self.loaded.components, self.sizes, work)

    def has(self, loaded: Any) -> bool:
        """Whether it is this model, in an outfit or without."""
        return loaded is self.loaded or self.wardrobe.has(loaded)


def size(residents: Iterable[Resident], device: torch.device | None = None) -> int:
    """Bytes; what several share counts once. device: only what lies there."""
    return memory.size((module for resident in residents for module in resident.modules()), device)


def key_of(card: ModelCard, vae: ModelCard | None) -> Key:
    return card.name, vae.name if vae else ""


def stamps_of(card: ModelCard, vae: ModelCard | None) -> tuple[Stamp, Stamp]:
    """Their files as they are now."""
    return stamp_of(card), stamp(vae.path) if vae else ()


def stamp_of(card: ModelCard) -> Stamp:
    """With the files that give its text encoders."""
    return tuple(file for path in (card.path, *(path for _, path in card.texts)) for file in stamp(path))
