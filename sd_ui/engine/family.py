"""What differs from family to family once a model is in memory. A family is a value that is chosen once, when a model is loaded."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sd_ui.engine.denoise import Predict


@dataclass(frozen=True)
class TextPart:
    """One of the text encoders of a model, with what cuts texts into its tokens."""

    encoder: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer


@dataclass(frozen=True)
class Embedding:
    """A text as the model reads it. tokens: (1, 77 x chunks, width). pooled: (1, width), the text as a whole, where the family has such a thing."""

    tokens: Tensor
    pooled: Tensor | None = None

    @property
    def zeros(self) -> "Embedding":
        return Embedding(torch.zeros_like(self.tokens), None if self.pooled is None else torch.zeros_like(self.pooled))


@dataclass(frozen=True)
class Weighted:
    """One of the texts that AND joins."""

    embedding: Embedding
    weight: float = 1.0


@dataclass(frozen=True)
class Rows:
    """One call of the model. tokens: (rows, 77 x chunks, width). pooled: (rows, width). wanted: of each row, False for the negative prompt's."""

    tokens: Tensor
    pooled: Tensor | None
    wanted: tuple[bool, ...]


@dataclass(frozen=True)
class Conditioning:
    """The texts on the model's device. conds: at least one; several where AND joins them. uncond is None where guidance is off."""

    conds: tuple[Weighted, ...]
    uncond: Embedding | None

    @property
    def cond(self) -> Embedding:
        """The first text, which most prompts have alone."""
        return self.conds[0].embedding

    @property
    def calls(self) -> tuple[Rows, ...]:
        """Unconditional first, in one call as in diffusers' pipelines; in two where the negative prompt has another length, as in A1111."""
        conds = stretched([cond.embedding for cond in self.conds])
        if self.uncond is None:
            return (rows(conds, [True] * len(conds)),)
        if self.uncond.tokens.shape == conds[0].tokens.shape:
            return (rows([self.uncond, *conds], [False] + [True] * len(conds)),)
        return (rows([self.uncond], [False]), rows(conds, [True] * len(conds)))


def rows(said: list[Embedding], wanted: list[bool]) -> Rows:
    pooled = [each.pooled for each in said if each.pooled is not None]
    return Rows(torch.cat([each.tokens for each in said]), torch.cat(pooled) if pooled else None, tuple(wanted))


def stretched(said: list[Embedding]) -> list[Embedding]:
    """Texts that AND joins get the length of the longest: the last row of the shorter ones is repeated, as in A1111."""
    longest = max(each.tokens.shape[1] for each in said)
    return [replace(each, tokens=torch.cat([each.tokens, each.tokens[:, -1:].expand(-1, longest - each.tokens.shape[1], -1)], 1))
            if each.tokens.shape[1] < longest else each for each in said]  # fmt: skip


Read = Callable[[TextPart, Tensor, int], Embedding]  # (encoder, token ids (chunks, 77), clip skip) -> tokens (chunks, 77, width), pooled of the first
Predicting = Callable[[nn.Module, Conditioning, float, Tensor | None, tuple[int, int]], Predict]  # (U-Net, texts, CFG, channels, width and height)


@dataclass(frozen=True)
class Family:
    """read: what one text encoder says of token ids. predict: makes a Predict of a U-Net and everything that it is told.

    rgb: a row (red, green, blue) for each latent channel, and one more that is added, for previews without a decoder.
    zero_when_empty: an empty negative prompt is zeros instead of the embedding of no words. aligned: whose table of Align Your Steps is its own.
    vae_overflows: in float16, unless the VAE's config says that it does not.
    """

    name: str
    read: Read
    predict: Predicting
    rgb: tuple[tuple[float, float, float], ...]
    zero_when_empty: bool = False
    aligned: str = "sd"
    vae_overflows: bool = False
