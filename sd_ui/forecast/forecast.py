"""From jobs that have ended to one that has not begun: how long it will take, and how much memory. It says on what that rests."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sd_ui.forecast import fit
from sd_ui.forecast.costs import cost
from sd_ui.forecast.fit import Seen, Vector
from sd_ui.forecast.work import Measurement, Work

OWN, KIN, OTHER, NOTHING = "own", "kin", "other", "nothing"
ALIKE = 0.05  # part by which two models of one kind differ in size at most
REMEMBERED = 500  # forecasts
RECENT = 40  # jobs that are looked back on, of one model
FIXED, PREVIEW = 0.01, 0.002  # seconds of a call, however small the picture, and of a preview: until measurements say otherwise
TYPICAL = 1024  # cells of a small picture, where what is fixed in decoding is a seventh of it, unless measured otherwise
COLD = 0.5  # what the first job after loading counts: caches fill, kernels are chosen
LEAST = 1e-6  # seconds
MEMORY = (2e7, 2e5)  # bytes of working memory: for a picture, and for each cell, unless measured otherwise


@dataclass(frozen=True)
class Model:
    """What is known of a checkpoint without loading it. numbers: of its weights in all."""

    name: str
    family: str = ""
    numbers: int = 0


@dataclass(frozen=True)
class Forecast:
    """Seconds: of a job, and the parts of it. basis: the model's own jobs, those of its kind, those of others scaled by arithmetic, or nothing.

    runs: how many jobs it rests on. source: the model they ran on. working: bytes beyond the model's weights; 0 where nothing is known.
    """

    basis: str = NOTHING
    runs: int = 0
    source: str = ""
    loading: float = 0.0
    drawing: float = 0.0
    working: int = 0

    @property
    def seconds(self) -> float:
        return self.loading + self.drawing


@dataclass(frozen=True)
class Seer:
    """measurements: of one device and one number type, oldest first. models: by name, of checkpoints that are there."""

    measurements: Sequence[Measurement]
    models: Callable[[str], Model]
    _said: dict[tuple[Work, Model, bool], Forecast] = field(default_factory=dict, compare=False, repr=False)

    def forecast(self, work: Work, resident: bool = False) -> Forecast:
        """resident: whether the model is in memory already."""
        key = (work, self.models(work.model), resident)
        if key not in self._said:
            if len(self._said) >= REMEMBERED:
                self._said.clear()
            self._said[key] = self._forecast(work, resident)
        return self._said[key]

    def _forecast(self, work: Work, resident: bool) -> Forecast:
        model = self.models(work.model)
        basis, seen = self._like(model, work)
        if not seen:
            return Forecast()
        calls = work.calls * self._stretch(work.sampler)
        sampling = calls * work.first * self._call(model, work)
        if work.second:
            sampling += calls * (1 - work.first) * self._call(self.models(work.second), work)
        each = sampling + self._sized(seen, work, decoding) + self._sized(self.measurements[-RECENT:], work, rest)
        once = fit.median([one.measured.seconds.text for one in seen]) + self._start(seen, work)
        working = 0 if basis == OTHER else self._working(seen, work)
        return Forecast(basis, len(seen), seen[-1].work.model, 0.0 if resident else self._loading(model, seen), work.pictures * each + once, working)

    # ------------------------------------------------------------ which jobs count
    def _like(self, model: Model, work: Work) -> tuple[str, list[Measurement]]:
        ours = [one for one in self.measurements if one.work.model == model.name and alike(one, model)]
        if ours:
            return OWN, of_one_policy(ours, work)[-RECENT:]
        kin = [one for one in self.measurements if one.family == model.family and alike(one, model)]
        if kin:
            return KIN, of_one_policy(kin, work)[-RECENT:]
        nearest = min(self.measurements, key=lambda one: apart(one, model), default=None)
        others = [one for one in self.measurements if nearest and one.work.model == nearest.work.model]
        return (OTHER, others[-RECENT:]) if others else (NOTHING, [])

    def _stretch(self, sampler: str) -> float:
        """Samplers whose calls no simple count tells: what they asked before."""
        asked = [ratio(one) for one in self.measurements if one.work.sampler == sampler and one.work.calls > 0 and one.measured.calls]
        return fit.median(asked[-RECENT:]) if asked else 1.0

    # ------------------------------------------------------------ what they say
    def _call(self, model: Model, work: Work) -> float:
        """Seconds of one call of the model, previews included."""
        _, seen = self._like(model, work)
        alone = [one for one in seen if not one.work.second and one.measured.calls and one.measured.seconds.sampling > 0]
        if not alone:
            return 0.0
        there, here = cost(alone[-1].family, alone[-1].numbers), cost(model.family, model.numbers)
        rows = [Seen(features(one.work), one.measured.seconds.sampling / one.measured.calls, weight(one)) for one in alone]
        fixed = min(FIXED, *(row.cost / 2 for row in rows))
        second = fit.median([(row.cost - fixed) / fit.dot(row.features, (0, there.linear, there.quadratic, 0)) for row in rows])  # of one operation
        a, b, c, d = fit.fitted(rows, (fixed, second * there.linear, second * there.quadratic, PREVIEW))
        scaled = (a, b * here.linear / there.linear, c * here.quadratic / there.quadratic, d)
        return fit.dot(features(work), scaled)

    def _sized(self, seen: Sequence[Measurement], work: Work, spent: Callable[[Measurement], float]) -> float:
        """Seconds that grow with the picture."""
        rows = [Seen((1.0, float(one.work.cells)), max(LEAST, spent(one)), weight(one)) for one in seen if one.measured.pictures]
        return fit.dot((1.0, float(work.cells)), fit.fitted(rows, (TYPICAL / 6, 1.0))) if rows else 0.0

    def _start(self, seen: Sequence[Measurement], work: Work) -> float:
        alike = [one for one in seen if one.work.mode == work.mode]
        return self._sized(alike or seen, work, lambda one: one.measured.seconds.start)

    def _loading(self, model: Model, seen: Sequence[Measurement]) -> float:
        cold = [one for one in seen if one.measured.cold and one.numbers]
        cold = cold or [one for one in self.measurements if one.measured.cold and one.numbers]
        return fit.median([one.measured.seconds.loading * (model.numbers or one.numbers) / one.numbers for one in cold[-5:]]) if cold else 0.0

    def _working(self, seen: Sequence[Measurement], work: Work) -> int:
        """Of each size the most that was seen: memory that the process had kept from before did not show."""
        most: dict[tuple[float, int], int] = {}
        for one in seen:
            key = (one.work.rows, one.work.cells)
            most[key] = max(most.get(key, 0), one.measured.working)
        rows = [Seen((1.0, float(cells)), float(size)) for (_, cells), size in most.items() if size > 0]
        return round(fit.dot((1.0, float(work.cells)), fit.fitted(rows, MEMORY))) if rows else 0


def of_machine(measurements: Sequence[Measurement], device: str = "", dtype: str = "") -> list[Measurement]:
    """Those of one device and number type. "": of the newest one's, for programs that have not asked the device yet."""
    newest = measurements[-1].measured if measurements else None
    device, dtype = device or (newest.device if newest else ""), dtype or (newest.dtype if newest else "")
    return [one for one in measurements if (one.measured.device, one.measured.dtype) == (device, dtype)]


def of_one_policy(seen: Sequence[Measurement], work: Work) -> list[Measurement]:
    """How memory is saved depends on the picture's size, and costs time: that of the size next to this one, lately, will be taken again."""
    next_to = min(reversed(seen), key=lambda one: abs(math.log(one.work.cells * one.work.rows / (work.cells * work.rows))))
    return [one for one in seen if one.measured.policy == next_to.measured.policy]


def features(work: Work) -> Vector:
    cells = float(work.cells)
    return 1.0, work.rows * cells, work.rows * cells * cells, work.previews / work.calls if work.calls else 0.0


def weight(one: Measurement) -> float:
    return COLD if one.measured.cold else 1.0


def decoding(one: Measurement) -> float:
    return one.measured.seconds.decoding / one.measured.pictures


def rest(one: Measurement) -> float:
    """What is not accounted for otherwise: writing files, the queue."""
    spent = one.measured.seconds
    return max(0.0, spent.whole - spent.loading - spent.text - spent.start - spent.sampling - spent.decoding) / one.measured.pictures


def ratio(one: Measurement) -> float:
    return one.measured.calls / max(1, one.measured.pictures) / one.work.calls


def alike(one: Measurement, model: Model) -> bool:
    return not model.numbers or not one.numbers or abs(one.numbers / model.numbers - 1) <= ALIKE


def apart(one: Measurement, model: Model) -> float:
    return abs(math.log(max(1, one.numbers) / max(1, model.numbers)))
