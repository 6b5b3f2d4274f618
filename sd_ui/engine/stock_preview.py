"""What a step of a pipeline shows: its latents as a small picture, by one matrix. A family's own where it is known, else what tells most in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.preview import jpeg

KNOWN = {0.18215: "sd1", 0.13025: "sdxl"}  # VAEs that other families share, by how they scale their latents
CELLS = 128  # longest side of a preview
CHROMA = torch.tensor([[1.0, 0.0, 0.5], [1.0, -0.25, -0.25], [1.0, 0.5, 0.0]])  # brightness and two differences of colours -> RGB
SPREAD = 2.0  # standard deviations from black to white


@dataclass
class Look:
    """Of one picture. vae: its config says whose latents it decodes. The axes of a step are turned like those of the step before."""

    vae: Any
    size: tuple[int, int]
    _axes: list[Tensor] = field(default_factory=list)

    def jpeg(self, latents: Tensor) -> bytes:
        """latents: (C, h, w), of any family."""
        longest = max(latents.shape[-2:])
        small = latents.float()[None]
        if longest > CELLS:
            small = interpolate(small, size=[max(1, round(side * CELLS / longest)) for side in latents.shape[-2:]], mode="area")
        return jpeg(self.rgb(small[0].cpu()))

    def rgb(self, latents: Tensor) -> Tensor:
        """(C, h, w) -> (3, h, w) in -1..1."""
        known = FAMILIES.get(KNOWN.get(float(getattr(self.vae.config, "scaling_factor", 0) or 0), ""))
        if known is None or len(known.rgb) != latents.shape[0] + 1:
            return self._by_components(latents.nan_to_num())
        *factors, constant = torch.tensor(known.rgb)
        return torch.einsum("chw,cr->rhw", latents, torch.stack(factors)) + constant[:, None, None]

    def _by_components(self, latents: Tensor) -> Tensor:
        """The three principal components (Pearson 1901) of the cells as brightness and colours."""
        channels, *size = latents.shape
        cells = latents.reshape(channels, -1)
        cells = cells - cells.mean(1, keepdim=True)
        _, vectors = torch.linalg.eigh(cells @ cells.T)  # ascending
        axes = self._turned(vectors.flip(1)[:, :3])
        parts = axes.T @ cells
        seen = parts / (SPREAD * parts[:1].std().clamp(min=1e-6))
        full = torch.zeros(3, seen.shape[1])
        full[: seen.shape[0]] = seen
        return (CHROMA @ full).reshape(3, *size)

    def _turned(self, axes: Tensor) -> Tensor:
        """An axis may point either way: it stays as the last one was, so that a preview does not turn negative between two steps."""
        if self._axes:
            axes = axes * torch.where((axes * self._axes[-1]).sum(0) < 0, -1.0, 1.0)
        self._axes[:] = [axes]
        return axes


def unpacked(pipeline: Any, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """A pipeline's latents -> (C, h, w). size: pixels, width and height. Transformers keep them as a row of patches: (1, patches, channels)."""
    width, height = size
    if latents.ndim == 3 and hasattr(pipeline, "_unpack_latents"):
        latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    if latents.ndim == 3:
        rows = max(1, round((latents.shape[1] * height / width) ** 0.5))
        latents = latents[:, : rows * (latents.shape[1] // rows)].transpose(1, 2).unflatten(2, (rows, -1))
    return latents[0].reshape(latents.shape[1], *latents.shape[-2:])


@dataclass(frozen=True)
class Taken:
    """One step of a scheduler. result: what it gave back."""

    scheduler: Any
    said: Mapping[str, Any]
    result: Any

    @property
    def latents(self) -> Tensor:
        first = self.result[0] if isinstance(self.result, tuple) else self.result.prev_sample
        assert isinstance(first, Tensor)
        return first

    @property
    def denoised(self) -> Tensor:
        """The clean latents that the model had in mind, where the scheduler tells of them; else those after the step."""
        if isinstance(self.result, tuple) and len(self.result) > 1 and isinstance(self.result[1], Tensor):
            return self.result[1]
        clean = getattr(self.result, "pred_original_sample", None)
        if isinstance(clean, Tensor):
            return clean
        if str(getattr(self.scheduler.config, "algorithm_type", "")).startswith("dpmsolver++"):
            solved = self.scheduler.model_outputs[-1]
            return solved if isinstance(solved, Tensor) else self.latents
        if type(self.scheduler).__name__.startswith("FlowMatch"):
            sigma = self.scheduler.sigmas[self.scheduler.step_index - 1]
            return self.said["sample"] - sigma.to(self.said["sample"].device) * self.said["model_output"]
        return self.latents
