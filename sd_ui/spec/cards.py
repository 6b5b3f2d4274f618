"""What is known of a model on the disk without opening its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LORA, INVERSION, TEXT = "lora", "embedding", "text encoder"  # the kinds of their cards
LATENTS = {  # by family
    "sd1": "Stable Diffusion 1.x and 2.x", "sd2": "Stable Diffusion 1.x and 2.x", "sdxl": "SDXL", "sdxl-refiner": "SDXL", "sd3": "Stable Diffusion 3",
    "flux": "Flux.1",
}  # fmt: skip
U_NETS = ("sd1", "sd2", "sdxl", "sdxl-refiner")  # families that predict with one
WITH_EMBEDDINGS = U_NETS  # families in whose prompts the name of an embedding means its vectors
TITLES = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "Stable Diffusion XL's refiner",
    "sd3": "Stable Diffusion 3",
    "flux": "Flux.1",
}


@dataclass(frozen=True)
class Defaults:
    """The settings at which a model is at its best. vae: the name of one that goes with it; "" for its own."""

    width: int = 512
    height: int = 512
    steps: int = 20
    cfg_scale: float = 7.0
    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    clip_skip: int = 1
    negative_prompt: str = ""
    vae: str = ""
    distilled_cfg_scale: float = 3.5


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
class InversionFacts:
    """A textual inversion embedding: vectors that stand for a word. widths: of the vectors for each text encoder. token: the word of its training."""

    vectors: int = 1
    widths: tuple[int, ...] = ()
    token: str = ""


@dataclass(frozen=True)
class Stock:
    """How a model is asked that has no loop of ours, and runs by a pipeline of diffusers.

    title: its family's. multiple: pixels that sides must be multiples of. tokens: of a prompt that it reads. negative: whether it takes a negative
    prompt. guided: whether it takes a CFG scale. most: pixels of a picture that it works from; 0: any number.
    """

    title: str = ""
    multiple: int = 8
    tokens: int = 77
    negative: bool = True
    guided: bool = True
    most: int = 0


@dataclass(frozen=True)
class Beside:
    """What other programs put beside a model's file. title: its maker's. base: the model it was made for, in the words of whoever wrote it.

    triggers, about, notes: plain text, and a stranger's. weight: at which a LoRA is at its best. preview: a picture.
    """

    title: str = ""
    base: str = ""
    triggers: tuple[str, ...] = ()
    about: str = ""
    notes: str = ""
    weight: float | None = None
    preview: Path | None = None


@dataclass(frozen=True)
class Own:
    """What the people of this server say of a model. defaults: those that they have changed, by the names in Defaults."""

    starred: bool = False
    notes: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """name: unique in the index, what a request says. family: "sd1" and so on, "" where unknown. layout: "folder" or "file".

    kind: "checkpoint", "vae", "lora" or "embedding". modes: what it can do. fault: why it cannot be used, in words; "" where it can.
    samples: a strip of square pictures, one for each of the examples, side by side.
    lacks: parts that its file comes without: "vae", or text encoders. lack: what can be done about a VAE, in words. texts: the files that give
    the text encoders, by part.
    prediction: "epsilon" or "v_prediction" where the model itself does not say, or says it wrongly; "" for what its own config says.
    stored: how most of its numbers are stored on the disk: "fp16", "fp8", "Q4_K".
    stock: of a model that runs by a pipeline of diffusers; None where a loop of ours runs it.
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
    stored: str = ""
    lacks: tuple[str, ...] = ()
    lack: str = ""
    texts: tuple[tuple[str, Path], ...] = ()
    lora: LoraFacts | None = None
    inversion: InversionFacts | None = None
    stock: Stock | None = None
    beside: Beside = field(default_factory=Beside)
    own: Own = field(default_factory=Own)

    @property
    def triggers(self) -> tuple[str, ...]:
        """Words that call up what a LoRA has learnt: those that somebody wrote down before those that its file tells."""
        return self.beside.triggers or (self.lora.triggers if self.lora else ())
