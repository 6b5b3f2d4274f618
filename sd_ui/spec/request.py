"""What one picture, or a row of them, is made of. Everything that changes the pixels is here, and nothing else is."""

from dataclasses import dataclass

EMBEDDED = "embedded"  # the name of the model in the box
MODES = ("txt2img", "img2img", "inpaint", "depth2img")
EMPHASES = ("Original", "No norm", "Ignore", "None")
RESIZES = ("Just resize", "Crop and resize", "Resize and fill")


@dataclass(frozen=True)
class ImageRef:
    """A picture by content: the sha256 of its upright pixels (see `imaging.blobs`), the same on every machine, and its size."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class ImageToImage:
    """strength: the denoising strength, 0 (the picture comes back unchanged) to 1 (nothing of it is left)."""

    image: ImageRef
    strength: float = 0.75
    resize: str = "Crop and resize"


@dataclass(frozen=True)
class Inpaint:
    """mask: white where new content goes. mask_blur: the soft edge in pixels; it lies inside the mask."""

    image: ImageRef
    mask: ImageRef
    strength: float = 0.75
    resize: str = "Crop and resize"
    mask_blur: int = 4


@dataclass(frozen=True)
class DepthToImage:
    """depth: a map of one's own, bright is near; None: estimated from the image."""

    image: ImageRef
    depth: ImageRef | None = None
    strength: float = 0.75
    resize: str = "Crop and resize"


Source = ImageToImage | Inpaint | DepthToImage


@dataclass(frozen=True)
class ModelChoice:
    """Names from the model index, never paths. vae: "" for the checkpoint's own. clip_skip: 1 is the last layer."""

    checkpoint: str = EMBEDDED
    vae: str = ""
    clip_skip: int = 1


@dataclass(frozen=True)
class Sampling:
    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    steps: int = 20
    cfg_scale: float = 7.0


@dataclass(frozen=True)
class GenerationRequest:
    """width, height: pixels, multiples of 8. Picture i of count is the picture of seed + i. source None: from noise alone.

    emphasis: what the weights in the prompts do.
    """

    prompt: str = ""
    negative_prompt: str = ""
    model: ModelChoice = ModelChoice()
    sampling: Sampling = Sampling()
    width: int = 512
    height: int = 512
    seed: int = 0
    count: int = 1
    source: ImageToImage | Inpaint | DepthToImage | None = None
    emphasis: str = EMPHASES[0]

    @property
    def mode(self) -> str:
        match self.source:
            case None:
                return "txt2img"
            case ImageToImage():
                return "img2img"
            case Inpaint():
                return "inpaint"
            case DepthToImage():
                return "depth2img"

    def seed_of(self, index: int) -> int:
        return (self.seed + index) % 2**64


def images_of(request: GenerationRequest) -> dict[str, ImageRef]:
    """The input pictures by their names in `spec.fields`."""
    match request.source:
        case None:
            return {}
        case ImageToImage(image):
            return {"init": image}
        case Inpaint(image, mask):
            return {"init": image, "mask": mask}
        case DepthToImage(image, depth):
            return {"init": image} if depth is None else {"init": image, "depth": depth}
