"""Depth maps: estimated by the model's own depth estimator (MiDaS, DPT, GLPN), or given; as a picture and as an input plane."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sd_ui.engine.loaded import Loaded
from sd_ui.engine.noise import LATENT_SCALE
from sd_ui.imaging import png
from sd_ui.spec.errors import BadRequest


def estimated(loaded: Loaded, image: Image.Image) -> Tensor:
    """RGB picture -> (h, w) float32 on the CPU; more is nearer (inverse depth), in the estimator's own unit and size."""
    if loaded.depth_estimator is None:
        raise BadRequest("depth", f"{loaded.card.name} has no depth estimator; give a depth map of your own")
    device, dtype = loaded.place.device, loaded.depth_estimator.dtype
    pixels = loaded.depth_processor(images=image, return_tensors="pt").pixel_values.to(device, dtype)
    depth: Tensor = loaded.depth_estimator(pixels).predicted_depth[0].float().cpu()
    return depth


def plane(depth: Tensor, width: int, height: int) -> Tensor:
    """(h, w) -> (1, 1, height/8, width/8) in -1..1, as Stable Diffusion 2's depth model was trained; a flat map is all 0."""
    size = (height // LATENT_SCALE, width // LATENT_SCALE)
    small = interpolate(depth[None, None].float(), size=size, mode="bicubic", align_corners=False)
    low, high = small.amin(), small.amax()
    if high == low:  # a wall: the usual formula would divide by zero
        return torch.zeros_like(small)
    return 2 * (small - low) / (high - low) - 1


def shown(depth: Tensor, width: int, height: int) -> bytes:
    """The map as a grey PNG of the picture's size; bright is near."""
    low, high = depth.amin(), depth.amax()
    grey = ((depth - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8).numpy()
    return png.encode(Image.fromarray(np.ascontiguousarray(grey)).resize((width, height), Image.Resampling.BICUBIC))
