"""A mode is what the loop starts from: noise, a picture, a picture with a mask, a picture with its depth."""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from sd_ui.engine import depth, pixels
from sd_ui.engine.denoise import Held, Plan, Start
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.noise import LATENT_SCALE
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint


@dataclass(frozen=True)
class Scene:
    """What all pictures of a job have in common besides the text: inputs, encoded once.

    image, mask: fitted to the request's size, upright. clean: the picture's latents. channels: what is joined to the latents at every step,
    for a U-Net that takes them; None: the plain one.
    """

    image: Image.Image | None = None
    mask: Image.Image | None = None
    clean: Tensor | None = None
    channels: Tensor | None = None
    held_mask: Tensor | None = None
    depth: Tensor | None = None
    denoiser: UNet2DConditionModel | None = None


def steps_to_run(steps: int, strength: float) -> int:
    """How many of the schedule's last steps a denoising strength leaves. 0 only at strength 0: then the picture comes back unchanged."""
    return 0 if strength <= 0 else min(steps, max(1, round(steps * strength)))


def strength(request: GenerationRequest) -> float:
    return 1.0 if request.source is None else request.source.strength


def from_noise(plan: Plan, scene: Scene, noise: Tensor) -> Start:
    return Start(plan.from_noise(noise), scene.channels, held(scene, noise))


def from_image(plan: Plan, scene: Scene, noise: Tensor) -> Start:
    """The picture's latents, as noisy as the first of the steps that are left wants them."""
    assert scene.clean is not None
    return Start(plan.noised(scene.clean, noise), scene.channels, held(scene, noise))


def held(scene: Scene, noise: Tensor) -> Held | None:
    if scene.held_mask is None or scene.clean is None:
        return None
    return Held(scene.clean, noise, scene.held_mask)


def begin(plan: Plan, scene: Scene, noise: Tensor, denoising_strength: float) -> Start:
    """At strength 1 nothing of the picture is left: the run starts from noise alone, as txt2img does."""
    return from_noise(plan, scene, noise) if denoising_strength >= 1 else from_image(plan, scene, noise)


def scene_of(request: GenerationRequest, loaded: Loaded, image: Image.Image | None, mask: Image.Image | None, own_depth: Tensor | None) -> Scene:
    """image: RGB, mask: L (white where new content goes), both of the request's size. own_depth: (h, w), more is nearer."""
    match request.source:
        case None:
            return Scene()
        case ImageToImage():
            assert image is not None
            return Scene(image, clean=pixels.encoded(loaded, pixels.tensor(image)))
        case Inpaint():
            assert image is not None and mask is not None
            return inpainting(loaded, image, mask)
        case DepthToImage():
            assert image is not None
            estimate = depth.estimated(loaded, image) if own_depth is None else own_depth
            channels = depth.plane(estimate, request.width, request.height).to(loaded.place.device)
            return Scene(image, clean=pixels.encoded(loaded, pixels.tensor(image)), channels=channels, depth=estimate, denoiser=loaded.depth_unet)


def inpainting(loaded: Loaded, image: Image.Image, mask: Image.Image) -> Scene:
    """A model with nine input channels is told mask and masked picture; for the others the loop holds what lies outside the mask."""
    rgb = pixels.tensor(image)
    white = torch.from_numpy((pixels.grey(mask) >= 128).astype("float32"))[None, None]
    cells = latent_mask(white).to(loaded.place.device)
    clean = pixels.encoded(loaded, rgb)
    if loaded.inpaint_unet is not None:
        masked = pixels.encoded(loaded, rgb * (white < 0.5))
        return Scene(image, mask, clean, channels=torch.cat([cells, masked], dim=1), denoiser=loaded.inpaint_unet)
    return Scene(image, mask, clean, held_mask=cells)


def latent_mask(mask: Tensor) -> Tensor:
    """(1, 1, H, W) -> (1, 1, H/8, W/8): a cell is repainted when any of its pixels is, so that a thin stroke is not lost."""
    return max_pool2d(mask, LATENT_SCALE)
