"""What a look at a file or folder tells: the facts of a card that come from the model itself."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from sd_ui.models.lora_keys import Layer
from sd_ui.spec.cards import Defaults, InversionFacts, LoraFacts, ModelCard, Stock
from sd_ui.spec.samplers import AUTOMATIC

CHECKPOINT, VAE = "checkpoint", "vae"
OF_THE_DISK = ("the file cannot be opened: ", "it cannot be read: ")  # how faults begin that are not the file's own, and may be gone the next time
PLAIN, WITH_DEPTH, PAINTER = ("txt2img", "img2img", "inpaint"), ("depth2img",), ("inpaint",)
MODES: dict[str, dict[int, tuple[str, ...]]] = {  # by family, and by what its U-Nets take: latents; a depth plane too; a mask and masked latents too
    "sd1": {4: PLAIN, 5: WITH_DEPTH, 9: PAINTER},
    "sd2": {4: PLAIN, 5: WITH_DEPTH, 9: PAINTER},
    "sdxl": {4: PLAIN, 9: PAINTER},
    "sdxl-refiner": {4: ("img2img", "inpaint")},  # it was trained for the last fifth of the way only
    "sd3": {16: PLAIN, 33: PAINTER},
    "flux": {64: PLAIN, 128: WITH_DEPTH, 384: PAINTER},  # four for each cell: its transformer sees patches of 2x2
}


@dataclass(frozen=True)
class Finding:
    """fault: why it cannot be used, "" where it can. positions: of the text encoder. tokenizer: the folder with its files.

    layers: that a LoRA changes, with rows and columns of their weights.

    is_told_scale: a latent consistency model whose U-Net is told the CFG scale (Luo et al. 2023).

    lacks: parts that it comes without, and that other files can give: "vae".

    prediction: what the U-Net was trained to predict, where one file's header, surroundings or name tell; "" where they do not.

    stored: how most of its numbers are stored: "fp16", "fp8", "Q4_K".
    """

    kind: str = CHECKPOINT
    family: str = ""
    modes: tuple[str, ...] = ()
    fault: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    positions: int = 77
    tokenizer: Path | None = None
    lora: LoraFacts | None = None
    inversion: InversionFacts | None = None
    layers: tuple[tuple[Layer, int, int], ...] = ()
    prediction: str = ""
    stored: str = ""
    lacks: tuple[str, ...] = ()
    is_told_scale: bool = False
    stock: Stock | None = None


def faulty(why: str, family: str = "", kind: str = CHECKPOINT) -> Finding:
    return Finding(kind, family, fault=why)


def settled(card: ModelCard, finding: Finding) -> ModelCard:
    """With the settings that a model needs whatever its family: one that is told the CFG scale draws in few steps, at a scale as large as ever."""
    usual = card.defaults
    return replace(card, defaults=replace(usual, steps=4, cfg_scale=8.0, sampler="LCM", schedule=AUTOMATIC)) if finding.is_told_scale else card


def with_channels(finding: Finding, channels: int) -> Finding:
    """The modes that follow from the U-Net's input channels."""
    known = MODES[finding.family]
    if channels in known:
        return replace(finding, modes=known[channels])
    if channels == 8:
        return replace(finding, fault="is an InstructPix2Pix model, which is not supported yet")
    return replace(finding, fault=f"it takes {channels} channels; of its family only {' and '.join(map(str, known))} are known")
