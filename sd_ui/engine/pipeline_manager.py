"""Which models are in memory, and who uses them. What is borrowed stays; of the rest the least recently used leaves under a budget."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sd_ui.engine import adapters, device, load, load_stock, memory, residents
from sd_ui.engine.adapters import Worn
from sd_ui.engine.device import Place
from sd_ui.engine.families.stock import StockModel
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.residents import Resident
from sd_ui.models.hashes import Hashes
from sd_ui.models.stamps import Stamp, stamp
from sd_ui.prompt import networks
from sd_ui.prompt.networks import LoraTag
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest, is_out_of_memory
from sd_ui.spec.limits import unknown
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import ModelChoice

Made = TypeVar("Made")
Key = tuple[str, str]  # names of checkpoint and VAE; "" for its own VAE


@dataclass
class PipelineManager:
    """cards: what there is, asked anew for each lease. budget: bytes that models may fill; None: a share of what the device has.

    One thread leases; others may ask what is resident.
    """

    cards: Callable[[], Mapping[str, ModelCard]]
    place: Place
    budget: int | None = None
    hashes: Hashes = field(default_factory=Hashes)
    _kept: "OrderedDict[Key, Resident]" = field(default_factory=OrderedDict)  # least recently used first
    _lock: threading.Lock = field(default_factory=threading.Lock)  # the page reads the table while the engine's thread changes it

    @contextmanager
    def lease(self, model: ModelChoice, loras: Iterable[LoraTag] = ()) -> Iterator[Loaded]:
        """The model in these LoRAs, in memory until the block ends. Raises BadRequest; what was in memory before still works then."""
        card = self._card("model", "checkpoint", model.checkpoint)
        vae = self._card("vae", "vae", model.vae) if model.vae else None
        kept = self._present(card, vae) or self._loaded(card, vae)
        kept.leases += 1
        try:
            yield self._dressed(kept, self._outfit(loras))
        finally:
            kept.leases -= 1
            self._keep_within(self._budget(), spared=kept)  # the last one used stays for the next job, however large

    @property
    def resident(self) -> tuple[str, ...]:
        """Names of the models in memory, the most recently used first."""
        with self._lock:
            keys = list(reversed(self._kept))
        return tuple(f"{checkpoint} with {vae}" if vae else checkpoint for checkpoint, vae in keys)

    def facts(self) -> dict[str, str]:
        """For the page: device, dtype, attention, what is in memory and how much of it is filled."""
        with self._lock:
            kept = list(self._kept.values())
        attention = kept[-1].loaded.attention if kept else ""
        used = f"{residents.size(kept) / 2**20:.0f} of {self._budget() / 2**20:.0f} MiB for models"
        return {**device.facts(self.place), "attention": attention, "models": ", ".join(self.resident), "memory": used}

    # ------------------------------------------------------------ finding and loading
    def _card(self, name: str, kind: str, wanted: str) -> ModelCard:
        cards = self.cards()
        card = cards.get(wanted)
        if card is None or card.kind != kind:
            raise BadRequest(name, unknown(wanted, [c.name for c in cards.values() if c.kind == kind]))
        load.usable(card, name)
        return card

    def _present(self, card: ModelCard, vae: ModelCard | None) -> Resident | None:
        """What is in memory, unless its files have changed since."""
        key = _key(card, vae)
        kept = self._kept.get(key)
        if kept is None or kept.stamps != _stamps(card, vae):
            return None
        with self._lock:
            self._kept.move_to_end(key)
        return kept

    def _loaded(self, card: ModelCard, vae: ModelCard | None) -> Resident:
        stamps = _stamps(card, vae)  # before reading: a file that changes meanwhile is loaded again next time
        with self._lock:
            self._kept.pop(_key(card, vae), None)  # of files that have changed; who has borrowed it keeps it
        sibling = self._sibling(card)
        needed = (0 if sibling else load.needs(card, self.place)) + (load.needs(vae, self.place) if vae else 0)
        self._keep_within(self._budget() - needed, spared=sibling)
        kept = Resident(self._read(card, vae, sibling), stamps)
        with self._lock:
            self._kept[_key(card, vae)] = kept
            self._kept.move_to_end(_key(card, vae))
        return kept

    def _read(self, card: ModelCard, vae: ModelCard | None, sibling: Resident | None) -> Loaded | StockModel:
        def too_large() -> BadRequest:
            return self._too_large("model", card.name, load.needs(card, self.place))

        return self._squeezed(lambda: self._read_once(card, vae, sibling), sibling, too_large)

    def _squeezed(self, make: Callable[[], Made], spared: Resident | None, too_large: Callable[[], BadRequest]) -> Made:
        """Tries again with everything else out of memory where it does not fit."""
        try:
            return make()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        self._keep_within(0, spared=spared)
        try:
            return make()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large() from error

    def _too_large(self, field: str, what: str, needed: int) -> BadRequest:
        free = memory.free(self.place.device) / 2**20
        return BadRequest(field, f"{what} does not fit into memory: it takes about {needed / 2**20:.0f} MiB, {free:.0f} are free")

    def _read_once(self, card: ModelCard, vae: ModelCard | None, sibling: Resident | None) -> Loaded | StockModel:
        if card.stock is not None:
            return load_stock.load(card, self.place, self.hashes)
        if sibling is None:
            return load.load(card, vae, self.place, self.hashes)
        return load.with_vae(sibling.loaded, vae, self.hashes)

    def _sibling(self, card: ModelCard) -> Resident | None:
        """The same checkpoint with another VAE: all the rest can be shared."""
        now = stamp(card.path)
        return next((kept for (name, _), kept in self._kept.items() if name == card.name and kept.stamps[0] == now), None)

    # ------------------------------------------------------------ LoRAs
    def _outfit(self, tags: Iterable[LoraTag]) -> list[Worn]:
        found = networks.resolved(tags, self.cards())
        for _, card in found:
            load.usable(card, "prompt")
        return [Worn(card.path, WornLora(tag.name, tag.unet, tag.text, self.hashes.of_tensors(card.path))) for tag, card in found]

    def _dressed(self, kept: Resident, outfit: list[Worn]) -> Loaded:
        if not outfit:
            return kept.loaded
        if found := kept.wardrobe.find(outfit):
            return found
        needed = adapters.needs(kept.loaded, outfit)
        self._keep_within(self._budget() - needed, spared=kept)
        names = " and ".join(worn.said.name for worn in outfit)

        def too_large() -> BadRequest:
            return self._too_large("prompt", f"{kept.loaded.card.name} in {names}", needed)

        return self._squeezed(lambda: kept.wardrobe.make(kept.loaded, outfit), kept, too_large)

    # ------------------------------------------------------------ making room
    def _budget(self) -> int:
        return memory.budget(self.place.device) if self.budget is None else self.budget

    def _keep_within(self, room: int, spared: Resident | None = None) -> None:
        """Drops what nobody borrows, least recently used first, until the rest fits into `room` bytes; outfits before models."""
        dropped = False
        for kept in list(self._kept.values()):
            newest = 1 if kept is spared or kept.leases else 0
            while residents.size(self._kept.values()) > room and kept.wardrobe.shed(keep=newest):
                dropped = True
        for key, kept in list(self._kept.items()):
            if residents.size(self._kept.values()) <= room:
                break
            if kept.leases == 0 and kept is not spared:
                with self._lock:
                    del self._kept[key]
                dropped = True
        if dropped:
            memory.tidy(self.place.device)


def _key(card: ModelCard, vae: ModelCard | None) -> Key:
    return card.name, vae.name if vae else ""


def _stamps(card: ModelCard, vae: ModelCard | None) -> tuple[Stamp, Stamp]:
    return stamp(card.path), stamp(vae.path) if vae else ()
