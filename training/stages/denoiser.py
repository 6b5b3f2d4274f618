"""The U-Net with its text encoder, for all tasks at once: some of a batch are given a depth map, some a mask and what it leaves of the picture.

Beside the noise, both are asked what they know (lessons.py).
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import CLIPTokenizer

from training.judge import ANSWERS, UNASKED, truths
from training.latents import Latents, encoded
from training.lessons import Reading, Seeing, answered, lying
from training.loop import Turn, Weights, put
from training.lots import error, noised, told
from training.masks import mask
from training.models import PIXELS, PLANES, Shape, plainly_attending, text_encoder, tokenized, unet

WITH_DEPTH, WITH_MASK = 0.25, 0.25  # of the samples
ALONE = 0.25  # of the training sees only scenes of one thing
READ, SEEN = 0.02, 0.05  # what the further lessons weigh beside the noise


class Denoiser:
    """look: draws and judges samples. all_tasks: depth and masks too, and scenes of two things; else plain pictures of one.
    begin: weights of a text encoder and its reading, from their own stage."""

    def __init__(
        self,
        name: str,
        shape: Shape,
        latents: Latents,
        vae: AutoencoderTiny,
        tokenizer: CLIPTokenizer,
        alphas: Tensor,
        batch: int,
        device: str,
        look: Callable[["Denoiser", Path], Mapping[str, float]],
        all_tasks: bool = True,
        begin: Weights | None = None,
    ):
        self.name, self.batch, self.device, self._all_tasks = name, batch, device, all_tasks
        self.latents, self.vae, self.tokenizer, self.alphas, self._look = latents, vae, tokenizer, alphas, look
        torch.manual_seed(0)
        self.unet = unet(shape, side=latents.renders.side // PIXELS).to(device, memory_format=torch.channels_last)
        self.text = text_encoder(shape, len(tokenizer)).to(device)
        self.reading, self.seeing = Reading(shape.text[0]).to(device), Seeing(shape.channels[1]).to(device)
        self.networks: Mapping[str, nn.Module] = {"unet": self.unet, "text": self.text, "reading": self.reading, "seeing": self.seeing}
        if begin:
            put(begin, {name: self.networks[name] for name in begin})
        if device == "cpu":
            plainly_attending(self.unet, self.text)
        self._features: list[Tensor] = []  # of this step, at full latent size
        self.unet.up_blocks[-2].register_forward_hook(lambda block, given, out: self._features.append(out))

    @cached_property
    def _tokens(self) -> Tensor:
        return tokenized(self.latents.renders.captions, self.tokenizer)

    @cached_property
    def _truths(self) -> dict[str, Tensor]:
        return truths(self.latents.renders.scenes)

    @cached_property
    def _alone(self) -> np.ndarray:
        return np.array([i for i, scene in enumerate(self.latents.renders.scenes) if len(scene.things) == 1])

    def loss(self, turn: Turn) -> Tensor:
        which = self._drawn(turn)
        lot = noised(self.latents.get(which), self.alphas, turn)
        planes = torch.cat([lot.latents, self._further(which, turn)], 1).to(self.device, memory_format=torch.channels_last)
        tokens, untold = told(self._tokens, torch.tensor(which), self.tokenizer, turn)
        tokens = tokens.to(self.device)
        states = self.text(tokens).last_hidden_state
        self._features.clear()
        said = self.unet(planes, lot.steps.to(self.device), states, return_dict=False)[0]
        return error(said, lot) + self._lessons(which, states, tokens, untold)

    def _lessons(self, which: list[int], states: Tensor, tokens: Tensor, untold: Tensor) -> Tensor:
        asked = {question: self._truths[question][which].masked_fill(untold, UNASKED).to(self.device) for question in ANSWERS}
        renders = self.latents.renders
        shares = lying(renders.ids(which), [renders.scenes[i] for i in which], PIXELS).to(self.device)
        read = answered(self.reading(states, tokens, self.tokenizer.eos_token_id), asked)
        return READ * read + SEEN * self.seeing.loss(self._features[0], shares)

    def _drawn(self, turn: Turn) -> list[int]:
        if not self._all_tasks or turn.progress < ALONE:
            return turn.rng.choice(self._alone, self.batch).tolist()
        return turn.rng.integers(0, self.latents.renders.count, self.batch).tolist()

    def _further(self, which: list[int], turn: Turn) -> Tensor:
        """(n, 6, h, w): depth, mask, masked latents; zeros where a sample has none."""
        side = self.latents.renders.side // PIXELS
        planes = torch.zeros(self.batch, PLANES - 4, side, side)
        lot = turn.rng.random(self.batch)
        if not self._all_tasks:
            return planes
        for i in np.flatnonzero(lot < WITH_DEPTH):
            planes[i, :1] = self.latents.depth_planes([which[i]])[0]
        masked = np.flatnonzero(lot >= 1 - WITH_MASK)
        if len(masked):
            planes[masked, 1:] = self._masked([which[i] for i in masked], turn.rng)
        return planes

    def _masked(self, which: list[int], rng: np.random.Generator) -> Tensor:
        """As the stock inpainting pipeline prepares them: gray inside the mask, then through the encoder."""
        renders = self.latents.renders
        masks = torch.stack([mask(ids, rng) for ids in renders.ids(which)])[:, None]
        images = torch.where(masks > 0.5, 0.5, renders.images(which))
        left = encoded(self.vae, images.to(self.device)).cpu() * self.latents.scale
        return torch.cat([interpolate(masks, scale_factor=1 / PIXELS, mode="nearest"), left], 1)

    def show(self, folder: Path) -> Mapping[str, float]:
        return self._look(self, folder)
