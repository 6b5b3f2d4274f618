"""Which attention a U-Net and a VAE use: the best that really works on the device, and the name of what is active."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor

from sd_ui.engine.device import Place
from sd_ui.engine.family import Denoiser

XFORMERS, SDPA, SLICED, PLAIN = "xformers", "sdpa", "sliced", "plain"
NAMES = {"XFormers": XFORMERS, "AttnProcessor2_0": SDPA, "FluxAttnProcessor": SDPA, "Sliced": SLICED}
HEADS = ((8, 40), (8, 160), (1, 512))  # heads and channels of each in Stable Diffusion 1.x: first and deepest level of the U-Net, the VAE
JOINT = (SD3Transformer2DModel, FluxTransformer2DModel)
log = logging.getLogger(__name__)


def apply(denoiser: Denoiser, vae: Any, place: Place) -> str:
    """xformers or PyTorch's SDPA on CUDA, SDPA elsewhere, slices where neither works. -> the name of what is active in the denoiser

    Transformers over pictures and text together have an attention of their own, by SDPA.
    """
    name = best(place)
    for module in (denoiser, vae):
        if hasattr(module, "set_attn_processor") and not isinstance(module, JOINT):  # a tiny VAE has no attention
            USE[name](module)
    return active(denoiser)


def sliced(module: Any) -> None:
    """From now on one head at a time, where diffusers can: in U-Nets and VAEs. It costs time, and changes the last bits."""
    if set(_kinds(module)) <= {"AttnProcessor2_0", "XFormersAttnProcessor"} and _kinds(module):
        module.set_attn_processor(SlicedAttnProcessor(1))


def whole(module: Any, name: str) -> None:
    """Undoes it. name: what was active before."""
    if set(_kinds(module)) == {"SlicedAttnProcessor"} and name in USE:
        USE[name](module)


def best(place: Place) -> str:
    if place.device.type == "cuda" and works(_try_xformers, place):
        return XFORMERS
    return SDPA if works(_try_sdpa, place) else SLICED


def works(kernel: Callable[[Place], torch.Tensor], place: Place) -> bool:
    """Tried rather than asked: what is installed may not fit this torch, and what fits may not know this card."""
    try:
        return bool(kernel(place).isfinite().all())
    except (ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:  # not built, not for this card, not for this torch
        log.info("%s is not usable here: %s", kernel.__name__.removeprefix("_try_"), str(error).partition("\n")[0])
        return False


def active(module: Any) -> str:
    """By looking at the processors: diffusers' switches may silently do nothing."""
    kinds = set(_kinds(module))
    return "+".join(sorted({next((name for part, name in NAMES.items() if part in kind), PLAIN) for kind in kinds})) or "none"


def _kinds(module: Any) -> list[str]:
    return [type(processor).__name__ for processor in getattr(module, "attn_processors", {}).values()]


def _try_xformers(place: Place) -> torch.Tensor:
    from xformers.ops import memory_efficient_attention

    asked = (torch.ones(1, 16, *shape, device=place.device, dtype=place.dtype) for shape in HEADS)  # (batch, tokens, heads, channels)
    return torch.cat([memory_efficient_attention(q, q, q).flatten() for q in asked])


def _try_sdpa(place: Place) -> torch.Tensor:
    q = torch.ones(1, 8, 16, 40, device=place.device, dtype=place.dtype)
    return torch.nn.functional.scaled_dot_product_attention(q, q, q)


def _use_xformers(module: Any) -> None:
    try:
        module.enable_xformers_memory_efficient_attention()
    except (RuntimeError, ValueError, NotImplementedError, ImportError) as error:  # it tries once more, on shapes of its own
        log.warning("xformers refused: %s", error)
        module.set_attn_processor(AttnProcessor2_0())


USE: dict[str, Callable[[Any], None]] = {
    XFORMERS: _use_xformers,
    SDPA: lambda module: module.set_attn_processor(AttnProcessor2_0()),
    SLICED: lambda module: module.set_attn_processor(SlicedAttnProcessor(1)),
}
