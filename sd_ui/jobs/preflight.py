"""What Generate would answer, and what it would cost, told while the form is still being filled in: nothing is loaded, kept or queued."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sd_ui.forecast.forecast import Forecast, Model, Seer, of_machine
from sd_ui.forecast.work import Measurement, Work, work_of
from sd_ui.jobs import advice
from sd_ui.jobs.advice import NOTE, REFUSE, WARN, Line
from sd_ui.jobs.intake import Models as DoorModels
from sd_ui.jobs.intake import Reader
from sd_ui.jobs.queue import Job
from sd_ui.jobs.waits import Ahead
from sd_ui.prompt import chunks, language
from sd_ui.prompt.chunks import Chunk
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, IMAGE
from sd_ui.spec.limits import Accepted
from sd_ui.spec.measured import Room
from sd_ui.spec.request import GenerationRequest, ImageRef

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
QUOTED = 6  # tokens
STAND_IN = 512  # the largest side of what stands for pictures, which are looked at only when Generate is pressed
NOBODY = Ahead(0, 0.0)


class Tokenizer(Protocol):
    @property
    def size(self) -> int: ...
    @property
    def comma(self) -> int | None: ...
    def ids(self, text: str) -> list[int]: ...
    def text(self, ids: Sequence[int]) -> str: ...


class Models(DoorModels, Protocol):
    """What is asked of the model index, besides what the door asks."""

    def reader(self, checkpoint: str) -> Tokenizer: ...
    def numbers(self, checkpoint: str) -> int: ...
    def weights(self, checkpoint: str, itemsize: int) -> int: ...
    def text_layers(self, checkpoint: str) -> int: ...


@dataclass(frozen=True)
class Report:
    """forecast: None where the request is refused. weights: bytes of the model that are not in memory yet. free: bytes, None where unknown."""

    lines: tuple[Line, ...] = ()
    forecast: Forecast | None = None
    ahead: Ahead = NOBODY
    weights: int = 0
    free: int | None = None

    @property
    def refused(self) -> bool:
        return any(line.severity == REFUSE for line in self.lines)

    @property
    def needs(self) -> int:
        """Bytes that will be asked for at the peak, as far as that is known."""
        return self.weights + (self.forecast.working if self.forecast else 0)


class Preflight:
    """measured: oldest first. engine: what it runs on, by name; {}, and a room of None, before that is known. ahead: of a job that comes now."""

    def __init__(
        self,
        reader: Reader,
        models: Models,
        measured: Callable[[], Sequence[Measurement]],
        engine: Callable[[], Mapping[str, str]] = lambda: {},
        room: Callable[[], Room | None] = lambda: None,
        ahead: Callable[[], Ahead] = lambda: NOBODY,
    ) -> None:
        self._reader, self._models, self._measured, self._engine, self._room, self._ahead = reader, models, measured, engine, room, ahead
        self._seen: tuple[Any, Seer] = ((), Seer((), self._model))  # what it was made of, and whoever looks back on that

    def of_form(self, mode: str, values: Mapping[str, Any], delivery: Delivery = Delivery()) -> Report:
        """values: as for Generate; pictures are taken to be there, and to be right."""
        unseen = stand_in(values)
        pictures = {name: unseen for name, field in FIELDS.items() if field.kind == IMAGE and mode in field.modes and not field.optional}
        words = {name: value for name, value in values.items() if name not in FIELDS or FIELDS[name].kind != IMAGE}
        return self._report(lambda: self._reader.judged(mode, words | pictures), delivery)

    def of_all(self, mode: str, values: Mapping[str, Any], delivery: Delivery = Delivery()) -> Report:
        """With pictures, which are decoded and judged, too."""
        return self._report(lambda: self._reader.rehearsed(mode, values), delivery)

    def of_job(self, job: Job) -> Forecast:
        return self._foretold(work_of(job.request, job.delivery), self._room())

    # ------------------------------------------------------------ parts
    def _report(self, judge: Callable[[], Accepted], delivery: Delivery) -> Report:
        try:
            accepted = judge()
            request, room = accepted.request, self._room()
            forecast = self._foretold(work_of(request, delivery), room)
            there = resident(room, request)
            free = None if room is None else room.free + (0 if there else room.held)  # models that nobody uses make room
            report = Report(forecast=forecast, ahead=self._ahead(), weights=0 if there else self._weights(request), free=free)
            notes = (Line(NOTE, "", note) for note in accepted.notes)
            return replace(report, lines=(*self._short_of_memory(report), *self._advised(request), *notes))
        except BadRequest as wrong:
            return Report((Line(REFUSE, wrong.field, wrong.why),))

    def _advised(self, request: GenerationRequest) -> Iterator[Line]:
        card = self._models.cards()[request.model.checkpoint]
        yield from advice.lines(request, card, self._models.text_layers(card.name))
        try:
            reader = self._models.reader(card.name)
        except BadRequest:  # a model whose tokens are not counted here
            return
        said, calls = request.plain(0), language.calls_of(request.sampling)
        for name, parts in (("prompt", language.positive(said.prompt, calls)), ("negative_prompt", language.negative(said.negative_prompt, calls))):
            cut = (language.chunked(text, reader.ids, reader.size, reader.comma, request.emphasis) for text in language.texts(parts))
            yield from overflow(name, max(cut, key=lambda found: (len(found), chunks.used(found, reader.size))), reader)

    def _short_of_memory(self, report: Report) -> Iterator[Line]:
        if report.free is not None and report.needs > report.free:
            said = f"This will need about {gigabytes(report.needs)} of memory, and {gigabytes(report.free)} are free: it will be slow, or not fit."
            yield Line(WARN, "width" if report.needs - report.weights > report.free else "model", said)

    def _foretold(self, work: Work, room: Room | None) -> Forecast:
        return self._seer().forecast(work, room is not None and is_in(room, work.model))

    def _seer(self) -> Seer:
        """The same one until there is a new measurement, so that what it worked out is not worked out again."""
        engine, measured = self._engine(), self._measured()
        made_of = (measured, engine.get("device", ""), engine.get("dtype", ""))
        if self._seen[0] != made_of:
            self._seen = (made_of, Seer(of_machine(*made_of), self._model))
        return self._seen[1]

    def _model(self, name: str) -> Model:
        card = self._models.cards().get(name)
        return Model(name, card.family if card else "", self._models.numbers(name))

    def _weights(self, request: GenerationRequest) -> int:
        """Bytes, from what it took before, or from its headers."""
        name, seen = request.model.checkpoint, self._seer().measurements
        known = next((one.measured.weights for one in reversed(seen) if one.work.model == name and one.measured.weights), 0)
        dtype = self._engine().get("dtype") or (seen[-1].measured.dtype if seen else "float32")
        return known or self._models.weights(name, BYTES.get(dtype, 4))


def stand_in(values: Mapping[str, Any]) -> ImageRef:
    """As large as the result, up to a bound: who resizes by a factor is told of a picture like the others, and refused nothing that is not known."""
    asked = (values.get(name) for name in ("width", "height"))
    return ImageRef("", *(int(min(side, STAND_IN)) if isinstance(side, int | float) and side >= 1 else STAND_IN for side in asked))


def overflow(name: str, cut: Sequence[Chunk], reader: Tokenizer) -> Iterator[Line]:
    """What falls into another chunk is read apart from what stands before it."""
    if len(cut) < 2:
        return
    begins = [f"“{reader.text(chunk.ids[:QUOTED])}…”" for chunk in cut[1:3] if chunk.ids]
    more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
    used = chunks.used(cut, reader.size)
    said = f"{FIELDS[name].label}: {used} tokens are {len(cut)} chunks of {reader.size}, read apart from each other. "
    yield Line(NOTE, name, said + f"The next one{'s begin' if len(begins) > 1 else ' begins'} at {' and '.join(begins)}{more}.")


def resident(room: Room | None, request: GenerationRequest) -> bool:
    return room is not None and is_in(room, request.model.checkpoint)


def is_in(room: Room, checkpoint: str) -> bool:
    """A checkpoint with another VAE is called "<name> with <vae>"."""
    return any(name == checkpoint or name.startswith(f"{checkpoint} with ") for name in room.resident)


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 95e6 else f"{count / 1e6:.0f} MB"
