"""How much of a device a job will fill: weights as they are, and an estimate of what is computed between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sd_ui.engine import memory, packed_linear
from sd_ui.engine.noise import LATENT_SCALE
from sd_ui.engine.offload import is_denoiser, is_vae, units
from sd_ui.engine.policy import COMPONENTS, GROUPS, RESIDENT, SEQUENTIAL, UNITS, Policy

COPIES = 40  # of a denoiser's widest layer for each cell, at the peak: ComfyUI's factors for SD 1.x, SD 3 and Flux are 33, 33 and 42 of these
DECODED = 2178 / 128  # numbers for each pixel and first channel of a VAE at the peak of its decoder, as ComfyUI counts; its encoder needs less
TILE = 512  # pixels of a side
SPARE = 1.1  # for what no formula knows
USUAL_WIDTH, USUAL_FIRST = 640, 128  # of denoisers and VAEs that do not say


@dataclass(frozen=True)
class Work:
    """What will be drawn. width, height: pixels. rows: of a call of the denoiser, 2 with guidance."""

    width: int
    height: int
    rows: int = 2

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def cells(self) -> int:
        return self.pixels // LATENT_SCALE**2


@dataclass(frozen=True)
class Sizes:
    """Bytes of one model's weights: of each component, of all together, and of the largest part that is moved as one, by policy."""

    components: Mapping[str, int]
    whole: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Footprint:
    """Bytes of one model at one size. sampling, decoding, in_tiles: what is computed meanwhile."""

    sizes: Sizes
    sampling: int
    decoding: int
    in_tiles: int

    def peak(self, policy: Policy) -> int:
        """With some to spare."""
        decoding = self.in_tiles if policy.tiles else self.decoding
        beside = {name: self._beside(name, decoding) for name in self.sizes.components}
        whole = {name: size + beside[name] for name, size in self.sizes.components.items()}
        parts = {level: 2 * size for level, size in self.sizes.parts.items()}  # the next one comes while one computes
        most = {
            RESIDENT: self.sizes.whole + max(beside.values(), default=0),
            COMPONENTS: max(whole.values(), default=0),
            GROUPS: max(parts[GROUPS] + self.sampling, *(size for name, size in whole.items() if not is_denoiser(name)), 0),
            SEQUENTIAL: parts[SEQUENTIAL] + max(beside.values(), default=0),
        }
        return int(most[policy.weights] * SPARE)

    def _beside(self, name: str, decoding: int) -> int:
        if is_vae(name):
            return decoding
        return self.sampling if is_denoiser(name) else 0


def sizes(components: Mapping[str, nn.Module]) -> Sizes:
    def largest(level: str) -> int:
        return max((memory.size([unit]) for module in components.values() for unit in units(module, UNITS[level])), default=0)

    each = {name: memory.size([module]) for name, module in components.items()}
    return Sizes(each, memory.size(components.values()), {level: largest(level) for level in (GROUPS, SEQUENTIAL)})


def of(components: Mapping[str, nn.Module], known: Sizes, work: Work) -> Footprint:
    denoisers = [module for name, module in components.items() if is_denoiser(name)]
    vaes = [module for name, module in components.items() if is_vae(name)]
    return Footprint(
        known,
        max((sampling(module, work) for module in denoisers), default=0),
        max((decoding(module, work.pixels) for module in vaes), default=0),
        max((decoding(module, min(work.pixels, TILE**2)) for module in vaes), default=0),
    )


def sampling(denoiser: nn.Module, work: Work) -> int:
    """Bytes of a call, beside the weights."""
    return int(work.rows * work.cells * COPIES * width(denoiser) * _itemsize(denoiser)) + packed_linear.largest(denoiser)


def decoding(vae: nn.Module, pixels: int) -> int:
    first = _config(vae, "block_out_channels", _config(vae, "decoder_block_out_channels", (USUAL_FIRST,)))[0]
    return int(pixels * DECODED * first * _itemsize(vae))


def width(denoiser: nn.Module) -> float:
    """Channels for each cell of the latents: of a U-Net's first level, or of a transformer's tokens, which stand for several cells each."""
    channels = _config(denoiser, "block_out_channels", None)
    if channels:
        return float(channels[0])
    heads, size, patch = (_config(denoiser, name, None) for name in ("num_attention_heads", "attention_head_dim", "patch_size"))
    if not (isinstance(heads, int) and isinstance(size, int)):
        return USUAL_WIDTH
    return heads * size / (patch if isinstance(patch, int) and patch > 1 else 2) ** 2  # Flux, whose config says 1, packs two by two


def _config(module: nn.Module, name: str, default: Any) -> Any:
    return getattr(getattr(module, "config", None), name, None) or default


def _itemsize(module: nn.Module) -> int:
    first = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    return max(2, first.itemsize) if first is not None else 4  # what is kept in 8 bits is not computed with so few
