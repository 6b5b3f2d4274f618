"""SD 1.x and 2.x: a U-Net over latents, the text by cross-attention."""

import torch
from torch import Tensor

from sd_ui.engine.denoise import Predict, Prediction
from sd_ui.engine.guidance import guided
from sd_ui.engine.text import Conditioning


def predict(unet: torch.nn.Module, text: Conditioning, cfg_scale: float, channels: Tensor | None = None) -> Predict:
    """One call of the U-Net for both predictions, as diffusers does; one row where guidance is off.

    channels: (1, c, h, w), joined to the latents: a depth map, or a mask and the masked picture's latents.
    """
    rows, dtype = text.rows, next(unet.parameters()).dtype
    copies = len(rows)

    def predict_noise(latents: Tensor, timestep: Tensor) -> Prediction:
        x = torch.cat([latents] * copies)
        if channels is not None:
            x = torch.cat([x, torch.cat([channels] * copies)], dim=1)
        out = unet(x.to(dtype), timestep, encoder_hidden_states=rows.to(dtype), return_dict=False)[0].float()
        if copies == 1:
            return Prediction(out, out)
        uncond, cond = out.chunk(2)
        return guided(uncond, cond, cfg_scale)

    return predict_noise
