"""The engine's door: a request becomes a course, a generator of events and of questions to the model."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

from torch import Tensor

import sd_ui
from sd_ui.engine import depth, guidance, inversions, refiner, remembered
from sd_ui.engine.driver import Course, Driver
from sd_ui.engine.families.stock import StockModel
from sd_ui.engine.footprint import Work
from sd_ui.engine.hires import SecondPass, first_way, second_request, second_way
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.policy import ENCODING, READING, SAMPLING
from sd_ui.engine.refiner import Second
from sd_ui.engine.relief import Relief
from sd_ui.engine.remembered import Remembered
from sd_ui.engine.run import Clock, Run, drawn
from sd_ui.engine.stock_run import StockRun
from sd_ui.engine.text import TextEncoder
from sd_ui.engine.timeline import Timeline
from sd_ui.imaging.blobs import Blobs
from sd_ui.prompt import language, networks
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Event, Loading, Mapped
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest, ModelChoice

UNCHANGED = "Denoising strength 0: no step was run, the picture is the input, unchanged."
FITTED = "Denoising strength 0: no step was run, the picture is the input, fitted to the size and otherwise unchanged."


@dataclass
class Engine:
    """Used by one thread. latents: what denoising came to, so that the same picture is only decoded again."""

    manager: PipelineManager
    blobs: Blobs
    latents: Remembered[Tensor] = field(default_factory=remembered.no_latents)
    _texts: TextEncoder = field(default_factory=TextEncoder)

    def course(self, request: GenerationRequest, delivery: Delivery = Delivery(), done: frozenset[int] = frozenset()) -> Course:
        """One job's run. done: indexes of the pictures that need not be drawn again."""
        inputs = Inputs.of(request, self.blobs)
        if request.strength <= 0:
            yield from unchanged(request, inputs, done)
            return
        yield Loading(f"{request.model.checkpoint} and {request.refiner.checkpoint}" if request.refiner else request.model.checkpoint)
        left = [index for index in range(request.count) if index not in done]
        clock = Clock(time.monotonic(), len(left))
        for _, indexes in groupby(left, request.words_of):
            yield from self._alike(request, delivery, inputs, list(indexes), clock)
        if measured := clock.watch.measured():
            yield measured

    def _alike(self, request: GenerationRequest, delivery: Delivery, inputs: Inputs, indexes: list[int], clock: Clock) -> Course:
        """Pictures that are told the same."""
        said, watch = request.plain(indexes[0]), clock.watch
        with ExitStack() as leases:
            with watch.spends("loading"):
                watch.cold |= not {said.model.checkpoint, f"{said.model.checkpoint} with {said.model.vae}"} & {*self.manager.resident}
                loaded = leases.enter_context(self.manager.lease(said.model, networks.asked(said.prompt), work_of(said)))
                refining = leases.enter_context(self._refining(said, loaded))
            relief = self._relief(said, loaded, refining)
            watch.saw(loaded)
            leases.enter_context(watch.watches_memory(loaded.place.device))
            if isinstance(loaded, StockModel):
                for index in indexes:
                    run = StockRun(said, delivery, loaded, inputs, relief.again())
                    yield from run.relief.continued(SAMPLING, lambda run=run, index=index: run.picture(index, clock))
                watch.policy = self.manager.policy(loaded).name
                return
            with watch.spends("text"):
                text = yield from relief.tried(READING, lambda: self._encoded(said, loaded))
                second = yield from relief.tried(READING, lambda: self._second(said, loaded, refining))
                larger = yield from relief.tried(READING, lambda: self._larger(said, loaded, refining))
            with watch.spends("start"):
                scene = yield from relief.tried(ENCODING, lambda: inputs.scene(said, loaded))
            if scene.depth is not None:
                yield Mapped(depth.shown(scene.depth, request.width, request.height))
            for index in indexes:
                run = Run(said, delivery, loaded, inputs, text, scene, second, relief.again(), known=self.latents)
                yield from (replace(run, second=None, way=first_way(said, larger.hires), larger=larger) if larger else run).picture(index, clock)
            watch.policy = self.manager.policy(loaded).name  # at the end: memory may have run out on the way

    def _relief(self, request: GenerationRequest, *loaded: Loaded | None) -> Relief:
        """All models of a job use less: which of them took the last of the memory, nobody can say."""
        used = [one for one in loaded if one is not None]

        def ease(stage: str) -> str | None:
            said = [how for one in used if (how := self.manager.ease(one, stage, work_of(request)))]
            return " and ".join(dict.fromkeys(said)) or None

        return Relief(ease, lambda: self.manager.policy(used[0]))

    def generate(self, request: GenerationRequest, delivery: Delivery = Delivery()) -> Iterator[Event]:
        """A driver with one course, for programs without a queue. Raises what goes wrong; closing it cancels."""
        driver = Driver()
        driver.add("", self.course(request, delivery))
        try:
            while driver.jobs:
                for _, said in driver.turn():
                    if isinstance(said, Exception):
                        raise said
                    if said is not None:
                        yield said
        finally:
            driver.drop("")

    @contextmanager
    def _refining(self, request: GenerationRequest, first: Loaded) -> Iterator[Loaded | None]:
        """The refiner. It wears the prompt's LoRAs where they are of its family."""
        if request.refiner is None:
            yield None
            return
        card = self.manager.cards().get(request.refiner.checkpoint)
        loras = networks.asked(request.prompt) if card and card.family == first.family.name else ()
        vae = card.defaults.vae if card and card.lacks else ""  # a refiner in a file without one uses the first's, and yet needs one to be loaded
        with self.manager.lease(ModelChoice(request.refiner.checkpoint, vae), loras, work_of(request)) as loaded:
            yield loaded

    def _second(self, request: GenerationRequest, first: Loaded, refining: Loaded | None, earlier: int = 0) -> Second | None:
        """The refiner with its own reading of the prompts."""
        if request.refiner is None or refining is None:
            return None
        return Second(refining, self._encoded(request, refining, earlier), refiner.boundary(request.refiner, first, refining))

    def _larger(self, request: GenerationRequest, loaded: Loaded, refining: Loaded | None) -> SecondPass | None:
        """The second pass of hires fix, in which the refiner takes part, where there is one: A1111's default."""
        if request.hires is None:
            return None
        asked, earlier = second_request(request), language.calls_of(request.sampling)
        text = self._encoded(asked, loaded, earlier)
        return SecondPass(request.hires, asked, second_way(request, request.hires), text, self._second(asked, loaded, refining, earlier))

    def _encoded(self, request: GenerationRequest, loaded: Loaded, earlier: int = 0) -> Timeline:
        scale = guidance.scale(request.sampling)
        calls = language.calls_of(request.sampling)
        known = inversions.of(loaded, self.manager.cards(), self.manager.hashes.of)
        said = request.prompt, request.negative_prompt, request.model.clip_skip
        return self._texts.encode(loaded, *said, scale, calls, request.emphasis, known, earlier)


def work_of(request: GenerationRequest) -> Work:
    perturbed = 1 if request.sampling.guidance.pag else 0
    width, height = (request.hires.width, request.hires.height) if request.hires else (request.width, request.height)
    return Work(width, height, (2 if guidance.needs_uncond(guidance.scale(request.sampling)) else 1) + perturbed)


def unchanged(request: GenerationRequest, inputs: Inputs, done: frozenset[int]) -> Course:
    assert inputs.unchanged is not None and request.source is not None
    size = request.source.image.width, request.source.image.height
    said = UNCHANGED if size == inputs.unchanged.size else FITTED
    for index in range(request.count):
        if index not in done:
            yield drawn(request, index, inputs.unchanged, Made(app=sd_ui.__version__), (*inputs.notes, said))
