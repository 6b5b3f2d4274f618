"""The engine's door: a request becomes a course, a generator of events and of questions to the model."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import sd_ui
from sd_ui.engine import depth, guidance, start
from sd_ui.engine.driver import Course, Driver
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.run import Clock, Inputs, Run, drawn
from sd_ui.engine.text import TextEncoder
from sd_ui.engine.timeline import Timeline, calls_of
from sd_ui.imaging.blobs import Blobs
from sd_ui.prompt import networks
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Event, Loading, Mapped
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest

UNCHANGED = "Denoising strength 0: no step was run, the picture is the input, unchanged."
FITTED = "Denoising strength 0: no step was run, the picture is the input, fitted to the size and otherwise unchanged."


@dataclass
class Engine:
    """Used by one thread."""

    manager: PipelineManager
    blobs: Blobs
    _texts: TextEncoder = field(default_factory=TextEncoder)

    def course(self, request: GenerationRequest, delivery: Delivery = Delivery(), done: frozenset[int] = frozenset()) -> Course:
        """One job's run. done: indexes of the pictures that need not be drawn again."""
        inputs = Inputs.of(request, self.blobs)
        if start.strength(request) <= 0:
            yield from unchanged(request, inputs, done)
            return
        yield Loading(request.model.checkpoint)
        with self.manager.lease(request.model, networks.asked(request.prompt)) as loaded:
            run = Run(request, delivery, loaded, inputs, self._encoded(request, loaded), inputs.scene(request, loaded))
            if run.scene.depth is not None:
                yield Mapped(depth.shown(run.scene.depth, request.width, request.height))
            clock = Clock(time.monotonic(), run.steps * (request.count - len(done)))
            for index in range(request.count):
                if index not in done:
                    yield from run.picture(index, clock)

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

    def _encoded(self, request: GenerationRequest, loaded: Loaded) -> Timeline:
        scale = guidance.scale(request.sampling)
        calls = calls_of(request.sampling)
        return self._texts.encode(loaded, request.prompt, request.negative_prompt, request.model.clip_skip, scale, calls, request.emphasis)


def unchanged(request: GenerationRequest, inputs: Inputs, done: frozenset[int]) -> Course:
    assert inputs.image is not None and request.source is not None
    size = request.source.image.width, request.source.image.height
    said = UNCHANGED if size == (request.width, request.height) else FITTED
    for index in range(request.count):
        if index not in done:
            yield drawn(request, index, inputs.image, Made(app=sd_ui.__version__), (*inputs.notes, said))
