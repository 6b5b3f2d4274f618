"""The judge's training: renders of one and two things, some blurred and noisy, so that it is not thrown off by what a VAE does to them."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from training.data import Renders
from training.judge import ANSWERS, Judge, answers, confusion, right, truths
from training.lessons import answered
from training.loop import Turn
from training.stages.autoencoder import signed, unsigned

NOISE = 0.03
BLURRED = 0.35  # of the pictures
SHOWN = 512


class Judging:
    """vae: to say how well the judge reads what it gives back, which is the ceiling of every figure about the model."""

    name = "judge"

    def __init__(self, renders: Renders, held_out: Renders, batch: int, device: str, vae: AutoencoderTiny):
        self.batch, self.device, self._renders, self._held_out, self._vae = batch, device, renders, held_out, vae
        torch.manual_seed(0)
        self.judge = Judge().to(device)
        self.networks: Mapping[str, nn.Module] = {"judge": self.judge}

    @cached_property
    def _truths(self) -> dict[str, Tensor]:
        return truths(self._renders.scenes)

    def loss(self, turn: Turn) -> Tensor:
        which = turn.rng.integers(0, self._renders.count, self.batch)
        images = worn(self._renders.images(which.tolist()), turn).to(self.device)
        said = self.judge(images)
        asked = {question: self._truths[question][which].to(self.device) for question in ANSWERS}
        return answered(said, asked)

    def show(self, folder: Path) -> Mapping[str, float]:
        count = min(SHOWN, self._held_out.count)
        images, asked = self._held_out.images(range(count)), truths(self._held_out.scenes[:count])
        again = torch.cat([unsigned(self._vae.decoder(self._vae.encoder(signed(some).to(self.device)))) for some in images.split(32)])
        on_renders, on_vae = answers(self.judge, images.to(self.device)), answers(self.judge, again)
        tables = [confusion(on_renders[question].cpu(), asked[question], ANSWERS[question]) for question in ANSWERS]
        (folder / "confusion.txt").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
        ceilings = {"": on_renders, " after the vae": on_vae}
        return {
            question + where: share
            for where, said in ceilings.items()
            for question, share in right({name: said[name].cpu() for name in said}, asked).items()
        }


def worn(images: Tensor, turn: Turn) -> Tensor:
    amount = NOISE * torch.rand((len(images), 1, 1, 1), generator=turn.noise)
    noisy = (images + amount * torch.randn(images.shape, generator=turn.noise)).clamp(0, 1)
    blurred = interpolate(avg_pool2d(noisy, 2), scale_factor=2, mode="bilinear")
    chosen = torch.rand((len(images), 1, 1, 1), generator=turn.noise) < BLURRED
    return torch.where(chosen, blurred, noisy)
