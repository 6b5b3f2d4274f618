"""The depth estimator's training: renders -> inverse depth."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from training.data import Renders
from training.loop import Turn
from training.models import depth_estimator
from training.sheets import sheet
from training.stages.autoencoder import slopes

SHOWN = 48


class Depth:
    name = "depth"

    def __init__(self, renders: Renders, held_out: Renders, batch: int, device: str):
        self.batch, self.device, self._renders, self._held_out = batch, device, renders, held_out
        torch.manual_seed(0)
        self.estimator = depth_estimator().to(device).train()
        self.networks: Mapping[str, nn.Module] = {"estimator": self.estimator}

    def loss(self, turn: Turn) -> Tensor:
        which = turn.rng.integers(0, self._renders.count, self.batch).tolist()
        off = self.estimator(self._renders.images(which).to(self.device)).predicted_depth.float() - self._renders.depths(which).to(self.device)
        return off.abs().mean() + 0.5 * slopes(off)

    def show(self, folder: Path) -> Mapping[str, float]:
        which = range(min(SHOWN, self._held_out.count))
        images, depths = self._held_out.images(which), self._held_out.depths(which)
        told = self.estimator(images.to(self.device)).predicted_depth.float().cpu()
        sheet([plane for row in zip(images, depths[:, None], told[:, None], strict=True) for plane in row][:48], columns=12).save(
            folder / "sheet.png"
        )
        return {"off": float((told - depths).abs().mean()), "rank correlation": rank_correlation(told, depths)}


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, the mean over pictures; equal values share their mean rank, as far as double precision tells them apart."""
    return float(torch.stack([torch.corrcoef(torch.stack([ranks(x), ranks(y)]))[0, 1] for x, y in zip(a, b, strict=True)]).mean())


def ranks(values: Tensor) -> Tensor:
    _, place, counts = values.flatten().double().unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[place]
