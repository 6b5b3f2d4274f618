"""A mode is what the loop starts from: noise, a picture, a picture with a mask, a picture with its depth."""

import io
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from sd_ui.engine import depth, pixels
from sd_ui.engine.denoise import Held, Plan, Start
from sd_ui.engine.family import Denoiser
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.noise import LATENT_SCALE
from sd_ui.imaging import masking
from sd_ui.spec.request import CONTENTS, DepthToImage, GenerationRequest, ImageToImage, Inpaint, Redo

ORIGINAL, FILL, NOISE, NOTHING = CONTENTS


@dataclass(frozen=True)
class Scene:
    """What all pictures of a job have in common besides the text: inputs, encoded once.

    image, mask: fitted to the request's size, upright. clean: the picture's latents. channels: what is joined to the latents at every step,
    for a U-Net that takes them; None: the plain one. held_mask: (1, 1, h, w), 1 where new content goes, for the loop to hold the rest.
    content, cells: what the run starts from inside a mask, and which cells that is.
    """

    image: Image.Image | None = None
    mask: Image.Image | None = None
    clean: Tensor | None = None
    channels: Tensor | None = None
    held_mask: Tensor | None = None
    depth: Tensor | None = None
    denoiser: Denoiser | None = None
    content: str = ORIGINAL
    cells: Tensor | None = None

    def begun(self, noise: Tensor) -> Tensor:
        """The clean latents that a run starts from: the picture's, or inside the mask what A1111 calls latent noise and latent nothing."""
        assert self.clean is not None
        if self.cells is None or self.content not in (NOISE, NOTHING):
            return self.clean
        return self.clean * (1 - self.cells) + (noise * self.cells if self.content == NOISE else 0)


def redo(request: GenerationRequest) -> Redo:
    return Redo() if request.source is None else request.source.redo


def from_noise(plan: Plan, scene: Scene, noise: Tensor) -> Start:
    return Start(plan.from_noise(noise), scene.channels, held(scene, noise))


def from_image(plan: Plan, scene: Scene, noise: Tensor, redo: Redo = Redo()) -> Start:
    """The picture's latents, as noisy as the first of the steps that are left wants them, or more or less so."""
    latents = plan.noised(scene.begun(noise), noise * redo.noise_multiplier) + noise * redo.extra_noise
    return Start(latents, scene.channels, held(scene, noise))


def held(scene: Scene, noise: Tensor) -> Held | None:
    if scene.held_mask is None or scene.clean is None:
        return None
    return Held(scene.clean, noise, scene.held_mask)


def begin(plan: Plan, scene: Scene, noise: Tensor, denoising_strength: float, redo: Redo = Redo()) -> Start:
    """At strength 1 nothing of the picture is left: the run starts from noise alone, as txt2img does."""
    return from_noise(plan, scene, noise) if denoising_strength >= 1 else from_image(plan, scene, noise, redo)


def scene_of(
    request: GenerationRequest,
    loaded: Loaded,
    image: Image.Image | None,
    mask: Image.Image | None,
    own_depth: Tensor | None,
    shades: Tensor | None = None,
) -> Scene:
    """image: RGB, mask: L (white where new content goes), both of the request's size. own_depth: (h, w), more is nearer.

    shades: (h, w), 0 to 1, how much each place may change, where the mask's edge is soft.
    """
    match request.source:
        case None:
            return Scene()
        case ImageToImage():
            assert image is not None
            return Scene(image, clean=pixels.encoded(loaded, pixels.tensor(image)))
        case Inpaint():
            assert image is not None and mask is not None
            return inpainting(loaded, image, mask, request.source.masked_content, shades)
        case DepthToImage():
            assert image is not None
            estimate = depth.estimated(loaded, image) if own_depth is None else own_depth
            channels = deep(loaded, estimate, request.width, request.height)
            return Scene(image, clean=pixels.encoded(loaded, pixels.tensor(image)), channels=channels, depth=estimate, denoiser=loaded.depth_unet)


def deep(loaded: Loaded, estimate: Tensor, width: int, height: int) -> Tensor:
    """What a depth model is told besides latents."""
    if loaded.family.pictured_depth:
        picture = pixels.tensor(Image.open(io.BytesIO(depth.shown(estimate, width, height))))
        return pixels.encoded(loaded, picture.contiguous())  # the layout decides the last bits
    return depth.plane(estimate, width, height).to(loaded.place.device)


def inpainting(loaded: Loaded, image: Image.Image, mask: Image.Image, content: str = ORIGINAL, shades: Tensor | None = None) -> Scene:
    """A model with more input channels is told mask and masked picture; for the others, and where the edge is soft, the loop holds what stays."""
    rgb = pixels.tensor(image)
    white = torch.from_numpy((pixels.grey(mask) >= 128).astype("float32"))[None, None]
    cells = latent_mask(white).to(loaded.place.device)
    clean = pixels.encoded(loaded, pixels.tensor(masking.filled(image, mask)) if content == FILL else rgb)
    scene = Scene(image, mask, clean, content=content, cells=cells, held_mask=cells if shades is None else degrees(shades).to(loaded.place.device))
    if loaded.inpaint_unet is None:
        return scene
    masked = pixels.encoded(loaded, rgb * (white < 0.5))
    channels = loaded.family.painted(white.to(loaded.place.device), cells, masked)
    return replace(scene, channels=channels, denoiser=loaded.inpaint_unet, held_mask=None if shades is None else scene.held_mask)


def degrees(shades: Tensor) -> Tensor:
    """(H, W) -> (1, 1, H/8, W/8): of each cell the mean."""
    return avg_pool2d(shades[None, None], LATENT_SCALE)


def latent_mask(mask: Tensor) -> Tensor:
    """(1, 1, H, W) -> (1, 1, H/8, W/8): a cell is repainted when any of its pixels is, so that a thin stroke is not lost."""
    return max_pool2d(mask, LATENT_SCALE)
