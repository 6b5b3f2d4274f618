"""A machine that takes as long as a formula says, give or take, and the measurements that its jobs leave."""

import random
from dataclasses import dataclass, replace

from sd_ui.forecast.work import Measurement, Work, work_of
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.measured import Measured, Seconds
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling

CARDS = {"small": ("sd1", 9_000_000), "one": ("sd1", 1_070_000_000), "two": ("sd1", 1_068_000_000), "large": ("sdxl", 3_470_000_000)}


def asked(model: str = "one", size: int = 512, steps: int = 20, cfg: float = 7.0, sampler: str = "Euler", **more: object) -> GenerationRequest:
    sampling = Sampling(sampler, steps=steps, cfg_scale=cfg)
    return GenerationRequest("a cat", model=ModelChoice(model), sampling=sampling, width=size, height=size, **more)


OPERATIONS = {"small": (1.5e6, 80.0), "one": (1.66e8, 7.4e3), "two": (1.66e8, 7.4e3), "large": (3.2e8, 2.7e3)}  # for a cell, and for a pair of cells


@dataclass(frozen=True)
class Machine:
    """noise: part by which a job may take longer or shorter. speed: operations a second. fixed: seconds of a call whatever its size."""

    speed: float = 1e11
    fixed: float = 0.004
    noise: float = 0.0

    def ran(self, request: GenerationRequest, seed: int = 0, cold: bool = False, odd: float = 1.0) -> Measurement:
        """odd: how much longer it took than it should, while something else ran."""
        work = work_of(request)
        seconds = self.takes(work, cold)
        by = odd * (1 + random.Random(seed).uniform(-self.noise, self.noise))
        spent = Seconds(*(getattr(seconds, name) * by for name in ("loading", "text", "start", "sampling", "decoding", "whole")))
        family, numbers = CARDS[work.model]
        calls = round(work.calls * work.pictures)
        previews = round(work.previews * work.pictures)
        measured = Measured(
            "CPU", "float32", "sdpa", "", "", cold, work.pictures, calls, previews, spent, numbers * 4, 30_000_000 + 250_000 * work.cells
        )
        return Measurement(work, measured, family, numbers, "2026-11-22T00:00:00+00:00")

    def takes(self, work: Work, cold: bool = False) -> Seconds:
        _, numbers = CARDS[work.model]
        linear, quadratic = OPERATIONS[work.model]
        rows, calls = work.rows * work.cells, work.calls * work.pictures
        sampling = calls * (self.fixed + (linear * rows + quadratic * rows * work.cells) / self.speed) + 0.002 * work.previews * work.pictures
        decoding = work.pictures * (0.05 + 3e-4 * work.cells)
        loading = 4e-9 * numbers if cold else 0.0
        return Seconds(loading, 0.2, 0.0, sampling, decoding, loading + 0.2 + sampling + decoding + 0.03 * work.pictures)


def whole(machine: Machine, request: GenerationRequest, cold: bool = False) -> float:
    return machine.takes(work_of(request, Delivery()), cold).whole


def without(measurement: Measurement, **measured: object) -> Measurement:
    return replace(measurement, measured=replace(measurement.measured, **measured))
