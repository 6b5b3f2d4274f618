"""The VAE, from scratch on crops of renders. It comes first and longest: nothing that follows can be sharper than it is."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from training.data import Renders
from training.loop import Turn
from training.models import PIXELS, Shape, begin_vae, vae
from training.sheets import sheet

CROP = 64  # pixels
NOISE = 0.1  # on the latents, at most: the decoder must bear what a sampler leaves
SHOWN = 32


class Autoencoder:
    """frozen: the encoder stays as it is, because latents made by it are in use; only the decoder learns on."""

    def __init__(self, shape: Shape, renders: Renders, held_out: Renders, batch: int, device: str = "cpu", begin: Mapping[str, Tensor] | None = None):
        self.name = "decoder" if begin else "vae"
        self.batch, self.device, self._renders, self._held_out = batch, device, renders, held_out
        self.vae: AutoencoderTiny = vae(shape).to(device, memory_format=torch.channels_last)
        if begin:
            self.vae.load_state_dict(begin)
            self.vae.encoder.requires_grad_(False)
        else:
            torch.manual_seed(0)
            begin_vae(self.vae, signed(renders.images(range(min(32, renders.count)))).to(device))
        self.networks: Mapping[str, nn.Module] = {"vae": self.vae}

    def loss(self, turn: Turn) -> Tensor:
        """L1 and L2 of pixels and L1 of their gradients; latents of zero mean and unit variance."""
        clean = self._crops(turn.rng)
        latents = self.vae.encoder(clean).float()
        amount = NOISE * torch.rand((len(clean), 1, 1, 1), generator=turn.noise)
        noise = (amount * torch.randn(latents.shape, generator=turn.noise)).to(self.device)
        off = self.vae.decoder(latents + noise).float() - clean
        spread = (latents.mean((0, 2, 3)) ** 2).mean() + ((latents.var((0, 2, 3)) - 1) ** 2).mean()
        return off.abs().mean() + 0.7 * slopes(off) + (off * off).mean() + 0.05 * spread

    def _crops(self, rng: np.random.Generator) -> Tensor:
        """Aligned to latent cells. Of two places in a picture, the one with more of things in it: floors and skies are easy."""
        which = rng.integers(0, self._renders.count, self.batch).tolist()
        images, ids = self._renders.images(which), self._renders.ids(which)
        places = PIXELS * rng.integers(0, (self._renders.side - CROP) // PIXELS + 1, (self.batch, 2, 2))
        best = [max(two.tolist(), key=lambda at: things_in(ids[i], at)) for i, two in enumerate(places)]
        crops = torch.stack([images[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in enumerate(best)])
        flipped = torch.from_numpy(rng.random(self.batch) < 0.5)[:, None, None, None]
        return signed(torch.where(flipped, crops.flip(-1), crops)).to(self.device, memory_format=torch.channels_last)

    def show(self, folder: Path) -> Mapping[str, float]:
        images = self._held_out.images(range(min(SHOWN, self._held_out.count)))
        latents = self.vae.encoder(signed(images).to(self.device))
        again = unsigned(self.vae.decoder(latents)).cpu()
        rows = [image for pair in zip(images, again, strict=True) for image in pair]
        sheet(rows[:48]).save(folder / "sheet.png")
        return {"psnr": psnr(images, again), "latent mean": latents.mean().item(), "latent std": latents.std().item()}


def signed(images: Tensor) -> Tensor:
    return images * 2 - 1


def unsigned(images: Tensor) -> Tensor:
    return (images.float() / 2 + 0.5).clamp(0, 1)


def slopes(off: Tensor) -> Tensor:
    return (off[..., 1:] - off[..., :-1]).abs().mean() + (off[..., 1:, :] - off[..., :-1, :]).abs().mean()


def things_in(ids: Tensor, at: list[int]) -> int:
    y, x = at
    return int((ids[y : y + CROP, x : x + CROP] > 1).sum())


def psnr(a: Tensor, b: Tensor) -> float:
    """Of values in 0..1; the mean over pictures, in decibel."""
    return float((-10 * torch.log10(((a - b) ** 2).flatten(1).mean(1).clamp(min=1e-10))).mean())
