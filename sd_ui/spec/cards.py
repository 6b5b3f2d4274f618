"""What is known of a model on the disk without opening its weights."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Defaults:
    """The settings at which a model is at its best."""

    width: int = 512
    height: int = 512
    steps: int = 20
    cfg_scale: float = 7.0
    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    clip_skip: int = 1
    negative_prompt: str = ""


@dataclass(frozen=True)
class ModelCard:
    """name: unique in the index, what a request says. family: "sd1" and so on, "" where unknown. layout: "folder" or "file".

    kind: "checkpoint" or "vae". modes: what it can do. fault: why it cannot be used, in words; "" where it can.
    """

    name: str
    kind: str
    family: str
    path: Path
    layout: str
    size: int
    modes: tuple[str, ...] = ()
    title: str = ""
    about: str = ""
    examples: tuple[str, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    fault: str = ""
