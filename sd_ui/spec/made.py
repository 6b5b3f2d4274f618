"""What else decided the pixels, besides the request: it stands in every saved picture, for replay."""

from dataclasses import dataclass

from sd_ui.spec.request import GenerationRequest

VERSION = 1


@dataclass(frozen=True)
class WornLora:
    """name: as the prompt says it. unet, text: how strongly U-Net and text encoders wore it. sha256: of its tensors, without the file's header."""

    name: str
    unet: float
    text: float
    sha256: str = ""


@dataclass(frozen=True)
class UsedInversion:
    """An embedding whose name stood in one of the prompts. sha256: of its file."""

    name: str
    sha256: str = ""


@dataclass(frozen=True)
class Made:
    """How one picture was really computed.

    model_hash, vae_hash, refiner_hash: sha256 of the weights ("" where unknown). layout: the memory layout of the latents.
    batch: rows in a model call. seed: this picture's own. schedule: what "Automatic" stood for. steps_run: sampling steps really run.
    memory: how the weights used the device, where not all at once, which changes no pixel. economies: what else saved memory; they change some.
    """

    app: str = ""
    torch: str = ""
    diffusers: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    attention: str = ""
    layout: str = "contiguous"
    batch: int = 1
    threads: int = 0
    model_hash: str = ""
    vae_hash: str = ""
    refiner_hash: str = ""
    schedule: str = ""
    steps_run: int = 0
    loras: tuple[WornLora, ...] = ()
    inversions: tuple[UsedInversion, ...] = ()
    memory: str = ""
    economies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """What a saved picture carries. index, seed: which of the request's pictures. job: the id of the job that made it.

    pixels: sha256 of the RGB bytes, row by row, before they were put into a file.
    """

    request: GenerationRequest
    made: Made
    index: int = 0
    seed: int = 0
    pixels: str = ""
    job: str = ""
    created: str = ""
    notes: tuple[str, ...] = ()
    version: int = VERSION
