"""The composition root: everything that has state is made here, once, and handed to whoever needs it. Importing it imports no torch and no gradio."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sd_ui.hub.downloads import Downloads
from sd_ui.hub.fetch import Fetcher, folder_of
from sd_ui.hub.hub import Hub
from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs.bus import Bus
from sd_ui.jobs.database import Database
from sd_ui.jobs.foresight import Foresight
from sd_ui.jobs.gallery import Gallery
from sd_ui.jobs.history import History
from sd_ui.jobs.intake import Intake
from sd_ui.jobs.keep import Keep
from sd_ui.jobs.measurements import Measurements
from sd_ui.jobs.queue import Queue
from sd_ui.jobs.worker import Driver, OpenDriver, Worker
from sd_ui.models.hashing import Hasher
from sd_ui.models.index import ModelIndex
from sd_ui.prompt import coined
from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.own_styles import OwnStyles
from sd_ui.prompt.suggestions import Suggestions
from sd_ui.prompt.tags import TagFiles
from sd_ui.prompt.wording import Wording
from sd_ui.settings import Settings
from sd_ui.spec.cards import LORA, ModelCard
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Event
from sd_ui.spec.limits import Limits
from sd_ui.spec.measured import Room
from sd_ui.spec.request import EMBEDDED, GenerationRequest, ModelChoice

PACKAGE = Path(__file__).parent
PRESETS = PACKAGE.parent / "presets" / "models"
WILDCARDS, STYLES = PRESETS.with_name("wildcards"), PRESETS.with_name("styles")


@dataclass(frozen=True)
class Writing:
    """What helps to write a prompt. styles: those that people keep on the page; `Wording` reads them with all others."""

    suggestions: Suggestions
    styles: OwnStyles
    history: History


@dataclass(frozen=True)
class Services:
    """What a tab or a route may be given. The worker is not started yet: the page comes first, torch after it."""

    settings: Settings
    models: ModelIndex
    blobs: Blobs
    database: Database
    queue: Queue
    gallery: Gallery
    bus: Bus
    worker: Worker
    intake: Intake
    limits: Limits
    wording: Wording
    hasher: Hasher
    downloads: Downloads
    foresight: Foresight
    writing: Writing

    def close(self) -> None:
        """Running jobs wait for the next start; nothing is lost."""
        self.downloads.close()
        self.hasher.stop()
        self.worker.stop()
        self.database.close()


def open_services(settings: Settings, open_driver: OpenDriver | None = None) -> Services:
    """open_driver: another engine than the real one. Raises FolderInUse where another process works in the outputs folder."""
    outputs, limits = settings.outputs_dir, settings.limits
    outputs.mkdir(parents=True, exist_ok=True)  # before the models, which keep there what was found out about them
    models, blobs = open_models(settings), open_blobs(settings)
    database = Database(outputs / "sd_ui.db")
    queue = Queue(database, per_owner=settings.max_waiting, in_all=settings.max_waiting_all)
    gallery, bus = Gallery(database, outputs), Bus()
    keep = Keep(gallery, outputs, lambda checkpoint: title(models.cards(), checkpoint))
    machine = Machine()
    measurements = Measurements(database, lambda name: (models.card(name).family, models.numbers(name)))
    worker = Worker(queue, bus, keep, open_driver or real_driver(settings, models, blobs, machine), measure=measurements.add)
    wording = open_wording(settings)
    intake = Intake(queue, blobs, models, limits, wording)
    foresight = Foresight.of(measurements, queue, bus, intake, models, lambda: worker.state.facts, lambda: machine.look())
    hasher, downloads = Hasher(models, lambda: worker.busy), Downloads(open_fetcher(settings), models.refresh)
    writing = open_writing(settings, models, wording, database)
    return Services(
        settings, models, blobs, database, queue, gallery, bus, worker, intake, limits, wording, hasher, downloads, foresight, writing
    )  # fmt: skip


def open_models(settings: Settings) -> ModelIndex:
    outputs = settings.outputs_dir
    return ModelIndex(settings.models_dir, PACKAGE / "embedded", PRESETS, PACKAGE / "embedded_loras", outputs / ".models", outputs / "presets")


def open_fetcher(settings: Settings, environ: Mapping[str, str] = os.environ) -> Fetcher:
    return Fetcher(Hub.of(environ), folder_of(settings.models_dir))


def open_wording(settings: Settings) -> Wording:
    """What comes with the program, and what the user has: the user's counts where both have a name."""
    return Wording((STYLES, *settings.styles_file, own_styles(settings)), WildcardFiles((WILDCARDS, *settings.wildcards_dir)))


def own_styles(settings: Settings) -> Path:
    return settings.outputs_dir / "presets" / "styles" / "own.toml"


def open_writing(settings: Settings, models: ModelIndex, wording: Wording, database: Database) -> Writing:
    suggestions = Suggestions(models.cards, partial(fits, models), wording, TagFiles(settings.tags_file))
    return Writing(suggestions, OwnStyles(own_styles(settings)), History(database))


def fits(models: ModelIndex, checkpoint: str, card: ModelCard) -> bool:
    """Whether a checkpoint can use a LoRA or an embedding."""
    try:
        if card.kind == LORA:
            return not models.misfit(checkpoint, card.name)
        return not coined.misfit(card, models.text_widths(checkpoint), models.reader(checkpoint).size)
    except BadRequest:
        return False


def open_blobs(settings: Settings) -> Blobs:
    return Blobs(settings.outputs_dir / "inputs")


def title(cards: Mapping[str, ModelCard], checkpoint: str) -> str:
    """What a picture calls its model: the name without folders, as other programs do. It is found again by it."""
    return checkpoint.rsplit("/", 1)[-1] if checkpoint in cards else checkpoint


# ---------------------------------------------------------------- the engine
class Engine(Protocol):
    """What is used of engine.generate.Engine here, without importing it: it brings torch. manager: its PipelineManager."""

    manager: Any

    def course(self, request: GenerationRequest, delivery: Delivery = ..., done: frozenset[int] = ...) -> Any: ...
    def generate(self, request: GenerationRequest, delivery: Delivery = ...) -> Iterator[Event]: ...


class EngineDriver:
    """The engine as the worker's driver: jobs go in as requests. Made and used in the worker's thread."""

    def __init__(self, engine: Engine) -> None:
        from sd_ui.engine.driver import Driver as Courses

        self._engine, self._courses = engine, Courses()

    def add(self, job: str, request: GenerationRequest, delivery: Delivery, done: frozenset[int]) -> None:
        self._courses.add(job, self._engine.course(request, delivery, done))

    def turn(self) -> list[tuple[str, Event | Exception | None]]:
        return self._courses.turn()

    def drop(self, job: str) -> None:
        self._courses.drop(job)

    def ready(self, request: GenerationRequest | None) -> None:
        self._engine.manager.ready(request.model if request else None)

    def facts(self) -> dict[str, str]:
        facts: dict[str, str] = self._engine.manager.facts()
        return facts

    def room(self) -> Room:
        """Any thread may ask."""
        from sd_ui.engine import memory

        manager = self._engine.manager
        return Room(memory.free(manager.place.device), manager.resident, manager.filled)


@dataclass
class Machine:
    """The memory of the engine's device. look: None comes of it until there is an engine."""

    look: Callable[[], Room | None] = lambda: None


def real_driver(settings: Settings, models: ModelIndex, blobs: Blobs, machine: Machine | None = None) -> OpenDriver:
    """machine: is told where to look for its memory."""

    def opened(tell: Callable[[str], None]) -> Driver:
        tell("Loading PyTorch.")
        engine = open_engine(settings, models, blobs, lasting=True)
        from sd_ui.engine import memory  # now that it is there

        memory.settle()
        if not models.card(EMBEDDED).fault:  # so that the first picture does not wait for it
            tell("Loading the embedded model.")
            with engine.manager.lease(ModelChoice()):
                pass
        driver = EngineDriver(engine)
        if machine is not None:
            machine.look = driver.room
        return driver

    return opened


def open_engine(settings: Settings, models: ModelIndex, blobs: Blobs, lasting: bool = False) -> Engine:
    """Imports torch: seconds. lasting: it pays to write copies of models for the next time.

    Raises BadRequest for a device or dtype that this machine does not have.
    """
    from sd_ui.engine import memory
    from sd_ui.engine.ahead import Ahead
    from sd_ui.engine.device import choose
    from sd_ui.engine.generate import Engine as RealEngine
    from sd_ui.engine.pipeline_manager import PipelineManager
    from sd_ui.engine.policy import Wishes
    from sd_ui.engine.remembered import latents
    from sd_ui.engine.sidecars import Sidecars

    budget, place = settings.model_memory_mb * 1_000_000 or None, choose(settings.device, settings.dtype)
    wishes = Wishes(settings.memory_mode, int(settings.vram_budget * 2**30), settings.fp8)
    memory.limit(place.device, wishes.budget)
    ahead = Ahead(Sidecars(settings.outputs_dir / ".models" / "weights", int(settings.weights_cache * 2**30)), models.hashes, lasting)
    manager = PipelineManager(models.cards, place, budget, models.hashes, ahead, wishes=wishes)
    return RealEngine(manager, blobs, latents(settings.latents_cache_mb * 1_000_000))
