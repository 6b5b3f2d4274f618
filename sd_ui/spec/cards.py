"""What is known of a model on the disk without opening its weights."""

from dataclasses import dataclass, field
from pathlib import Path

LORA = "lora"  # the kind of its card
LATENTS = {"sd1": "Stable Diffusion 1.x and 2.x", "sd2": "Stable Diffusion 1.x and 2.x", "sdxl": "SDXL", "sdxl-refiner": "SDXL"}  # by family


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
class LoraFacts:
    """method: how it changes weights, such as "LoRA" or "LoHa". rank: the largest of its layers. alias: the name it was trained under.

    triggers: words that its training pictures were described with, the most frequent first. preview: a picture beside the file.
    """

    method: str = "LoRA"
    rank: int = 0
    alias: str = ""
    triggers: tuple[str, ...] = ()
    preview: Path | None = None


@dataclass(frozen=True)
class ModelCard:
    """name: unique in the index, what a request says. family: "sd1" and so on, "" where unknown. layout: "folder" or "file".

    kind: "checkpoint", "vae" or "lora". modes: what it can do. fault: why it cannot be used, in words; "" where it can.
    samples: a strip of square pictures, one for each of the examples, side by side.
    prediction: "epsilon" or "v_prediction" where the model itself does not say, or says it wrongly; "" for what its own config says.
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
    samples: Path | None = None
    defaults: Defaults = field(default_factory=Defaults)
    fault: str = ""
    prediction: str = ""
    lora: LoraFacts | None = None
