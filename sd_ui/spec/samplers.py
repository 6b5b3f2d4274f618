"""The names of samplers and schedules, and which go together. How they are computed is `engine.samplers`'s business."""

from dataclasses import dataclass

AUTOMATIC = "Automatic"
SIGMA_SCHEDULES = ("Uniform", "Karras", "Exponential", "Beta")


@dataclass(frozen=True)
class Sampler:
    """automatic: what the schedule "Automatic" stands for (A1111's choice); fresh_noise: whether steps add noise of their own."""

    schedules: tuple[str, ...]
    automatic: str = "Uniform"
    fresh_noise: bool = False


SAMPLERS: dict[str, Sampler] = {
    "DPM++ 2M": Sampler(SIGMA_SCHEDULES, "Karras"),
    "DPM++ 2M SDE": Sampler(SIGMA_SCHEDULES, "Exponential", fresh_noise=True),
    "DPM++ 3M SDE": Sampler(SIGMA_SCHEDULES, "Exponential", fresh_noise=True),
    "Euler": Sampler(SIGMA_SCHEDULES),
    "Euler a": Sampler(("Uniform",), fresh_noise=True),
    "Heun": Sampler(SIGMA_SCHEDULES),
    "LMS": Sampler(SIGMA_SCHEDULES),
    "DPM2": Sampler(SIGMA_SCHEDULES, "Karras"),
    "DPM2 a": Sampler(SIGMA_SCHEDULES, "Karras", fresh_noise=True),
    "UniPC": Sampler(SIGMA_SCHEDULES),
    "DEIS": Sampler(SIGMA_SCHEDULES),
    "DDIM": Sampler(("Uniform",)),
    "PLMS": Sampler(("Uniform",)),
    "LCM": Sampler(("Uniform",), fresh_noise=True),
}
SCHEDULES = (AUTOMATIC, *SIGMA_SCHEDULES)


def resolved(sampler: str, schedule: str) -> str:
    """The schedule that a run really uses."""
    return SAMPLERS[sampler].automatic if schedule == AUTOMATIC else schedule


def split(name: str) -> tuple[str, str | None]:
    """Read the older spelling of other programs, whatever its case: "DPM++ 2M Karras" is ("DPM++ 2M", "Karras")."""
    wanted = " ".join(name.split()).casefold()
    for sampler in SAMPLERS:
        if wanted == sampler.casefold():
            return sampler, None
        for schedule in SCHEDULES:
            if wanted == f"{sampler} {schedule}".casefold():
                return sampler, schedule
    return name, None
