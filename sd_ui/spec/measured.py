"""What a job really took on this machine, and what the machine has left: numbers for whoever predicts the next one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Seconds:
    """Of one whole job, by what they were spent on.

    loading: until its models were in memory and had their LoRAs on. text: reading the prompts. start: encoding its pictures, estimating depth.
    sampling: the model's calls, with previews. decoding: from latents to pixels. whole: everything, with putting the pictures away.
    """

    loading: float = 0.0
    text: float = 0.0
    start: float = 0.0
    sampling: float = 0.0
    decoding: float = 0.0
    whole: float = 0.0


@dataclass(frozen=True)
class Measured:
    """device: as the page names it. policy: how memory was saved, "" for not at all. cold: whether a model was read for this job.

    pictures, calls, previews: in all. weights: bytes of the model. working: bytes at the peak beyond what was in memory before the first step;
    0 where that could not be seen.
    """

    device: str
    dtype: str
    attention: str = ""
    policy: str = ""
    model_hash: str = ""
    cold: bool = False
    pictures: int = 1
    calls: int = 0
    previews: int = 0
    seconds: Seconds = Seconds()
    weights: int = 0
    working: int = 0


@dataclass(frozen=True)
class Room:
    """free: bytes of memory that nobody uses. resident: names of the checkpoints in memory. held: bytes that they take, and leave to another one."""

    free: int
    resident: tuple[str, ...] = ()
    held: int = 0
