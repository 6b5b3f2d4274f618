"""Recognises a model in one file by the names and shapes of its tensors."""

from pathlib import Path

from sd_ui.models import header, lora_keys, loras
from sd_ui.models.finding import VAE, Finding, faulty, with_channels
from sd_ui.models.header import Header, Unreadable

UNET, FIRST_STAGE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
TOKENS, POSITIONS = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"
STRANGERS = (  # by a part of some tensor's name; the first that fits counts
    ("conditioner.embedders.1.", "sdxl", "is a Stable Diffusion XL checkpoint, which is not supported yet"),
    (UNET + "label_emb.", "sdxl", "is a Stable Diffusion XL model, which is not supported yet"),
    (
        "cond_stage_model.model.transformer.",
        "sd2",
        "is a Stable Diffusion 2 checkpoint in one file, not supported yet; as a diffusers folder it is",
    ),
    ("joint_blocks.", "sd3", "is a Stable Diffusion 3 model, which is not supported yet"),
    ("double_blocks.", "flux", "is a Flux model, which is not supported yet"),
    ("emb_params", "", "is a textual inversion embedding, which is not supported yet"),
    ("control_model.", "", "is a ControlNet, which is not supported yet"),
    ("controlnet_cond_embedding.", "", "is a ControlNet, which is not supported yet"),
    ("text_model.encoder.layers.0.", "", "is a text encoder alone, not a whole checkpoint"),
    ("down_blocks.0.resnets.0.", "", "is a U-Net alone, not a whole checkpoint"),
)


def look(path: Path) -> Finding:
    try:
        found = header.read(path)
    except Unreadable as error:
        return faulty(f"the file is {error}")
    except OSError as error:
        return faulty(f"the file cannot be opened: {error.strerror}")
    return loras.recognised(found) if lora_keys.is_lora(found.tensors) else recognised(found)


def recognised(found: Header) -> Finding:
    if vae_prefix(found) is not None and not any(name.startswith(UNET) for name in found.tensors):
        return _vae(found)
    for part, family, why in STRANGERS:
        if any(part in name for name in found.tensors if not name.startswith(TEXT)):
            return faulty(why, family)
    channels = found.shape(UNET + "input_blocks.0.0.weight")
    if len(channels) != 4:
        return faulty("is not a model that is known here")
    if missing := _missing(found):
        return faulty(f"is not a whole checkpoint: {missing} is missing", "sd1")
    positions = found.shape(text_prefix(found) + POSITIONS)
    return with_channels(Finding(family="sd1", positions=positions[0] if positions else 77), channels[1])


def text_prefix(found: Header) -> str:
    """Some of the oldest files have the text encoder without "text_model." in its names."""
    return TEXT + ("text_model." if TEXT + "text_model." + TOKENS in found.tensors else "")


def vae_prefix(found: Header) -> str | None:
    """What stands before the VAE's names; None where there is no VAE in the original layout."""
    return next((prefix for prefix in (FIRST_STAGE, "") if prefix + "decoder.conv_in.weight" in found.tensors), None)


def _missing(found: Header) -> str:
    parts = {"the text encoder": text_prefix(found) + TOKENS, "the VAE": FIRST_STAGE + "decoder.conv_in.weight"}
    return " and ".join(part for part, name in parts.items() if len(found.shape(name)) != (2 if part == "the text encoder" else 4))


def _vae(found: Header) -> Finding:
    prefix = vae_prefix(found) or ""
    latent = found.shape(prefix + "decoder.conv_in.weight")
    if prefix + "encoder.conv_in.weight" not in found.tensors:
        return faulty("is a VAE without its encoder, which is not supported", kind=VAE)
    if len(latent) != 4 or latent[1] != 4:
        return faulty(f"is a VAE for latents of {latent[1] if len(latent) > 1 else '?'} channels; Stable Diffusion 1.x has 4", kind=VAE)
    return Finding(VAE, "sd1")
