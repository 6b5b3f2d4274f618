"""What the frozen encoder makes of the renders, on the disk, one file for each shard of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn.functional import avg_pool2d

from training import loop
from training.data import SHARD, Renders
from training.models import PIXELS, SHAPES, vae
from training.stages.autoencoder import signed
from training.workers import each

BATCH = 50


@dataclass(frozen=True)
class Latents:
    """source: a state of the VAE's training. Scaled to unit variance by `scale`, the scaling factor that the release will have."""

    folder: Path
    renders: Renders
    source: Path
    shape: str

    @cached_property
    def _all(self) -> Tensor:
        return torch.from_numpy(np.concatenate([np.load(path) for path in self.paths]))

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"{path.parent.name}-{path.name}.npy" for path in self.renders.paths]

    @cached_property
    def scale(self) -> float:
        return 1 / float(self._all.float().std())

    def get(self, which: Sequence[int]) -> Tensor:
        """(n, 4, h, w)"""
        return self._all[list(which)].float() * self.scale

    def depth_planes(self, which: Sequence[int]) -> Tensor:
        """(n, 1, h, w) in -1..1, each spread over all of it, as the stock depth pipeline does."""
        return spread(avg_pool2d(self.renders.depths(which)[:, None], PIXELS))

    def make(self, device: str = "cpu") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [(path, self.renders, range(i * SHARD, min(self.renders.count, (i + 1) * SHARD)), self.source, self.shape)
                   for i, path in enumerate(self.paths) if not path.exists()]  # fmt: skip
        each(write, missing, device)


def spread(depth: Tensor) -> Tensor:
    low, high = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
    return (depth - low) / (high - low).clamp(min=1e-6) * 2 - 1


def write(path: Path, renders: Renders, which: range, source: Path, shape: str, device: str = "cpu") -> None:
    state = loop.resumed(source)
    assert state is not None, source
    network = vae(SHAPES[shape]).to(device, memory_format=torch.channels_last)
    network.load_state_dict(state.average["vae"])
    parts = [encoded(network, renders.images(some).to(device)).cpu() for some in batches(which)]
    with path.with_suffix(".part").open("wb") as file:
        np.save(file, torch.cat(parts).half().numpy())
    os.replace(path.with_suffix(".part"), path)


def batches(which: range) -> list[range]:
    return [range(start, min(start + BATCH, which.stop)) for start in range(which.start, which.stop, BATCH)]


@torch.no_grad()
def encoded(network: AutoencoderTiny, images: Tensor) -> Tensor:
    """images in 0..1. This encoder itself maps -1..1 to 0..1."""
    with loop.autocast(images.device.type):
        return network.encoder(signed(images).contiguous(memory_format=torch.channels_last)).float().contiguous()
