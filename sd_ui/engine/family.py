"""What differs from family to family once a model is in memory. A family is a value that is chosen once, when a model is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from sd_ui.engine.denoise import Predict

Denoiser: TypeAlias = UNet2DConditionModel | SD3Transformer2DModel | FluxTransformer2DModel
Encoder: TypeAlias = CLIPTextModel | CLIPTextModelWithProjection | T5EncoderModel


@dataclass(frozen=True)
class TextPart:
    """One of the text encoders of a model, with what cuts texts into its tokens.

    tokenizer: a CLIPTokenizer, or for T5 a `tokenizers.Tokenizer`. length: 0 where texts go in chunks of what the tokenizer takes at once, as
    CLIP reads them; otherwise the tokens that a text is filled up to, and a longer one is read as a whole.
    """

    encoder: Encoder
    tokenizer: Any
    length: int = 0


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
    """One call of the model. tokens: (rows, 77 x chunks, width). pooled: (rows, width). wanted: of each row, False for the negative prompt's.

    perturbed: how many rows, at the end, are asked with perturbed attention.
    """

    tokens: Tensor
    pooled: Tensor | None
    wanted: tuple[bool, ...]
    perturbed: int = 0


@dataclass(frozen=True)
class Perturbation:
    """Perturbed-attention guidance. adaptive: how much the scale falls with each timestep. layers: a key of `perturbed.PARTS`."""

    scale: float
    adaptive: float = 0.0
    layers: str = "mid"


@dataclass(frozen=True)
class Conditioning:
    """The texts on the model's device. conds: at least one; several where AND joins them. uncond is None where guidance is off.

    perturbation: None where the prompt's texts are asked for once only.
    """

    conds: tuple[Weighted, ...]
    uncond: Embedding | None
    perturbation: Perturbation | None = None

    @property
    def cond(self) -> Embedding:
        """The first text, which most prompts have alone."""
        return self.conds[0].embedding

    @property
    def calls(self) -> tuple[Rows, ...]:
        """Unconditional first, in one call as in diffusers' pipelines; in two where the negative prompt has another length, as in A1111."""
        conds = stretched([cond.embedding for cond in self.conds])
        perturbed = len(conds) if self.perturbation else 0
        conds += conds[:perturbed]
        if self.uncond is None:
            return (rows(conds, [True] * len(conds), perturbed),)
        if self.uncond.tokens.shape == conds[0].tokens.shape:
            return (rows([self.uncond, *conds], [False] + [True] * len(conds), perturbed),)
        return (rows([self.uncond], [False]), rows(conds, [True] * len(conds), perturbed))


def rows(said: list[Embedding], wanted: list[bool], perturbed: int = 0) -> Rows:
    pooled = [each.pooled for each in said if each.pooled is not None]
    return Rows(torch.cat([each.tokens for each in said]), torch.cat(pooled) if pooled else None, tuple(wanted), perturbed)


def stretched(said: list[Embedding]) -> list[Embedding]:
    """Texts that AND joins get the length of the longest: the last row of the shorter ones is repeated, as in A1111."""
    longest = max(each.tokens.shape[1] for each in said)
    return [replace(each, tokens=torch.cat([each.tokens, each.tokens[:, -1:].expand(-1, longest - each.tokens.shape[1], -1)], 1))
            if each.tokens.shape[1] < longest else each for each in said]  # fmt: skip


def side_by_side(said: Sequence[Embedding], width: int) -> Embedding:
    """What several encoders say of each token, one after the other; the last one speaks for the whole."""
    return Embedding(torch.cat([each.tokens for each in said], dim=-1), said[-1].pooled)


def mask_and_picture(white: Tensor, cells: Tensor, masked: Tensor) -> Tensor:
    return torch.cat([cells, masked], dim=1)


Read = Callable[[TextPart, Tensor, int], Embedding]  # (encoder, token ids (chunks, 77), clip skip) -> tokens (chunks, 77, width), pooled of the first
Joined = Callable[[Sequence[Embedding], int], Embedding]  # (what each encoder says, width of the tokens that the denoiser reads) -> one
Painted = Callable[[Tensor, Tensor, Tensor], Tensor]  # (mask (1, 1, H, W), of latent cells (1, 1, h, w), the rest's latents) -> (1, c, h, w)


class Predicting(Protocol):
    """size: width and height in pixels. distilled: the guidance that a model was taught to imitate, where it is told one."""

    def __call__(
        self, denoiser: nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None, size: tuple[int, int], distilled: float = 1.0, /
    ) -> Predict: ...


@dataclass(frozen=True)
class Family:
    """read: what one text encoder says of token ids. predict: makes a Predict of a denoiser and everything that it is told.

    rgb: a row (red, green, blue) for each latent channel, and one more that is added, for previews without a decoder; () where none are known.
    joined: of several text encoders. painted: what an inpainting model is told besides latents. pictured_depth: a depth map is told as the latents
    of its picture. whole_steps: the usual schedule cuts the whole way into equal parts; otherwise its last step begins at the lowest level.
    skips: it reads a layer of CLIP that clip skip can choose.
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
    joined: Joined = side_by_side
    painted: Painted = mask_and_picture
    pictured_depth: bool = False
    whole_steps: bool = False
    skips: bool = True
