"""A model in memory with what belongs to it there: who has borrowed it, its files as they were, its outfits, and what all that takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from sd_ui.engine import memory
from sd_ui.engine.device import Place
from sd_ui.engine.wardrobe import Wardrobe
from sd_ui.models.stamps import Stamp
from sd_ui.spec.cards import ModelCard


class InMemory(Protocol):
    """What the manager and the memory policies want to know of a model, of whichever family: `Loaded` is one.

    components: its modules by name, in the order in which a job uses them; several may share tensors. They are all that is moved and counted.
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def place(self) -> Place: ...

    @property
    def attention(self) -> str: ...

    @property
    def components(self) -> Mapping[str, nn.Module]: ...


@dataclass
class Resident:
    """loaded: an `InMemory`; what it is beyond that, its family knows. stamps: of checkpoint and VAE, as they were read."""

    loaded: Any
    stamps: tuple[Stamp, Stamp]
    leases: int = 0
    wardrobe: Wardrobe = field(default_factory=Wardrobe)

    def modules(self) -> Iterator[nn.Module]:
        """All module trees, those of its outfits too."""
        yield from self.loaded.components.values()
        yield from self.wardrobe.modules()


def size(residents: Iterable[Resident]) -> int:
    """Bytes; what several share counts once."""
    return memory.size(module for resident in residents for module in resident.modules())
