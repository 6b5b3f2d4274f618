"""SDXL and its refiner: two text encoders (one), read before their last layer; the U-Net is also told the text as a whole and sizes in pixels."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sd_ui.engine.denoise import Predict
from sd_ui.engine.families import sd
from sd_ui.engine.family import Conditioning, Embedding, Family, Rows, TextPart

# By Timothy Alexis Vass, "Explaining the SDXL latent space" (2024), who gives them for 0..255.
RGB = tuple(
    (red / 127.5, green / 127.5, blue / 127.5)
    for red, green, blue in ((60, 60, 60), (-60, -5, 10), (25, 15, -5), (-70, -50, -35), (150 - 127.5, 140 - 127.5, 130 - 127.5))
)
TRAINED = 2  # the layer before the last; clip skip 1 and 2 both mean it, as in Forge and ComfyUI
AESTHETIC = (2.5, 6.0)  # the refiner's score for the negative prompt and the prompt
Ids = Callable[[tuple[int, int], Rows], list[list[float]]]


def read(part: TextPart, ids: Tensor, clip_skip: int) -> Embedding:
    """The hidden state as it is, without the final norm. Of a text of several chunks the first one speaks for the whole, as in A1111."""
    said = part.encoder(ids, output_hidden_states=True)
    hidden = said.hidden_states[-min(max(clip_skip, TRAINED), part.encoder.config.num_hidden_layers)]
    return Embedding(hidden, said.text_embeds[:1] if "text_embeds" in said else None)


def base_ids(size: tuple[int, int], call: Rows) -> list[list[float]]:
    """Height and width of the original, where it was cut off, height and width that are wanted: a picture that was never scaled or cropped."""
    width, height = size
    return [[height, width, 0, 0, height, width]] * len(call.wanted)


def refiner_ids(size: tuple[int, int], call: Rows) -> list[list[float]]:
    """Height and width of the original, where it was cut off, how beautiful it is."""
    width, height = size
    return [[height, width, 0, 0, AESTHETIC[wanted]] for wanted in call.wanted]


def predicting(ids: Ids) -> Callable[..., Predict]:
    def predict(
        unet: torch.nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None, size: tuple[int, int], distilled: float = 1.0
    ) -> Predict:
        def beside(call: Rows) -> dict[str, Tensor]:
            assert call.pooled is not None
            pooled = call.pooled.to(next(unet.parameters()).dtype)
            return {"text_embeds": pooled, "time_ids": torch.tensor(ids(size, call), dtype=torch.float32, device=pooled.device)}

        return sd.predicted_by(unet, text, cfg_scale, channels, beside)

    return predict


SDXL = Family("sdxl", read, predicting(base_ids), RGB, zero_when_empty=True, aligned="sdxl", vae_overflows=True)
REFINER = replace(SDXL, name="sdxl-refiner", predict=predicting(refiner_ids))
