"""`generate` on the command line: one request drawn in this process, without page and queue."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from sd_ui import durable, services
from sd_ui.imaging import files, record
from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs import foretold, measurements
from sd_ui.jobs.advice import REFUSE, Line
from sd_ui.jobs.intake import Reader, check
from sd_ui.jobs.preflight import Preflight, Report
from sd_ui.jobs.queue import now
from sd_ui.models.index import ModelIndex
from sd_ui.settings import Settings
from sd_ui.spec.codec import dump
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Drawn, Eased, Event, Loading, Stepped
from sd_ui.spec.fields import FIELDS, IMAGE
from sd_ui.spec.limits import Accepted
from sd_ui.spec.made import Record

OpenEngine = Callable[[Settings, ModelIndex, Blobs], services.Engine]
BAR = 24


@dataclass(frozen=True)
class Written:
    path: Path
    record: Record


@dataclass(frozen=True)
class Result:
    """notes: what was changed on the way in, or what the user should know about a picture."""

    written: tuple[Written, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def files(self) -> list[Path]:
        return [written.path for written in self.written]

    def as_json(self) -> dict[str, Any]:
        pictures = [{"file": str(w.path), "seed": w.record.seed, "record": dump(w.record)} for w in self.written]
        return {"files": pictures, "notes": list(self.notes), "seconds": round(self.seconds, 3)}


def draw(
    settings: Settings,
    mode: str,
    values: Mapping[str, Any],
    output: Path | None = None,
    quality: int = 92,
    open_engine: OpenEngine = services.open_engine,
) -> Result:
    """values: by the names of spec.fields; pictures as paths. Raises BadRequest before torch is imported, and whatever the engine raises."""
    started = time.monotonic()
    delivery = replace(settings.delivery, quality=quality, preview="off")
    check(delivery)
    folder = writable(output or settings.outputs_dir / datetime.now(UTC).strftime("%Y-%m-%d"))
    models, blobs = services.open_models(settings), services.open_blobs(settings)
    accepted = read(mode, values, models, blobs, settings)
    written, notes = [], list(accepted.notes)
    bar = Bar(sys.stderr)
    bar.say("Loading PyTorch")
    engine = open_engine(settings, models, blobs)
    try:
        for event in engine.generate(accepted.request, delivery):
            bar.show(event)
            if isinstance(event, Drawn):
                title = services.title(models.cards(), accepted.request.model.checkpoint)
                written.append(write(folder, event, accepted, title, delivery))
                said = (*event.notes, record.note_on(written[-1].record, title, delivery))
                notes += [note for note in said if note and note not in notes]
    finally:
        bar.clear()
    return Result(tuple(written), tuple(notes), time.monotonic() - started)


def read(mode: str, values: Mapping[str, Any], models: ModelIndex, blobs: Blobs, settings: Settings) -> Accepted:
    return Reader(blobs, models, settings.limits, services.open_wording(settings)).read(mode, opened(values))


def rehearsed(settings: Settings, mode: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What `draw` would do, as `jobs.foretold.plain`, from what a server measured in this outputs folder. Nothing is drawn, loaded or kept."""
    models = services.open_models(settings)
    reader = Reader(services.open_blobs(settings), models, settings.limits, services.open_wording(settings))
    before = measurements.read(settings.outputs_dir / "sd_ui.db")
    try:
        report = Preflight(reader, models, lambda: before).of_all(mode, opened(values), replace(settings.delivery, preview="off"))
    except BadRequest as wrong:
        report = Report((Line(REFUSE, wrong.field, wrong.why),))
    return foretold.plain(report)


def opened(values: Mapping[str, Any]) -> dict[str, Any]:
    """With pictures as the bytes of their files. Raises BadRequest."""
    return {name: files.read(value, name) if FIELDS[name].kind == IMAGE else value for name, value in values.items()}


def writable(folder: Path) -> Path:
    """Better said now than after a minute of sampling."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest("output", f"{str(folder)!r} cannot be made ({error.strerror}); give a folder that can be written") from None
    return folder


def write(folder: Path, drawn: Drawn, accepted: Accepted, title: str, delivery: Delivery) -> Written:
    image = Image.frombytes("RGB", (drawn.width, drawn.height), drawn.rgb)
    made = Record(accepted.request, drawn.made, drawn.index, drawn.seed, record.pixels_hash(image), "", now(), drawn.notes)
    path = free(folder, drawn.seed, record.ENDINGS[delivery.format])
    durable.write(path, record.encode(image, made, title, delivery))
    return Written(path, made)


def free(folder: Path, seed: int, ending: str) -> Path:
    """A name that no picture has: those of the page begin with a number, these with a word."""
    names = (f"drawn-{seed}{f'-{i}' if i > 1 else ''}.{ending}" for i in range(1, sys.maxsize))
    return next(path for path in (folder / name for name in names) if not path.exists())


class Bar:
    """A line that is written over; nothing where nobody watches."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._watched = out, out.isatty()

    def show(self, event: Event) -> None:
        match event:
            case Loading(what):
                self.say(f"Loading {what}")
            case Eased(text):
                self.say(text)
            case Stepped():
                filled = round(BAR * event.index / event.total)
                which = f"picture {event.picture}/{event.count}, " if event.count > 1 else ""
                self.say(f"[{'#' * filled}{'.' * (BAR - filled)}] {which}step {event.index}/{event.total}, {event.remaining:.0f} s left")

    def say(self, text: str) -> None:
        if self._watched:
            print(f"\r\x1b[K{text}", end="", file=self._out, flush=True)

    def clear(self) -> None:
        if self._watched:
            print("\r\x1b[K", end="", file=self._out, flush=True)
