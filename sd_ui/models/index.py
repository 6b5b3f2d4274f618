"""The models that there are: a card for each, by the name that requests use. Names are keys of this index, never paths."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from threading import Lock
from typing import Any

from sd_ui.models import amounts, beside, files, fitting, folders, library, loras, own, presets, scan, tokens
from sd_ui.models.beside import Surroundings
from sd_ui.models.finding import CHECKPOINT, OF_THE_DISK, VAE, Finding, faulty, settled
from sd_ui.models.findings import Findings
from sd_ui.models.hashes import Hashes
from sd_ui.models.header import Unreadable
from sd_ui.models.library import Query
from sd_ui.models.own import OwnPresets
from sd_ui.models.parts_beside import completed
from sd_ui.models.scan import Candidate
from sd_ui.models.stamps import Remembered, stamp
from sd_ui.models.tokens import Reader, TokenCount
from sd_ui.spec.cards import LORA, TITLES, WITH_EMBEDDINGS, Beside, ModelCard, Own
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits
from sd_ui.spec.request import EMBEDDED
from sd_ui.spec.samplers import AUTOMATIC
from sd_ui.spec.values import unknown_model

TAKEN = (EMBEDDED, AUTOMATIC.casefold(), "none", "")  # names that mean something else
SAVED = 200  # models after which what was found out is on the disk
log = logging.getLogger(__name__)


class ModelIndex:
    """folders: where the user keeps models, flat or as AUTOMATIC1111 lays them out. embedded: the model in the box. presets: of *.toml.

    embedded_loras: those in the box. cache: a folder for what was found out, own: one for what people say of their models; None: neither is kept.

    A scan replaces the tables as a whole, so that other threads always read a complete one.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        embedded: Path,
        presets: Path,
        embedded_loras: Path | None = None,
        cache: Path | None = None,
        own: Path | None = None,
    ) -> None:
        self._folders, self._embedded, self._presets = tuple(folders), embedded, presets
        self._in_the_box = () if embedded_loras is None else (embedded_loras,)
        self.hashes = Hashes(cache)
        self._remembered, self._found = Remembered(), Findings(cache, str(stamp(embedded)))
        self._beside, self._own = beside.kept(cache and cache / "beside.jsonl"), OwnPresets(own)
        self._usual: dict[str, ModelCard] = {}  # as they are before anybody says something of them
        self._cards: dict[str, ModelCard] = {}
        self._findings: dict[str, Finding] = {}
        self._lock = Lock()  # of a scan and a word about a model, neither must undo the other
        self.refresh()

    def cards(self) -> dict[str, ModelCard]:
        """By name; the embedded model first, then in the order of the folders. What cannot be used is there too, with its fault."""
        return self._cards

    def card(self, name: str) -> ModelCard:
        """Raises BadRequest with the nearest names."""
        cards = self._cards
        if name not in cards:
            raise BadRequest("model", unknown_model(name, cards))
        return cards[name]

    def refresh(self) -> None:
        """Looks at the disk again. Only what has changed since the last look is read."""
        known, around = presets.read(self._presets), Surroundings(self._beside)
        found: list[tuple[Candidate, Finding, Beside]] = []
        for candidate in self._candidates():
            found.append((candidate, self._looked(candidate), around.of(candidate.path)))
            if len(found) % SAVED == 0:  # whoever loses patience with thousands of new files does not start over
                self._found.flush()
        self._found.flush()
        self._beside.flush()
        usual = {one.name: settled(presets.applied(known, self._card(one, finding, beside)), finding) for one, finding, beside in found}
        with self._lock:
            said = self._own.read()
            self._findings = {candidate.name: finding for candidate, finding, _ in found}
            self._usual = {name: completed(_with_known_vae(card, usual), usual) for name, card in usual.items()}
            self._cards = {name: completed(_with_known_vae(own.applied(card, said.get(name)), usual), usual) for name, card in self._usual.items()}

    def find(self, text: str = "", kind: str = "", family: str = "", starred: bool = False) -> list[ModelCard]:
        """text: words that must all be there. Those with a star first, those that cannot be used last."""
        cards = self._cards
        hashes = {name: self.hashes.known(card.path) for name, card in cards.items()} if text else {}
        return library.found(cards, hashes, Query(text, kind, family, starred))

    def usual(self, name: str) -> ModelCard:
        """The card as it is before anybody says something of the model. Raises BadRequest."""
        self.card(name)
        return self._usual[name]

    def star(self, name: str, starred: bool) -> ModelCard:
        """Raises BadRequest."""
        return self.describe(name, replace(self.card(name).own, starred=starred))

    def settle(self, name: str, values: Mapping[str, Any], notes: Any, limits: Limits) -> ModelCard:
        """values: defaults as they were entered, by the names in Defaults; of a checkpoint alone. Raises BadRequest, and keeps nothing then."""
        usual, starred = self.usual(name), self.card(name).own.starred
        defaults = own.said(usual, values, self._cards, limits) if usual.kind == CHECKPOINT else {}
        return self.describe(name, Own(starred, own.noted(notes), defaults))

    def describe(self, name: str, said: Own) -> ModelCard:
        """The card with what people say of the model from now on. Raises BadRequest."""
        card = self.usual(name)
        with self._lock:
            self._own.write(name, said)
            self._cards = self._cards | {name: own.applied(card, said)}
        return self._cards[name]

    def tokens(self, checkpoint: str, text: str) -> TokenCount:
        """As the checkpoint's own tokenizer counts. Raises BadRequest."""
        reader = self.reader(checkpoint)
        return tokens.count(reader.tokenizer, text, reader.size + 2)

    def reader(self, checkpoint: str) -> Reader:
        """Raises BadRequest."""
        card = self.card(checkpoint)
        finding = self._findings.get(checkpoint)
        if finding is None or finding.fault or card.kind != CHECKPOINT:
            raise BadRequest("model", f"{checkpoint} cannot be used: {card.fault or 'it is no checkpoint'}")
        if card.stock:
            raise BadRequest("model", f"{checkpoint} counts its tokens itself, when it runs")
        try:
            tokenizer = self._remembered.ask(tokens.tokenizer, finding.tokenizer or tokens.CLIP_L)
        except Unreadable as error:
            raise BadRequest("model", f"{checkpoint} cannot be used: {error}") from None
        return Reader(tokenizer, finding.positions - 2)

    def loras(self, checkpoint: str) -> list[ModelCard]:
        """Those that a checkpoint can wear; none where it is not there or cannot be read."""
        cards, findings = self._cards, self._findings
        if checkpoint not in cards or cards[checkpoint].kind != CHECKPOINT or cards[checkpoint].stock:
            return []
        try:
            own = self._remembered.ask(fitting.layers_of, cards[checkpoint].path)
        except (Unreadable, OSError):
            return []
        usable = (card for card in cards.values() if card.kind == LORA and not card.fault)
        return [card for card in usable if (finding := findings.get(card.name)) and not loras.misfit(finding.layers, own)]

    def misfit(self, checkpoint: str, lora: str) -> str:
        """Why a checkpoint cannot wear a LoRA, in words; "" where it can. Raises BadRequest where one of them is not there."""
        card, other, finding = self.card(checkpoint), self.card(lora), self._findings.get(lora)
        if other.fault or finding is None or finding.kind != LORA:
            return f"{lora} cannot be used: {other.fault or 'it is no LoRA'}"
        if card.stock:
            return f"{lora} does not go with {checkpoint}: models that run by diffusers' own pipelines wear no LoRAs here"
        try:
            why = loras.misfit(finding.layers, self._remembered.ask(fitting.layers_of, card.path))
        except (Unreadable, OSError):
            return f"{lora} fits nothing, since {checkpoint} cannot be read"
        if why and other.family != card.family and other.family in TITLES and card.family in TITLES:
            why = f"it is for {TITLES[other.family]}, and {checkpoint} is {TITLES[card.family]}"
        return f"{lora} does not go with {checkpoint}: {why}" if why else ""

    def text_widths(self, checkpoint: str) -> tuple[int, ...]:
        """Of the text encoders whose words an embedding can add to, in order; () where the checkpoint is not there, or has none that are read so."""
        card = self._cards.get(checkpoint)
        if card is None or card.kind != CHECKPOINT or card.family not in WITH_EMBEDDINGS:
            return ()
        try:
            return fitting.text_widths(self._remembered.ask(fitting.layers_of, card.path))
        except (Unreadable, OSError):
            return ()

    def numbers(self, checkpoint: str) -> int:
        """How many its weights have in all; 0 where that cannot be told."""
        return self._told(amounts.numbers, checkpoint)

    def weights(self, checkpoint: str, itemsize: int) -> int:
        """Bytes that they take in memory, where a number that is not packed takes so many; 0 where that cannot be told."""
        card = self._cards.get(checkpoint)
        if card is None or card.fault or card.stock:
            return self.numbers(checkpoint) * itemsize
        try:
            packed, rest = self._remembered.ask(amounts.stored, card.path)
            return packed + rest * itemsize
        except (Unreadable, OSError):
            return 0

    def text_layers(self, checkpoint: str) -> int:
        """What clip skip can count back; 0 where that cannot be told."""
        return self._told(amounts.text_layers, checkpoint)

    def _told(self, what: Callable[[Path], int], checkpoint: str) -> int:
        card = self._cards.get(checkpoint)
        try:
            return self._remembered.ask(what, card.path) if card and not card.fault else 0
        except (Unreadable, OSError):
            return 0

    def _candidates(self) -> Iterable[Candidate]:
        yield Candidate(EMBEDDED, self._embedded)
        yield from _named_once(chain(scan.candidates(self._in_the_box), scan.candidates(self._folders)))

    def _looked(self, candidate: Candidate) -> Finding:
        """What was found out before, while nothing has changed."""
        if candidate.fault:
            return faulty(candidate.fault)
        now = stamp(candidate.path)
        finding = self._found.get(candidate.path, now)
        if finding is None:
            finding = self._looked_at(candidate)
            if now and not finding.fault.startswith(OF_THE_DISK):
                self._found.put(candidate.path, now, finding)
        return finding

    def _looked_at(self, candidate: Candidate) -> Finding:
        """A LoRA of no known family that fits the model in the box is of that one's."""
        finding = folders.look(candidate.path) if _is_folder(candidate) else files.look(candidate.path)
        if finding.kind != LORA or finding.fault or finding.family:
            return finding
        try:
            own = self._remembered.ask(fitting.layers_of, self._embedded)
            family = self._remembered.ask(folders.look, self._embedded).family
        except (Unreadable, OSError):  # a box without a model
            return finding
        return finding if loras.misfit(finding.layers, own) else replace(finding, family=family)

    def _card(self, candidate: Candidate, finding: Finding, beside: Beside) -> ModelCard:
        return ModelCard(
            name=candidate.name,
            kind=finding.kind,
            family=finding.family,
            path=candidate.path,
            layout="folder" if _is_folder(candidate) else "file",
            size=self._remembered.ask(_size, candidate.path),
            modes=() if finding.fault else finding.modes,
            title=candidate.name.rsplit("/", 1)[-1],
            defaults=finding.defaults,
            fault=finding.fault,
            lora=finding.lora and replace(finding.lora, preview=beside.preview),
            inversion=finding.inversion,
            prediction=finding.prediction,
            stored=finding.stored,
            lacks=finding.lacks,
            stock=finding.stock,
            beside=beside,
        )


def _named_once(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    """Of two that would have the same name, whatever their case, the later one keeps its suffix, or gets a number."""
    taken = set(TAKEN)
    for candidate in candidates:
        numbered = (f"{candidate.name} ({i})" for i in count(2))
        options = chain((candidate.name, candidate.name + candidate.path.suffix), numbered)
        name = next(option for option in options if option.casefold() not in taken)
        taken.add(name.casefold())
        yield Candidate(name, candidate.path, candidate.fault)


def _with_known_vae(card: ModelCard, cards: Mapping[str, ModelCard]) -> ModelCard:
    """A VAE that a preset names, and that is not here, is none."""
    vae = cards.get(card.defaults.vae)
    if not card.defaults.vae or (vae is not None and vae.kind == VAE and not vae.fault):
        return card
    log.warning("%s: the VAE %s of its settings is not here, so it uses its own", card.name, card.defaults.vae)
    return replace(card, defaults=replace(card.defaults, vae=""))


def _is_folder(candidate: Candidate) -> bool:
    return candidate.name == EMBEDDED or candidate.path.is_dir()


def _size(path: Path) -> int:
    """Bytes of what is loaded; 0 where that cannot be told."""
    try:
        return sum(file.stat().st_size for file in folders.used(path))
    except (OSError, Unreadable):
        return 0
