"""What a job says while it runs. The engine says it, the jobs keep it, the page shows it."""

from dataclasses import dataclass

from sd_ui.spec.made import Made
from sd_ui.spec.measured import Measured


@dataclass(frozen=True)
class Loading:
    """what: in words, such as the name of a model on its way into memory."""

    what: str


@dataclass(frozen=True)
class Eased:
    """text: a sentence on what memory was short for, and how the job goes on with less."""

    text: str


@dataclass(frozen=True)
class Mapped:
    """The depth map that a run uses, as a PNG in grey; bright is near."""

    png: bytes


@dataclass(frozen=True)
class Stepped:
    """A sampling step is done: step `index` of `total` of picture `picture` of `count` (all from 1).

    preview: a small JPEG, or None where none was asked for. elapsed, remaining: seconds of this job.
    """

    index: int
    total: int
    preview: bytes | None = None
    picture: int = 1
    count: int = 1
    elapsed: float = 0.0
    remaining: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """A finished picture, still in memory: RGB bytes, row by row. index: from 0. notes: what the user should know about it."""

    index: int
    seed: int
    width: int
    height: int
    rgb: bytes
    made: Made
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """pictures: the ids in the gallery."""

    pictures: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    reason: str


@dataclass(frozen=True)
class Cancelled:
    pass


Event = Loading | Eased | Mapped | Stepped | Drawn | Measured | Done | Failed | Cancelled
Final = Done | Failed | Cancelled
FINAL = (Done, Failed, Cancelled)
