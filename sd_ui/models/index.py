"""The models that there are: a card for each, by the name that requests use. Names are keys of this index, never paths."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from sd_ui.models import files, fitting, folders, loras, presets, scan, tokens
from sd_ui.models.finding import CHECKPOINT, Finding, faulty
from sd_ui.models.header import Unreadable
from sd_ui.models.scan import Candidate
from sd_ui.models.stamps import Remembered
from sd_ui.models.tokens import TokenCount
from sd_ui.spec.cards import LORA, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import unknown
from sd_ui.spec.request import EMBEDDED
from sd_ui.spec.samplers import AUTOMATIC

TAKEN = (EMBEDDED, AUTOMATIC.casefold(), "none", "")  # names that mean something else


class ModelIndex:
    """folders: where the user keeps models, flat or as AUTOMATIC1111 lays them out. embedded: the model in the box. presets: of *.toml.

    embedded_loras: those in the box.

    A scan replaces the tables as a whole, so that other threads always read a complete one.
    """

    def __init__(self, folders: Sequence[Path], embedded: Path, presets: Path, embedded_loras: Path | None = None) -> None:
        self._folders, self._embedded, self._presets = tuple(folders), embedded, presets
        self._in_the_box = () if embedded_loras is None else (embedded_loras,)
        self._remembered = Remembered()
        self._cards: dict[str, ModelCard] = {}
        self._findings: dict[str, Finding] = {}
        self.refresh()

    def cards(self) -> dict[str, ModelCard]:
        """By name; the embedded model first, then in the order of the folders. What cannot be used is there too, with its fault."""
        return self._cards

    def card(self, name: str) -> ModelCard:
        """Raises BadRequest with the nearest names."""
        cards = self._cards
        if name not in cards:
            raise BadRequest("model", unknown(name, cards))
        return cards[name]

    def refresh(self) -> None:
        """Looks at the disk again. Only what has changed since the last look is read."""
        known = presets.read(self._presets)
        found = [(candidate, self._looked(candidate)) for candidate in self._candidates()]
        self._findings = {candidate.name: finding for candidate, finding in found}
        self._cards = {candidate.name: presets.applied(known, _card(candidate, finding)) for candidate, finding in found}

    def tokens(self, checkpoint: str, text: str) -> TokenCount:
        """As the checkpoint's own tokenizer counts. Raises BadRequest."""
        card = self.card(checkpoint)
        finding = self._findings.get(checkpoint)
        if finding is None or finding.fault or card.kind != CHECKPOINT:
            raise BadRequest("model", f"{checkpoint} cannot be used: {card.fault or 'it is a VAE'}")
        try:
            tokenizer = self._remembered.ask(tokens.tokenizer, finding.tokenizer or tokens.CLIP_L)
        except Unreadable as error:
            raise BadRequest("model", f"{checkpoint} cannot be used: {error}") from None
        return tokens.count(tokenizer, text, finding.positions)

    def loras(self, checkpoint: str) -> list[ModelCard]:
        """Those that a checkpoint can wear; none where it is not there or cannot be read."""
        cards, findings = self._cards, self._findings
        if checkpoint not in cards or cards[checkpoint].kind != CHECKPOINT:
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
        try:
            why = loras.misfit(finding.layers, self._remembered.ask(fitting.layers_of, card.path))
        except (Unreadable, OSError):
            return f"{lora} fits nothing, since {checkpoint} cannot be read"
        if why and other.family != card.family and other.family in loras.TITLES and card.family in loras.TITLES:
            why = f"it is for {loras.TITLES[other.family]}, and {checkpoint} is {loras.TITLES[card.family]}"
        return f"{lora} does not go with {checkpoint}: {why}" if why else ""

    def _candidates(self) -> Iterable[Candidate]:
        yield Candidate(EMBEDDED, self._embedded)
        yield from _named_once(chain(scan.candidates(self._in_the_box), scan.candidates(self._folders)))

    def _looked(self, candidate: Candidate) -> Finding:
        """A LoRA of no known family that fits the model in the box is of that one's."""
        finding = self._look(candidate)
        if finding.kind != LORA or finding.fault or finding.family:
            return finding
        try:
            own = self._remembered.ask(fitting.layers_of, self._embedded)
            family = self._remembered.ask(folders.look, self._embedded).family
        except (Unreadable, OSError):  # a box without a model
            return finding
        return finding if loras.misfit(finding.layers, own) else replace(finding, family=family)

    def _look(self, candidate: Candidate) -> Finding:
        if candidate.fault:
            return faulty(candidate.fault)
        return self._remembered.ask(folders.look if _is_folder(candidate) else files.look, candidate.path)


def _named_once(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    """Of two that would have the same name, whatever their case, the later one keeps its suffix, or gets a number."""
    taken = set(TAKEN)
    for candidate in candidates:
        options = (candidate.name, candidate.name + candidate.path.suffix, *(f"{candidate.name} ({i})" for i in range(2, 10_000)))
        name = next(option for option in options if option.casefold() not in taken)
        taken.add(name.casefold())
        yield Candidate(name, candidate.path, candidate.fault)


def _card(candidate: Candidate, finding: Finding) -> ModelCard:
    return ModelCard(
        name=candidate.name,
        kind=finding.kind,
        family=finding.family,
        path=candidate.path,
        layout="folder" if _is_folder(candidate) else "file",
        size=_size(candidate.path),
        modes=() if finding.fault else finding.modes,
        title=candidate.name.rsplit("/", 1)[-1],
        defaults=finding.defaults,
        fault=finding.fault,
        lora=finding.lora and replace(finding.lora, preview=loras.preview_beside(candidate.path)),
        prediction=finding.prediction,
    )


def _is_folder(candidate: Candidate) -> bool:
    return candidate.name == EMBEDDED or candidate.path.is_dir()


def _size(path: Path) -> int:
    """Bytes of what is loaded; 0 where that cannot be told."""
    try:
        return sum(file.stat().st_size for file in folders.used(path))
    except (OSError, Unreadable):
        return 0
