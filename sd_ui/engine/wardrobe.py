"""The outfits of one model in memory: the model in some LoRAs, kept for the next job that asks for the same ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torch import nn

from sd_ui.engine.adapters import Worn, dressed
from sd_ui.engine.loaded import Loaded
from sd_ui.models.stamps import Stamp, stamp

MOST = 2  # a person moves one weight and moves it back; what came before is quickly made again
Outfit: TypeAlias = tuple[tuple[Path, Stamp, float, float], ...]  # each LoRA's file as it was, its weights for U-Net and text encoders


@dataclass
class Wardrobe:
    """The table is replaced as a whole, since the page asks how much memory is filled while the engine's thread changes it."""

    _kept: dict[Outfit, Loaded] = field(default_factory=dict)  # the least recently worn first

    def find(self, outfit: Sequence[Worn]) -> Loaded | None:
        found = self._kept.get(key := key_of(outfit))
        if found is not None:
            self._kept = {**self._without(key), key: found}
        return found

    def make(self, loaded: Loaded, outfit: Sequence[Worn]) -> Loaded:
        """Raises BadRequest("prompt")."""
        while self.shed(keep=MOST - 1):
            pass
        key = key_of(outfit)  # before reading: a file that changes meanwhile is read again next time
        made = dressed(loaded, outfit)
        self._kept = {**self._kept, key: made}
        return made

    def shed(self, keep: int = 0) -> bool:
        """Whether there was an outfit to give away, besides the latest ones."""
        if len(self._kept) <= keep:
            return False
        self._kept = self._without(next(iter(self._kept)))
        return True

    def has(self, loaded: Loaded) -> bool:
        return any(one is loaded for one in self._kept.values())

    def trees(self) -> Iterator[tuple[str, nn.Module]]:
        """The components of all outfits, by name; most tensors of theirs are the model's own."""
        for one in self._kept.values():
            yield from one.components.items()

    def _without(self, key: Outfit) -> dict[Outfit, Loaded]:
        return {other: loaded for other, loaded in self._kept.items() if other != key}


def key_of(outfit: Sequence[Worn]) -> Outfit:
    return tuple((worn.path, stamp(worn.path), worn.said.unet, worn.said.text) for worn in outfit)
