"""The second pass of hires fix: what the first one drew, enlarged, as latents or as pixels, is where it starts from."""

from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sd_ui.engine import pixels
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.noise import LATENT_SCALE
from sd_ui.engine.refiner import Second
from sd_ui.engine.timeline import Timeline
from sd_ui.imaging import ops
from sd_ui.spec.request import RESIZES, UPSCALERS, GenerationRequest, Hires

CROP = RESIZES[1]
LATENT = {  # torch's mode, and whether it smooths what becomes smaller: A1111's six
    UPSCALERS[0]: ("bilinear", False),
    UPSCALERS[1]: ("bilinear", True),
    UPSCALERS[2]: ("bicubic", False),
    UPSCALERS[3]: ("bicubic", True),
    UPSCALERS[4]: ("nearest", False),
    UPSCALERS[5]: ("nearest-exact", False),
}
PIXEL = {UPSCALERS[6]: Image.Resampling.LANCZOS, UPSCALERS[7]: Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Way:
    """How much of its schedule a pass runs. steps: of the schedule. run: its last steps, which are run. strength: the denoising strength.

    before, after: steps of the picture's other passes. cost: of a step, the first pass's being 1. whole: the cost of all passes.
    """

    steps: int
    run: int
    strength: float = 1.0
    before: int = 0
    after: int = 0
    cost: float = 1.0
    whole: float = 0.0


@dataclass(frozen=True)
class SecondPass:
    """hires: what was asked for. request, text, second: the pass's own."""

    hires: Hires
    request: GenerationRequest
    way: Way
    text: Timeline
    second: Second | None = None


def second_way(request: GenerationRequest, hires: Hires) -> Way:
    """All of the second pass's steps are run, so that the schedule is longer the less is redone: A1111's rule for this pass."""
    first, steps = request.sampling.steps, hires.sampling.steps
    cost = hires.width * hires.height / (request.width * request.height)
    return replace(all_of(steps, hires.strength), before=first, cost=cost, whole=first + steps * cost)


def all_of(steps: int, strength: float) -> Way:
    """As many steps as asked for, on a schedule that is longer the less is redone, as in A1111."""
    return Way(int(steps / min(strength, 0.999)) if strength > 0 else steps, steps, strength)


def first_way(request: GenerationRequest, hires: Hires) -> Way:
    steps = request.sampling.steps
    after = hires.sampling.steps if hires.strength > 0 else 0
    cost = hires.width * hires.height / (request.width * request.height)
    return Way(steps, steps, after=after, whole=steps + after * cost)


def second_request(request: GenerationRequest) -> GenerationRequest:
    """What the second pass is asked: of its own size, and told its own words."""
    hires = request.hires
    assert hires is not None
    return replace(
        request,
        prompt=hires.prompt or request.prompt,
        negative_prompt=hires.negative_prompt or request.negative_prompt,
        width=hires.width,
        height=hires.height,
        sampling=hires.sampling,
        hires=None,
    )


def enlarged(loaded: Loaded, latents: Tensor, hires: Hires) -> Tensor:
    """(1, C, h, w) -> (1, C, height/8, width/8), clean latents. What is too much on one side is cut off around the middle."""
    if hires.upscaler in LATENT:
        return _as_latents(latents, hires)
    image = pixels.decoded(loaded, latents)
    return pixels.encoded(loaded, pixels.tensor(as_pixels(image, hires)))


def as_pixels(image: Image.Image, hires: Hires) -> Image.Image:
    if PIXEL[hires.upscaler] == Image.Resampling.LANCZOS:
        return ops.fit(image, hires.width, hires.height, CROP)
    across, down = covering(image.size, (hires.width, hires.height))
    left, top = (across - hires.width) // 2, (down - hires.height) // 2
    return image.resize((across, down), PIXEL[hires.upscaler]).crop((left, top, left + hires.width, top + hires.height))


def _as_latents(latents: Tensor, hires: Hires) -> Tensor:
    mode, smooth = LATENT[hires.upscaler]
    width, height = hires.width // LATENT_SCALE, hires.height // LATENT_SCALE
    across, down = covering((latents.shape[-1], latents.shape[-2]), (width, height))
    large = interpolate(latents, size=(down, across), mode=mode, antialias=smooth)
    left, top = (across - width) // 2, (down - height) // 2
    return large[..., top : top + height, left : left + width]


def covering(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The least size of the shape of `size` that covers `target`."""
    by_width = target[0] * size[1] >= target[1] * size[0]
    if by_width:
        return target[0], max(target[1], round(target[0] * size[1] / size[0]))
    return max(target[0], round(target[1] * size[0] / size[1])), target[1]
