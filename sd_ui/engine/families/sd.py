"""SD 1.x and 2.x: a U-Net over latents, the text by cross-attention."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sd_ui.engine import perturbed
from sd_ui.engine.denoise import Predict, Prediction
from sd_ui.engine.family import Conditioning, Embedding, Family, Rows, TextPart
from sd_ui.engine.guidance import composed, guided

# Found by keturn by least squares over decoded pictures (2022, published as figures).
RGB = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473), (0.0, 0.0, 0.0))

Beside = Callable[[Rows], Mapping[str, Tensor] | None]


def read(part: TextPart, ids: Tensor, clip_skip: int) -> Embedding:
    """clip_skip n takes the hidden state of the n-th last layer, then the final norm.

    Stable Diffusion 2 reads the layer before the last: its encoder is loaded without the last, so that n counts from there.
    Written out here because diffusers' own clip_skip fails with the present CLIPTextModel of transformers.
    """
    layers = part.encoder.config.num_hidden_layers
    hidden = part.encoder(ids, output_hidden_states=True).hidden_states[-min(clip_skip, layers)]
    norm: Any = part.encoder.final_layer_norm
    return Embedding(norm(hidden))


def predict(
    unet: torch.nn.Module,
    text: Conditioning,
    cfg_scale: float,
    channels: Tensor | None = None,
    size: tuple[int, int] = (0, 0),
    distilled: float = 1.0,
) -> Predict:
    """channels: (1, c, h, w), joined to the latents: a depth map, or a mask and the masked picture's latents. The rest does not matter here."""
    return predicted_by(unet, text, cfg_scale, channels)


def nothing(call: Rows) -> None:
    """What Stable Diffusion 1 and 2 are told besides."""


def predicted_by(unet: torch.nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None, beside: Beside = nothing) -> Predict:
    """One call of the U-Net for all predictions, as diffusers does; one row where guidance is off.

    beside: what the U-Net is told besides latents, time and text, a row for each of its rows.
    """
    told = told_scale(unet, cfg_scale)
    if told is not None:  # which is then no matter of how predictions are joined
        text, cfg_scale = replace(text, uncond=text.uncond if len(text.conds) > 1 else None), 1.0
    plain = asking(unet, replace(text, perturbation=None), channels, beside, told)
    if (perturbation := text.perturbation) is None:
        return lambda latents, timestep: answer(text, plain(latents, timestep), cfg_scale)
    both, weights = asking(unet, text, channels, beside, told), [cond.weight for cond in text.conds]

    def predict_perturbed(latents: Tensor, timestep: Tensor) -> Prediction:
        scale = perturbed.strength(perturbation, timestep)
        if not scale:
            return answer(text, plain(latents, timestep), cfg_scale)
        usual, conds, away = perturbed.split(text, both(latents, timestep))
        return perturbed.pushed(answer(text, usual, cfg_scale), conds, away, weights, scale)

    return predict_perturbed


def told_scale(unet: torch.nn.Module, cfg_scale: float) -> Tensor | None:
    """(1, d): the CFG scale as latent consistency models are told it (Luo et al. 2023), by sines and cosines of 1000 times scale - 1.

    None for others. The negative prompt is in what they learnt, and is not asked for.
    """
    width: int | None = unet.config.time_cond_proj_dim  # type: ignore[union-attr, assignment]
    if width is None:
        return None
    first = next(unet.parameters())
    frequencies = torch.exp(torch.arange(width // 2, dtype=first.dtype) * -(torch.log(torch.tensor(10000.0)) / (width // 2 - 1)))
    angles = (torch.tensor([cfg_scale - 1]) * 1000.0).to(first.dtype)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos(), *[torch.zeros(1, 1, dtype=first.dtype)] * (width % 2)], dim=1).to(first.device)


def asking(
    unet: torch.nn.Module, text: Conditioning, channels: Tensor | None, beside: Beside, told: Tensor | None
) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """Latents and a time -> what the U-Net says, a row for each text in the order of its calls. told: what it is told of the CFG scale."""
    dtype = next(unet.parameters()).dtype
    layers = text.perturbation.layers if text.perturbation else ""
    calls = [(call, beside(call), perturbed.view(unet, layers, call.perturbed) if call.perturbed else unet) for call in text.calls]

    def asked(latents: Tensor, timestep: Tensor, call: Rows, more: Mapping[str, Tensor] | None, unet: torch.nn.Module) -> Iterable[Tensor]:
        copies = len(call.tokens)
        x = torch.cat([latents] * copies)
        if channels is not None:
            x = torch.cat([x, torch.cat([channels] * copies)], dim=1)
        said = {"encoder_hidden_states": call.tokens.to(dtype), "timestep_cond": told, "added_cond_kwargs": more}
        out: Tensor = unet(x.to(dtype), timestep, **said, return_dict=False)[0]
        return out.float().chunk(copies)

    return lambda latents, timestep: [out for one in calls for out in asked(latents, timestep, *one)]


def answer(text: Conditioning, said: Sequence[Tensor], cfg_scale: float) -> Prediction:
    """said: a row for each text, in the order of its calls."""
    if text.uncond is None:
        return Prediction(said[0], said[0])
    uncond, *conds = said
    return guided(uncond, composed(uncond, conds, [cond.weight for cond in text.conds]), cfg_scale)


SD1 = Family("sd1", read, predict, RGB)
SD2 = Family("sd2", read, predict, RGB)
