"""Between pixels and latents: the VAE, in both directions."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sd_ui.engine.loaded import Loaded
from sd_ui.engine.memory import economical


class NotFinite(ArithmeticError):
    """The model's numbers overflowed, or its weights are none: what would have been a black picture. spoilt: parts with such weights."""

    def __init__(self, dtype: torch.dtype, spoilt: Iterable[str] = ()) -> None:
        precisely, parts = str(dtype).removeprefix("torch."), " and ".join(spoilt)
        if parts:
            why = f"weights of the {parts} are not finite in {precisely}: the model's file is damaged"
            super().__init__(why if dtype == torch.float32 else f"{why}, or needs --dtype float32")
        else:
            super().__init__(f"the model produced numbers that are not finite (in {precisely}); try --dtype float32, or a lower CFG scale")


def spoilt(loaded: Loaded) -> list[str]:
    """Names of the parts that have weights which are no finite numbers. It looks at all of them: for when something went wrong."""
    return [name for name, module in loaded.components.items() if not all(map(finite, module.parameters()))]


def finite(weight: Tensor) -> bool:
    return weight.is_meta or not weight.is_floating_point() or bool((weight.float() if weight.itemsize < 2 else weight).isfinite().all())


def tensor(image: Image.Image) -> Tensor:
    """RGB -> (1, 3, H, W) float32 in -1..1."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels[None].transpose(0, 3, 1, 2)) * 2 - 1  # channels last in memory, as in diffusers: it decides the last bits


def encoded(loaded: Loaded, pixels: Tensor) -> Tensor:
    """(1, 3, H, W) in -1..1 -> (1, 4, H/8, W/8) float32, scaled as the sampler wants it.

    The mean of the encoder's distribution, not a draw from it: so the run's noise is that of txt2img with the same seed.
    Contiguous, because the layout decides the last bits of what follows.
    """
    vae, config = loaded.vae, loaded.vae.config
    with economical(vae, pixels.shape[-1], pixels.shape[-2]):
        said = vae.encode(pixels.to(loaded.place.device, vae.dtype))
    latents = said.latents if hasattr(said, "latents") else said.latent_dist.mode()
    return ((latents.float() - (config.get("shift_factor") or 0.0)) * config.scaling_factor).contiguous()


def decoded(loaded: Loaded, latents: Tensor) -> Image.Image:
    """(1, 4, h, w) -> RGB of 8h x 8w. A half-precision VAE that overflows is tried again in float32; raises NotFinite."""
    if not latents.isfinite().all():
        raise NotFinite(loaded.place.dtype, spoilt(loaded))
    pixels = _decoded(loaded, latents)
    if not pixels.isfinite().all() and loaded.vae.dtype != torch.float32:
        dtype = loaded.vae.dtype
        loaded.vae.float()
        try:
            pixels = _decoded(loaded, latents)
        finally:
            loaded.vae.to(dtype)
    if not pixels.isfinite().all():
        raise NotFinite(loaded.vae.dtype, spoilt(loaded))
    array = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(array[0].permute(1, 2, 0).cpu().numpy())


def _decoded(loaded: Loaded, latents: Tensor) -> Tensor:
    vae, config = loaded.vae, loaded.vae.config
    unscaled = latents / config.scaling_factor + (config.get("shift_factor") or 0.0)
    with economical(vae, latents.shape[-1] * 8, latents.shape[-2] * 8):
        pixels: Tensor = vae.decode(unscaled.to(vae.dtype)).sample
    return pixels.float()


def grey(image: Image.Image) -> np.ndarray:
    """(H, W) uint8."""
    return np.asarray(image.convert("L"))
