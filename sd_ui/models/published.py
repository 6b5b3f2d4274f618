"""How the families' checkpoints were published in one file: the names of their tensors, and which config says what the file does not. Data only."""

from dataclasses import dataclass
from pathlib import Path

from sd_ui.models.header import Header

CONFIGS = Path(__file__).parent.parent / "engine" / "configs"
HEAD = 64  # channels of an attention head in CLIP, in DPT, and in the U-Nets that are not Stable Diffusion 1.x
REFINER_SIZES, SD2_TEXT = 2560, 1024  # numbers that a U-Net reads: of sizes and the text as a whole; of each word
UNET, FIRST_STAGE = "model.diffusion_model.", "first_stage_model."


@dataclass(frozen=True)
class Text:
    """One text encoder. prefix: of its names. config: its folder. open_clip: named as OpenCLIP names them, otherwise as transformers does.

    pad: the token that fills a chunk; "": the end of text.
    """

    prefix: str
    config: Path
    open_clip: bool = False
    pad: str = ""

    def tokens(self, found: Header) -> tuple[int, ...]:
        """Size of the vocabulary and width; () where the encoder is missing."""
        return self._shape(found, "token_embedding.weight", "embeddings.token_embedding.weight")

    def positions(self, found: Header) -> tuple[int, ...]:
        return self._shape(found, "positional_embedding", "embeddings.position_embedding.weight")

    def _shape(self, found: Header, open_clip: str, clip: str) -> tuple[int, ...]:
        """Some of the oldest files have the text encoder without "text_model." in its names."""
        names = (open_clip,) if self.open_clip else ("text_model." + clip, clip)
        return next((shape for name in names if (shape := found.shape(self.prefix + name))), ())


@dataclass(frozen=True)
class Published:
    """mark: the beginning of a name that no other family has. unet, vae: their config folders. side: pixels that it was made for."""

    family: str
    title: str
    mark: str
    texts: tuple[Text, ...]
    unet: Path
    vae: Path
    side: int = 512


CLIP_L, BIG_G = CONFIGS / "sd15" / "text_encoder", CONFIGS / "sdxl" / "text_encoder_2"
SD1_VAE, SDXL_VAE = CONFIGS / "sd15" / "vae", CONFIGS / "sdxl" / "vae"
SCHEDULER = CONFIGS / "sd15" / "scheduler"  # all of them were trained on the same noise
SD1 = Published(
    family="sd1",
    title="Stable Diffusion 1.x",
    mark="cond_stage_model.transformer.",
    texts=(Text("cond_stage_model.transformer.", CLIP_L),),
    unet=CONFIGS / "sd15" / "unet",
    vae=SD1_VAE,
)
SD2 = Published(
    family="sd2",
    title="Stable Diffusion 2.x",
    mark="cond_stage_model.model.",
    texts=(Text("cond_stage_model.model.", CONFIGS / "sd2" / "text_encoder", open_clip=True, pad="!"),),
    unet=CONFIGS / "sd2" / "unet",
    vae=SD1_VAE,
)
SDXL = Published(
    family="sdxl",
    title="Stable Diffusion XL",
    mark="conditioner.embedders.1.model.",
    texts=(Text("conditioner.embedders.0.transformer.", CLIP_L), Text("conditioner.embedders.1.model.", BIG_G, open_clip=True, pad="!")),
    unet=CONFIGS / "sdxl" / "unet",
    vae=SDXL_VAE,
    side=1024,
)
REFINER = Published(
    family="sdxl-refiner",
    title="Stable Diffusion XL's refiner",
    mark="conditioner.embedders.0.model.",
    texts=(Text("conditioner.embedders.0.model.", BIG_G, open_clip=True, pad="!"),),
    unet=CONFIGS / "sdxl_refiner" / "unet",
    vae=SDXL_VAE,
    side=1024,
)
PUBLISHED = (SDXL, REFINER, SD2, SD1)


def of(found: Header) -> Published:
    """The family whose mark the file bears; where it bears none, that of its U-Net: the checks that follow name what is missing."""
    return next((one for one in PUBLISHED if any(name.startswith(one.mark) for name in found.tensors)), None) or _by_unet(found)


def _by_unet(found: Header) -> Published:
    """By what it is told besides the text, and by the width of the text that it reads."""
    sizes = found.shape(UNET + "label_emb.0.0.weight")
    if sizes:
        return REFINER if sizes[1:] == (REFINER_SIZES,) else SDXL
    reads = next((tensor.shape for name, tensor in found.tensors.items() if name.startswith(UNET) and name.endswith(".attn2.to_k.weight")), ())
    return SD2 if reads[1:] == (SD2_TEXT,) else SD1
