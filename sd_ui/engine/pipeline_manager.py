"""Which models are in memory, and who uses them. What is borrowed stays; of the rest the least recently used leaves under a budget."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sd_ui.engine import adapters, attention, device, load, load_stock, memory, residents
from sd_ui.engine.adapters import Worn
from sd_ui.engine.ahead import Ahead
from sd_ui.engine.arrangement import Arrangement, once
from sd_ui.engine.device import Place
from sd_ui.engine.families.stock import StockModel
from sd_ui.engine.footprint import Work
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.offload import HOST, is_denoiser
from sd_ui.engine.policy import LOADING, RESIDENT, Policy, Wishes, gentlest
from sd_ui.engine.relief import NothingFits, first_that_fits
from sd_ui.engine.residents import Key, Resident, key_of, stamp_of, stamps_of
from sd_ui.engine.thrift import Thrift
from sd_ui.models.hashes import Hashes
from sd_ui.prompt import networks
from sd_ui.prompt.networks import LoraTag
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import ModelChoice
from sd_ui.spec.values import unknown

Made = TypeVar("Made")
USUAL = Work(512, 512)


@dataclass
class PipelineManager:
    """cards: what there is, asked anew for each lease. budget: bytes that models may fill; None: a share of what the device has.
    ahead: does in the background what makes the next load fast; None: nobody does. wishes: what the user said of memory.

    One thread leases; others may ask what is resident.
    """

    cards: Callable[[], Mapping[str, ModelCard]]
    place: Place
    budget: int | None = None
    hashes: Hashes = field(default_factory=Hashes)
    ahead: Ahead | None = None
    wishes: Wishes = Wishes()
    _kept: "OrderedDict[Key, Resident]" = field(default_factory=OrderedDict)  # least recently used first
    _borrowed: list[Resident] = field(default_factory=list)  # each as often as it is leased; a file that has changed since is not in the table
    _lock: threading.Lock = field(default_factory=threading.Lock)  # the page reads the table while the engine's thread changes it

    def __post_init__(self) -> None:
        self._thrift = Thrift(memory.is_apart(self.place.device), self.wishes)
        self._most = self.wishes.budget if self._thrift.apart and self.wishes.budget else sys.maxsize  # bytes of the device

    @contextmanager
    def lease(self, model: ModelChoice, loras: Iterable[LoraTag] = (), work: Work = USUAL) -> Iterator[Loaded]:
        """The model in these LoRAs, in memory until the block ends, and arranged for this work.

        Raises BadRequest; what was in memory before still works then.
        """
        card = self._card("model", "checkpoint", model.checkpoint)
        vae = self._card("vae", "vae", model.vae) if model.vae else None
        kept = self._present(card, vae) or self._loaded(card, vae)
        kept.leases += 1
        self._borrowed.append(kept)
        try:
            loaded = self._dressed(kept, self._outfit(loras))
            self._arrange(kept, work)
            yield loaded
        finally:
            kept.leases -= 1
            self._borrowed.remove(kept)
            self._keep_within(self._budget(), spared=kept)  # the last one used stays for the next job, however large

    def ready(self, model: ModelChoice | None) -> None:
        """The model of the job that comes next, or None. Its files are made ready; nothing that is in memory gives way to it before its lease."""
        if self.ahead is None:
            return
        card = self.cards().get(model.checkpoint) if model else None
        usable = card is not None and card.kind == "checkpoint" and not card.fault
        self.ahead.ready(card if card and usable and self._sibling(card) is None else None, self.place)

    @property
    def resident(self) -> tuple[str, ...]:
        """Names of the models in memory, the most recently used first."""
        with self._lock:
            keys = list(reversed(self._kept))
        return tuple(f"{checkpoint} with {vae}" if vae else checkpoint for checkpoint, vae in keys)

    @property
    def filled(self) -> int:
        """Bytes of the device that models take. Any thread may ask."""
        with self._lock:
            kept = list(self._kept.values())
        return residents.size(kept, self.place.device)

    def facts(self) -> dict[str, str]:
        """For the page: device, dtype, attention, what is in memory and how much of it is filled."""
        with self._lock:
            kept = list(self._kept.values())
        attention = kept[-1].loaded.attention if kept else ""
        used = f"{residents.size(kept, self.place.device) / 2**20:.0f} of {self._budget() / 2**20:.0f} MiB for models"
        how = kept[-1].arrangement.why if kept else ""
        return {**device.facts(self.place), "attention": attention, "models": ", ".join(self.resident), "memory": used, "how it runs": how}

    # ------------------------------------------------------------ how models use the device
    def policy(self, loaded: Loaded) -> Policy:
        """Of a model that is leased."""
        return self._resident(loaded).arrangement.policy or Policy()

    def ease(self, loaded: Loaded, stage: str, work: Work = USUAL) -> str | None:
        """Memory ran out in this stage (see `policy`) of a job that leases the model. -> how it uses less from now on, in words; None: it cannot.

        First what nobody uses makes room; then the model itself takes a gentler policy, and keeps it for this size.
        """
        kept = self._resident(loaded)
        for one in self._borrowed:
            one.arrangement.rest()  # what is not being called at this moment can come again
        if self._keep_within(0, spared=kept):
            return "what no job uses out of memory"
        now = kept.arrangement.policy or Policy()
        if (needed := self._thrift.gentler(now, stage)) is None:
            return None
        why = self._thrift.learn(kept.name, work, needed)
        self._make(kept, needed, why)
        memory.tidy(self.place.device)
        return needed.said(self._thrift.apart)

    def _resident(self, loaded: Loaded) -> Resident:
        return next(kept for kept in self._borrowed if kept.has(loaded))

    def _arrange(self, kept: Resident, work: Work) -> None:
        """While others use it, too, it stays as gentle as they need it."""
        policy, why = self._thrift.choose(kept.name, footprint := kept.footprint(work), work, self._room(kept))
        now = kept.arrangement.policy
        if now is not None and kept.leases > 1 and gentlest(self._thrift.rungs, policy, now) == now:
            policy, why = now, kept.arrangement.why
        self._make_room(footprint.peak(policy), kept)
        while not self._made(kept, policy, why):
            gentler = self._thrift.gentler(policy, LOADING)
            if gentler is None:
                raise self._too_large("model", kept.name, kept.sizes.whole)
            policy, why = gentler, self._thrift.learn(kept.name, work, gentler)
            memory.tidy(self.place.device)

    def _made(self, kept: Resident, policy: Policy, why: str) -> bool:
        """Whether there was memory enough for the weights to come where the policy wants them."""
        try:
            first_that_fits([lambda: self._make(kept, policy, why)])
        except NothingFits:
            return False
        return True

    def _make(self, kept: Resident, policy: Policy, why: str) -> None:
        trees = [tree for one in self._sharing(kept) for tree in one.trees()]
        kept.arrangement.make(policy, once(trees), kept.loaded.place, kept.loaded.attention)
        kept.arrangement.why = why

    def _sharing(self, kept: Resident) -> list[Resident]:
        """It, and the same checkpoint with other VAEs."""
        return [kept, *(one for one in self._kept.values() if one is not kept and one.arrangement is kept.arrangement)]

    def _room(self, kept: Resident) -> int:
        """Bytes of the device that this model and its work may fill, if all that nobody uses makes room."""
        others = residents.size((one for one in self._borrowed if one is not kept), self.place.device)
        free = memory.free(self.place.device) + self.filled
        return min(free, self._most) - others

    def _make_room(self, peak: int, kept: Resident) -> None:
        """Where the device has a memory of its own; elsewhere the budget of models has seen to it."""
        if not self._thrift.apart:
            return
        own, filled = residents.size([kept], self.place.device), self.filled
        room = min(memory.free(self.place.device), self._most - filled)
        if (missing := peak - own - room) > 0:
            self._keep_within(filled - missing, spared=kept)

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
        key = key_of(card, vae)
        kept = self._kept.get(key)
        if kept is None or kept.stamps != stamps_of(card, vae):
            return None
        with self._lock:
            self._kept.move_to_end(key)
        return kept

    def _loaded(self, card: ModelCard, vae: ModelCard | None) -> Resident:
        stamps = stamps_of(card, vae)  # before reading: a file that changes meanwhile is loaded again next time
        with self._lock:
            self._kept.pop(key_of(card, vae), None)  # of files that have changed; who has borrowed it keeps it
        sibling = self._sibling(card)
        needed = (0 if sibling else load.needs(card, self.place)) + (load.needs(vae, self.place) if vae else 0)
        if not self._waits(needed):
            self._keep_within(self._budget() - needed, spared=sibling)
        kept = Resident(self._read(card, vae, sibling), stamps, arrangement=sibling.arrangement if sibling else Arrangement())
        with self._lock:
            self._kept[key_of(card, vae)] = kept
            self._kept.move_to_end(key_of(card, vae))
        return kept

    def _read(self, card: ModelCard, vae: ModelCard | None, sibling: Resident | None) -> Loaded | StockModel:
        def too_large() -> BadRequest:
            return self._too_large("model", card.name, load.needs(card, self.place))

        def into_main_memory() -> Loaded | StockModel:
            return self._placed(self._read_once(card, vae, sibling, replace(self.place, device=HOST)))

        if self._waits(load.needs(card, self.place)):
            return self._squeezed([into_main_memory] * 2, sibling, too_large)
        onto_device = lambda: self._read_once(card, vae, sibling, self.place)  # noqa: E731
        return self._squeezed([onto_device, onto_device, *([into_main_memory] if self._thrift.apart else [])], sibling, too_large)

    def _waits(self, needed: int) -> bool:
        """Whether a model that takes so many bytes is read into main memory first: it will not lie on the device as a whole."""
        free = memory.free(self.place.device) + self.filled
        return self._thrift.apart and (self._thrift.rungs[0].weights != RESIDENT or needed > min(free, self._most))

    def _placed(self, loaded: Loaded | StockModel) -> Loaded | StockModel:
        """What was read into main memory, but computes on the device."""
        there = replace(loaded, place=replace(loaded.place, device=self.place.device))
        if not isinstance(there, Loaded):
            return there
        for name, module in there.components.items():
            if is_denoiser(name):
                active = attention.apply(module, there.vae, self.place)
        return replace(there, attention=active)

    def _squeezed(self, ways: Sequence[Callable[[], Made]], spared: Resident | None, too_large: Callable[[], BadRequest]) -> Made:
        """One way after the other; after the first nothing else is in memory."""
        try:
            return first_that_fits(ways, lambda: self._keep_within(0, spared=spared, parks=False))
        except NothingFits as error:
            raise too_large() from error

    def _too_large(self, field: str, what: str, needed: int) -> BadRequest:
        free = memory.free(self.place.device) / 2**20
        return BadRequest(field, f"{what} does not fit into memory: it takes about {needed / 2**20:.0f} MiB, {free:.0f} are free")

    def _read_once(self, card: ModelCard, vae: ModelCard | None, sibling: Resident | None, place: Place) -> Loaded | StockModel:
        if card.stock is not None:
            return load_stock.load(card, place, self.hashes)
        if sibling is None:
            return self._load(card, vae, place)
        return load.with_vae(sibling.loaded, vae, self.hashes)

    def _load(self, card: ModelCard, vae: ModelCard | None, place: Place) -> Loaded:
        if self.ahead is None:
            return load.load(card, vae, place, self.hashes)
        loaded = load.load(card, vae, place, self.hashes, self.ahead.sidecars)
        self.ahead.copy(card, self.place)
        return loaded

    def _sibling(self, card: ModelCard) -> Resident | None:
        """The same checkpoint with another VAE: all the rest can be shared."""
        now = stamp_of(card)
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

        kept.arrangement.rest()  # what changes is computed, and waits, where the weights wait
        return self._squeezed([lambda: kept.wardrobe.make(kept.loaded, outfit)] * 2, kept, too_large)

    # ------------------------------------------------------------ making room
    def _budget(self) -> int:
        return min(memory.budget(self.place.device) if self.budget is None else self.budget, self._most)

    def _keep_within(self, room: int, spared: Resident | None = None, parks: bool = True) -> bool:
        """What nobody borrows leaves the device, least recently used first, until the rest fits into `room` bytes; outfits before models.

        parks: to main memory, where the device has one of its own and there is room in the other. -> whether anything left
        """
        left = False
        for kept in list(self._kept.values()):
            newest = 1 if kept is spared or kept.leases else 0
            while self.filled > room and kept.wardrobe.shed(keep=newest):
                left = True
        for key, kept in list(self._kept.items()):
            if self.filled <= room:
                break
            if kept.leases == 0 and kept is not spared:
                left |= (parks and self._park(kept)) or self._drop(key, only_there=parks)
        if left:
            memory.tidy(self.place.device)
        return left

    def _park(self, kept: Resident) -> bool:
        """-> whether all of it left the device for main memory"""
        before, sharing = residents.size([kept], self.place.device), self._sharing(kept)
        if not self._thrift.apart or not before or any(one.leases for one in sharing) or not self._waiting_room(before):
            return False
        kept.arrangement.park(once(tree for one in sharing for tree in one.trees()))
        return residents.size([kept], self.place.device) == 0

    def _waiting_room(self, needed: int) -> bool:
        """Whether so many bytes more may wait in main memory. What has waited longest leaves for them."""
        for key, one in list(self._kept.items()):
            if residents.size(self._kept.values(), HOST) + needed <= memory.budget(HOST):
                return True
            if one.leases == 0 and not residents.size([one], self.place.device):
                self._drop(key)
        return residents.size(self._kept.values(), HOST) + needed <= memory.budget(HOST)

    def _drop(self, key: Key, only_there: bool = False) -> bool:
        """only_there: a model that waits in main memory takes nothing that anybody needs now."""
        kept = self._kept.get(key)
        if kept is None or (only_there and not residents.size([kept], self.place.device)):
            return False
        with self._lock:
            del self._kept[key]
        return True
