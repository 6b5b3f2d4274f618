"""How much work a request is, in counts: calls of the model, rows and cells in each. Seconds are what a machine makes of them."""

from collections import Counter
from dataclasses import dataclass

from sd_ui.prompt import composition, language
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.measured import Measured
from sd_ui.spec.request import GenerationRequest, Guidance, Sampling, steps_to_run
from sd_ui.spec.samplers import SAMPLERS

CELL = 8  # pixels along a side of a latent cell, in most families; for the others it is a unit like any other


@dataclass(frozen=True)
class Work:
    """calls, previews: of one picture. rows: of a call, on average: one for the prompt, one for the negative prompt, one for each further AND.

    second: the refiner, which answers the share of the calls that `first` leaves.
    """

    model: str
    mode: str
    sampler: str
    width: int
    height: int
    calls: float
    rows: float = 1.0
    previews: float = 0.0
    pictures: int = 1
    second: str = ""
    first: float = 1.0

    @property
    def cells(self) -> int:
        return max(1, self.width // CELL) * max(1, self.height // CELL)


@dataclass(frozen=True)
class Measurement:
    """A job that has ended: what it was, what it took. numbers: how many the model's weights have in all. when: UTC, ISO 8601."""

    work: Work
    measured: Measured
    family: str = ""
    numbers: int = 0
    when: str = ""


def work_of(request: GenerationRequest, delivery: Delivery = Delivery()) -> Work:
    sampling, refiner = request.sampling, request.refiner
    steps = steps_to_run(sampling.steps, request.strength)
    if steps and request.source and request.source.redo.runs_all:
        steps = sampling.steps
    calls = float(language.calls_of(sampling) * steps / sampling.steps)
    width, height = request.width, request.height
    if request.hires:  # counted as if all calls were as large as those of its second pass
        width, height, again = request.hires.width, request.hires.height, request.hires.sampling
        calls = calls * request.width * request.height / (width * height) + (language.calls_of(again) if request.hires.strength else 0)
    return Work(
        model=request.model.checkpoint,
        mode=request.mode,
        sampler=sampling.sampler,
        width=width,
        height=height,
        calls=calls,
        rows=rows(request),
        previews=0.0 if delivery.preview == "off" else float(-(-steps // delivery.preview_every)),
        pictures=request.count,
        second=refiner.checkpoint if refiner else "",
        first=refiner.switch_at if refiner else 1.0,
    )


def rows(request: GenerationRequest) -> float:
    """On average over all calls of all pictures."""
    sampling = request.sampling
    parts = Counter(request.words_of(index).prompt for index in range(request.count))
    asked = sum(len(composition.split(language.bare(text))) * often for text, often in parts.items()) / request.count
    more = guided(sampling) + (asked if sampling.guidance.pag else 0)
    return asked + more * guided_part(sampling.guidance)


def guided(sampling: Sampling) -> bool:
    """Whether the negative prompt is asked for, too. CFG++ needs it at any scale."""
    return sampling.cfg_scale != 1 or SAMPLERS[sampling.sampler].guidance != 1


def guided_part(guidance: Guidance) -> float:
    return max(0.0, min(1.0, guidance.stop) - max(0.0, guidance.start))
