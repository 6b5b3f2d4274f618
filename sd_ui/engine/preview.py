"""Latents to a small JPEG at every step: by a tiny decoder where the model has one, otherwise by one matrix from latents to RGB."""

import io
from collections.abc import Callable

import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sd_ui.engine import pixels
from sd_ui.engine.loaded import Loaded

QUALITY = 80
CELLS = {"cpu": 16}  # longest side of what a tiny decoder gets: on a CPU it takes as long as half a step of a small model there
MANY_CELLS = 64
SAMPLE, PATCHES, RIDGE = 128, 9, 1e-3  # of `fitted`: pixels and patches along a side, and how little it trusts any one channel


def previewer(loaded: Loaded) -> Callable[[Tensor], bytes]:
    """latents (1, 4, h, w) -> JPEG. Never the full VAE: that would cost more than the step."""
    if isinstance(loaded.vae, AutoencoderTiny):
        vae, cells = loaded.vae, CELLS.get(loaded.place.device.type, MANY_CELLS)
        return lambda latents: jpeg(vae.decode(shrunk(latents, cells).to(vae.dtype) / vae.config.scaling_factor).sample[0].float())
    *factors, constant = torch.tensor(loaded.family.rgb) if loaded.family.rgb else fitted(loaded)
    matrix, added = torch.stack(factors), constant[:, None, None]
    return lambda latents: jpeg(torch.einsum("chw,cr->rhw", latents[0].float().cpu(), matrix) + added)


def fitted(loaded: Loaded) -> Tensor:
    """(channels + 1, 3): the matrix from latents to RGB, as `Family.rgb` has it, found out from the model's own VAE.

    It encodes one small picture of coloured patches; least squares then say which colour the latents of a cell stand for.
    """
    patches = torch.rand(1, 3, PATCHES, PATCHES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = interpolate(patches, size=(SAMPLE, SAMPLE), mode="bilinear", align_corners=True)
    latents = pixels.encoded(loaded, picture).cpu()
    colours = interpolate(picture, size=latents.shape[-2:], mode="area")[0].flatten(1).T
    known = torch.cat([latents[0].flatten(1).T, torch.ones(len(colours), 1)], dim=1).double()
    found = torch.linalg.solve(known.T @ known + RIDGE * len(known) * torch.eye(known.shape[1]).double(), known.T @ colours.double())
    return found.float()


def shrunk(latents: Tensor, cells: int) -> Tensor:
    """At most `cells` along the longer side, by averaging: a smaller preview instead of a slower one."""
    longest = max(latents.shape[-2:])
    if longest <= cells:
        return latents
    size = [max(1, round(side * cells / longest)) for side in latents.shape[-2:]]
    return interpolate(latents, size=size, mode="area")


def jpeg(rgb: Tensor) -> bytes:
    """(3, h, w) in -1..1; the browser scales it up, which costs us nothing."""
    pixels = ((rgb.nan_to_num() + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
