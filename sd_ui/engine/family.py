"""What differs from family to family once a model is in memory. A family is a value that is chosen once, when a model is loaded."""

from collections.abc import Callable
from dataclasses import dataclass

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
class Conditioning:
    """Both texts on the model's device; uncond is None where guidance is off."""

    cond: Embedding
    uncond: Embedding | None

    @property
    def rows(self) -> Tensor:
        """As the model is called: unconditional first, as in diffusers' pipelines."""
        return self.cond.tokens if self.uncond is None else torch.cat([self.uncond.tokens, self.cond.tokens])

    @property
    def pooled(self) -> Tensor:
        """The same of the texts as a whole, for families that have them."""
        found = [said.pooled for said in (self.uncond, self.cond) if said is not None and said.pooled is not None]
        return torch.cat(found)


Read = Callable[[TextPart, Tensor, int], Embedding]  # (encoder, token ids (chunks, 77), clip skip) -> tokens (chunks, 77, width), pooled of the first
Predicting = Callable[[nn.Module, Conditioning, float, Tensor | None, tuple[int, int]], Predict]  # (U-Net, texts, CFG, channels, width and height)


@dataclass(frozen=True)
class Family:
    """read: what one text encoder says of token ids. predict: makes a Predict of a U-Net and everything that it is told.

    rgb: a row (red, green, blue) for each latent channel, and one more that is added, for previews without a decoder.
    zero_when_empty: an empty negative prompt is zeros instead of the embedding of no words.
    """

    name: str
    read: Read
    predict: Predicting
    rgb: tuple[tuple[float, float, float], ...]
    zero_when_empty: bool = False
