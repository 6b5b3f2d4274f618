"""Renders on the disk: shards that are memory-mapped, written whole or not at all. Scenes and captions are not stored: they follow from numbers."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from training.captions import captions
from training.prompts import secret
from training.render import depth_map, render
from training.scenes import Scene, numbered
from training.workers import each

SHARD = 1000  # scenes
BATCH = 32
TRAINING, HELD_OUT = 0, 10_000  # seeds


@dataclass(frozen=True)
class Renders:
    """Numbers 0 ... count - 1 of a seed, `side` pixels wide."""

    folder: Path
    seed: int
    side: int
    count: int

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(numbered(self.seed, i) for i in range(self.count))

    @cached_property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        never = secret()
        return tuple(captions(scene, Random(f"captions {self.seed} {i}"), never) for i, scene in enumerate(self.scenes))

    @cached_property
    def _shards(self) -> tuple[dict[str, np.ndarray], ...]:
        return tuple({name: np.load(path / f"{name}.npy", mmap_mode="r") for name in ("image", "depth", "ids")} for path in self.paths)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"{self.seed}-{self.side}" / f"{shard:03d}" for shard in range(-(-self.count // SHARD))]

    def images(self, which: Sequence[int]) -> Tensor:
        """(n, 3, S, S) in 0..1"""
        return self._gathered("image", which).movedim(-1, 1).float().div(255)

    def depths(self, which: Sequence[int]) -> Tensor:
        """(n, S, S): inverse depth in 0..1"""
        return self._gathered("depth", which).float()

    def ids(self, which: Sequence[int]) -> Tensor:
        return self._gathered("ids", which)

    def _gathered(self, name: str, which: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._shards[i // SHARD][name][i % SHARD] for i in which]))

    def make(self, device: str = "cpu") -> int:
        """Renders what is missing. -> how many shards that were"""
        missing = [(path, self.seed, self.side, range(i * SHARD, min(self.count, (i + 1) * SHARD)))
                   for i, path in enumerate(self.paths) if not path.exists()]  # fmt: skip
        each(write, missing, device)
        return len(missing)


def write(path: Path, seed: int, side: int, numbers: range, device: str = "cpu") -> None:
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    parts: dict[str, list[np.ndarray]] = {"image": [], "depth": [], "ids": []}
    for start in range(numbers.start, numbers.stop, BATCH):
        made = render([numbered(seed, i) for i in range(start, min(start + BATCH, numbers.stop))], side, device)
        parts["image"].append(made.image.movedim(1, -1).mul(255).round().byte().cpu().numpy())
        parts["depth"].append(depth_map(made.depth).half().cpu().numpy())
        parts["ids"].append(made.ids.byte().cpu().numpy())
    for name, arrays in parts.items():
        np.save(part / f"{name}.npy", np.concatenate(arrays))
    os.replace(part, path)
