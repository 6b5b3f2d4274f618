"""SD 3 and 3.5: a transformer that reads patches of latents and tokens of text as one sequence (Esser et al. 2024, "MMDiT")."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from sd_ui.engine.denoise import Predict, Prediction
from sd_ui.engine.families import sd, sdxl
from sd_ui.engine.family import Conditioning, Embedding, Family, Rows

T5_TOKENS = 256  # to which T5's part is filled up


def joined(said: Sequence[Embedding], width: int) -> Embedding:
    """CLIP's tokens side by side, filled up with zeros to T5's width, then T5's, which are zeros where the model has no T5.

    pooled: what both CLIPs say of the whole, side by side.
    """
    clips = [each for each in said if each.pooled is not None]
    long = [each.tokens for each in said if each.pooled is None]
    tokens = torch.cat([each.tokens for each in clips], dim=-1)
    tokens = nn.functional.pad(tokens, (0, width - tokens.shape[-1]))
    return Embedding(
        torch.cat([tokens, *(long or [tokens.new_zeros(1, T5_TOKENS, width)])], dim=-2),
        torch.cat([each.pooled for each in clips if each.pooled is not None], dim=-1),
    )


def predict(
    transformer: nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None, size: tuple[int, int], distilled: float = 1.0
) -> Predict:
    """One call of the transformer for all predictions. channels: (1, c, h, w), joined to the latents: a mask and the masked picture's latents."""
    dtype = next(transformer.parameters()).dtype

    def asked(latents: Tensor, timestep: Tensor, call: Rows) -> Iterable[Tensor]:
        copies = len(call.tokens)
        x = torch.cat([latents] * copies)
        if channels is not None:
            x = torch.cat([x, torch.cat([channels] * copies)], dim=1)
        assert call.pooled is not None
        tokens, pooled = call.tokens.to(dtype), call.pooled.to(dtype)
        told = {"encoder_hidden_states": tokens, "pooled_projections": pooled, "timestep": timestep.expand(copies)}
        out: Tensor = transformer(hidden_states=x.to(dtype), **told, return_dict=False)[0]
        return out.float().chunk(copies)

    def predict_flow(latents: Tensor, timestep: Tensor) -> Prediction:
        return sd.answer(text, [out for call in text.calls for out in asked(latents, timestep, call)], cfg_scale)

    return predict_flow


SD3 = Family("sd3", sdxl.read, predict, (), joined=joined)
