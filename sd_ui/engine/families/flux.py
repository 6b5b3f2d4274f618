"""Flux.1: a transformer over patches of 2x2 latent cells and T5's tokens; CLIP says the text as a whole. Its dev models are told their guidance."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sd_ui.engine.denoise import Predict, Prediction
from sd_ui.engine.families import sd
from sd_ui.engine.family import Conditioning, Embedding, Family, Rows, TextPart
from sd_ui.engine.noise import LATENT_SCALE

TRAINED_STEPS = 1000  # timesteps are told from 0 to 1
LENGTHS = {True: 512, False: 256}  # to which T5's part is filled up, as the models were trained: with guidance (dev), without (schnell)


def read(part: TextPart, ids: Tensor, clip_skip: int) -> Embedding:
    """The text as a whole alone, after CLIP's last layer: there is nothing to skip. Of several chunks the first one speaks, as in Forge."""
    said = part.encoder(ids)
    return Embedding(said.last_hidden_state, said.pooler_output[:1])


def joined(said: Sequence[Embedding], width: int) -> Embedding:
    clip, t5 = said
    return Embedding(t5.tokens, clip.pooled)


def packed(latents: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h/2 x w/2, 4c): each patch of 2x2 cells is a token."""
    return pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2).contiguous()  # the layout decides the last bits


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """Back again; height, width: of the latents."""
    return pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (height // 2, width // 2)), 2)


def places(latents: Tensor) -> Tensor:
    """(h/2 x w/2, 3): where each patch is. The first column is for other pictures than the one that is drawn."""
    rows, columns = (torch.arange(side // 2, device=latents.device) for side in latents.shape[-2:])
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], dim=-1).reshape(-1, 3)


def rows(call: Rows, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Tokens (1, n, width) and pooled (1, width) of each text."""
    assert call.pooled is not None
    return [(tokens[None].to(dtype), pooled[None].to(dtype)) for tokens, pooled in zip(call.tokens, call.pooled, strict=True)]


def predict(
    transformer: nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None, size: tuple[int, int], distilled: float = 1.0
) -> Predict:
    """One call of the transformer for each text, as in diffusers' pipelines. channels: (1, c, h, w), packed behind the latents."""
    dtype = next(transformer.parameters()).dtype
    texts = [each for call in text.calls for each in rows(call, dtype)]
    is_told = bool(getattr(transformer.config, "guidance_embeds", False))

    def predict_flow(latents: Tensor, timestep: Tensor) -> Prediction:
        x = latents if channels is None else torch.cat([latents, channels], dim=1)
        told = {
            "hidden_states": packed(x).to(dtype),
            "timestep": timestep.expand(1) / TRAINED_STEPS,
            "guidance": torch.full([1], distilled, device=latents.device) if is_told else None,
            "img_ids": places(latents).to(dtype),
        }
        return sd.answer(text, [asked(told, tokens, pooled, latents.shape) for tokens, pooled in texts], cfg_scale)

    def asked(told: dict[str, Tensor | None], tokens: Tensor, pooled: Tensor, shape: torch.Size) -> Tensor:
        nowhere = tokens.new_zeros(tokens.shape[1], 3)  # texts have no place
        out = transformer(**told, encoder_hidden_states=tokens, pooled_projections=pooled, txt_ids=nowhere, return_dict=False)[0]
        return unpacked(out.float(), *shape[-2:])

    return predict_flow


def painted(white: Tensor, cells: Tensor, masked: Tensor) -> Tensor:
    """What Flux Fill is told: the masked picture's latents, and the mask pixel by pixel, 8x8 of them as the channels of a cell."""
    return torch.cat([masked, pixel_unshuffle(white, LATENT_SCALE).to(masked)], dim=1)


FLUX = Family("flux", read, predict, (), joined=joined, painted=painted, pictured_depth=True, whole_steps=True, skips=False)
