"""What was measured here, as rows for people: how fast each model draws at each size, how long it takes to come into memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from sd_ui.forecast import fit
from sd_ui.forecast.work import Measurement

LATELY = 5  # jobs of one kind whose median is shown


@dataclass(frozen=True)
class Speed:
    """calls: of the model in a second, as other programs count its/s. picture: seconds of one picture, from its first step to its pixels.

    steps: calls of that picture. loading: seconds, of the last time that the model was read; None where it was there already. when: of the last.
    """

    model: str
    width: int
    height: int
    guided: bool
    calls: float
    picture: float
    steps: int
    loading: float | None
    device: str
    dtype: str
    policy: str
    runs: int
    when: str


def speeds(measurements: Sequence[Measurement], most: int = 40) -> list[Speed]:
    """measurements: oldest first. -> the kind that ran last first; one for each model, size, device, and whether it was guided."""
    kinds: dict[tuple[object, ...], list[Measurement]] = {}
    for one in measurements:
        if one.measured.calls and one.measured.pictures and one.measured.seconds.sampling > 0 and not one.work.second:
            said = one.measured
            key = (one.work.model, one.work.width, one.work.height, one.work.rows > 1, said.device, said.dtype, said.policy)
            kinds.setdefault(key, []).append(one)
    newest = sorted(kinds.values(), key=lambda found: found[-1].when, reverse=True)
    loads = {one.work.model: one.measured.seconds.loading for one in measurements if one.measured.cold}
    return [speed(found, loads.get(found[-1].work.model)) for found in newest[:most]]


def speed(found: Sequence[Measurement], loading: float | None) -> Speed:
    """found: jobs of one kind, oldest first."""
    last, lately = found[-1], found[-LATELY:]
    return Speed(
        model=last.work.model,
        width=last.work.width,
        height=last.work.height,
        guided=last.work.rows > 1,
        calls=fit.median([one.measured.calls / one.measured.seconds.sampling for one in lately]),
        picture=fit.median([(one.measured.seconds.sampling + one.measured.seconds.decoding) / one.measured.pictures for one in lately]),
        steps=round(fit.median([one.measured.calls / one.measured.pictures for one in lately])),
        loading=loading,
        device=last.measured.device,
        dtype=last.measured.dtype,
        policy=last.measured.policy,
        runs=len(found),
        when=last.when,
    )
