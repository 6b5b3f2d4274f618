"""What chance decides for a batch of a denoiser's training: how noisy each picture is, and what is said of it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training.loop import Turn
from training.schedules import STEPS

UNTOLD = 0.1  # of the samples have an empty caption, for classifier-free guidance


@dataclass(frozen=True)
class Noised:
    """latents, v: (n, 4, h, w), what the denoiser sees and should say (Salimans and Ho 2022). steps: (n), its timesteps."""

    latents: Tensor
    v: Tensor
    steps: Tensor


def noised(clean: Tensor, alphas: Tensor, turn: Turn) -> Noised:
    """clean: (n, 4, h, w). alphas: alpha bar by timestep. Timesteps are stratified within the batch."""
    count = len(clean)
    steps = torch.from_numpy((turn.rng.permutation(count) + turn.rng.random(count)) / count * STEPS).long()
    a = alphas[steps].float().view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=turn.noise)
    return Noised(a.sqrt() * clean + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * clean, steps)


def told(captions: Tensor, which: Tensor, tokenizer: CLIPTokenizer, turn: Turn) -> tuple[Tensor, Tensor]:
    """captions: (pictures, captions of each, length), tokens. which: (n). -> tokens (n, length); (n) which of them are those of the empty caption"""
    tokens = captions[which, torch.from_numpy(turn.rng.integers(0, captions.shape[1], len(which)))].long()
    empty = torch.tensor(tokenizer("", padding="max_length", truncation=True).input_ids)
    untold = torch.from_numpy(turn.rng.random(len(which)) < UNTOLD)
    return torch.where(untold[:, None], empty, tokens), untold


def error(said: Tensor, lot: Noised) -> Tensor:
    """The mean squared error of v."""
    return ((said.float() - lot.v.to(said.device)) ** 2).mean()
