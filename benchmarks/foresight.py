"""How wrong the predictions are that stand under Generate: a job is foretold from those before it, then drawn, and both are compared."""

import itertools
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace

from benchmarks import models
from benchmarks.measure import Row
from sd_ui.engine.generate import Engine
from sd_ui.forecast.forecast import Model, Seer
from sd_ui.forecast.work import Measurement, work_of
from sd_ui.models import amounts
from sd_ui.services import PACKAGE
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.measured import Measured
from sd_ui.spec.request import EMBEDDED, GenerationRequest, Sampling

GOAL = 0.3  # part by which a prediction may be wrong after three runs
FIRST = ((128, 128, 20, 3.0, 1), (192, 128, 12, 3.0, 1), (128, 128, 8, 3.0, 1))  # width, height, steps, CFG scale, pictures
THEN = (
    (96, 96, 20, 3.0, 1), (128, 128, 30, 3.0, 1), (160, 160, 16, 3.0, 1), (256, 256, 10, 3.0, 1), (192, 192, 20, 1.0, 1), (128, 192, 10, 3.0, 3),
    (320, 256, 8, 3.0, 1), (128, 128, 20, 3.0, 1),
)  # fmt: skip
DELIVERY = Delivery()


def asked(seed: int, width: int, height: int, steps: int, cfg: float, count: int) -> GenerationRequest:
    """seed: another one each time, or the engine remembers the drawing."""
    sampling = Sampling("DPM++ 2M", "Karras", steps, cfg)
    return GenerationRequest(models.PROMPT, sampling=sampling, width=width, height=height, seed=100 * seed, count=count)


def run(engine: Engine, request: GenerationRequest, model: Model) -> tuple[Measurement, float]:
    """What it left, and the seconds that it took."""
    began = time.perf_counter()
    said = next(event for event in engine.generate(request, DELIVERY) if isinstance(event, Measured))
    took = time.perf_counter() - began
    work = replace(work_of(request, DELIVERY), pictures=said.pictures)
    return Measurement(work, said, model.family, model.numbers), took


def errors(engine: Engine, jobs: Iterable[GenerationRequest], before: int = 3) -> list[float]:
    """Of each job from the `before`-th on: by which part its prediction from all jobs before it was wrong."""
    model = Model(EMBEDDED, "sd1", amounts.numbers(PACKAGE / "embedded"))
    past: list[Measurement] = []
    wrong = []
    for number, request in enumerate(jobs):
        foretold = Seer(past, lambda name: model).forecast(work_of(request, DELIVERY), resident=True).seconds
        measurement, took = run(engine, request, model)
        past.append(measurement)
        if number >= before:
            wrong.append(abs(foretold / took - 1))
    return wrong


def rows(rounds: int) -> list[Row]:
    """Sizes and steps that were not measured before, from half to five times the pixels. How much a time repeats itself is measured beside it."""
    engine, seeds = models.embedded(), itertools.count(1)
    found = [error for _ in range(rounds) for error in errors(engine, (asked(next(seeds), *job) for job in (*FIRST, *THEN)))]
    again = [run(engine, asked(next(seeds), *FIRST[0]), Model(EMBEDDED))[1] for _ in range(2 * rounds + 1)]
    noise = statistics.median(abs(one / other - 1) for one, other in itertools.pairwise(again))
    what = f"how wrong a predicted time is after 3 runs, embedded model, {len(THEN)} jobs of other sizes and steps"
    ours, theirs = f"{statistics.median(found):.0%} (worst {max(found):.0%})", f"{noise:.0%} from one run of a job to its next; goal {GOAL:.0%}"
    return [Row(what, ours, theirs, f"{statistics.median(found) / GOAL:.2f}")]
