"""Recognises a model in one file by the names and shapes of its tensors."""

from dataclasses import replace
from pathlib import Path

from sd_ui.models import flow_files, header, inversions, lora_keys, loras, prediction, published
from sd_ui.models.finding import CHECKPOINT, VAE, Finding, faulty, with_channels
from sd_ui.models.header import Header, Unreadable
from sd_ui.models.published import FIRST_STAGE, SD1, SD2, SDXL, UNET, Published
from sd_ui.spec.cards import INVERSION, TEXT, Defaults

TEXT_FOLDERS = ("text_encoder", "text_encoders", "clip")  # what lies there is no checkpoint, whatever it is
LENT_TEXTS = {"sd1": (flow_files.CLIP_L,), "sdxl": (flow_files.CLIP_L, flow_files.CLIP_G)}
TEXTS = ("cond_stage_model.", "conditioner.")  # how the names of a checkpoint's own text encoders begin
VAES = {4: "", 16: "flux"}  # families by channels of latents; "" where a VAE serves several
TOLD_SCALE = "time_embed.cond_proj.weight"  # in latent consistency models whose U-Net is told the CFG scale
V_SIDE = 768  # pixels that Stable Diffusion 2 was made for where it predicts v
DEEP = UNET + "input_blocks.8.1.transformer_blocks.9.norm1.weight"  # in Stable Diffusion XL as published; its distilled forms have fewer layers
STRANGERS = (  # by a part of some tensor's name; the first that fits counts
    ("edm_mean", "sdxl", "is a Playground 2.5 model, which is not supported yet"),
    ("edm_vpred.", "sdxl", "is a model with a continuous noise schedule (CosXL), which is not supported yet"),
    ("cond_stage_model.roberta.", "", "is an AltDiffusion model, which is not supported yet"),
    ("embedder.model.", "sd2", "is a Stable unCLIP model, which is not supported yet"),
    ("control_model.", "", "is a ControlNet, which is not supported yet"),
    ("controlnet_cond_embedding.", "", "is a ControlNet, which is not supported yet"),
    ("text_model.encoder.layers.0.", "", "is a text encoder alone, not a whole checkpoint"),
    ("down_blocks.0.resnets.0.", "", "is a U-Net alone, not a whole checkpoint"),
)


def look(path: Path) -> Finding:
    try:
        found = header.read(path)
    except Unreadable as error:
        return faulty(f"the file is {error}{inversions.CONVERT}", kind=INVERSION) if inversions.belongs(path) else faulty(f"the file is {error}")
    except OSError as error:
        return faulty(f"the file cannot be opened: {error.strerror}")
    finding = replace(judged(found), stored=found.stored)
    if finding.fault and finding.kind == CHECKPOINT and path.parent.name.casefold() in TEXT_FOLDERS:
        return replace(finding, kind=TEXT)
    if finding.kind == VAE and finding.family == "flux" and "sd3" in path.stem.casefold():
        return replace(finding, family="sd3")  # its tensors are those of Flux.1's, in name and shape
    return finding if finding.fault or finding.kind != CHECKPOINT else _with_prediction(finding, prediction.told(path, found, finding.family))


def judged(found: Header) -> Finding:
    """By the header alone, so that a file can be judged before it is here."""
    if lora_keys.is_lora(found.tensors):
        return loras.recognised(found)
    if inversions.is_inversion(found):
        return inversions.recognised(found)
    return recognised(found)


def recognised(found: Header) -> Finding:
    if flow := flow_files.of(found):
        return flow_files.recognised(found, *flow)
    if alone := flow_files.text_alone(found):
        return flow_files.text_recognised(alone)
    if vae_prefix(found) is not None and not any(name.startswith(UNET) for name in found.tensors):
        return _vae(found)
    known = published.of(found)
    for part, family, why in STRANGERS:
        if any(part in name for name in found.tensors if not name.startswith(known.texts[0].prefix)):
            return faulty(why, family)
    if fault := _stranger(found, known):
        return faulty(fault, known.family)
    channels = found.shape(UNET + "input_blocks.0.0.weight")
    if len(channels) != 4:
        return faulty("is not a model that is known here")
    if fault := _missing(found, known):
        return faulty(fault, known.family)
    return _described(found, known, channels[1])


def _described(found: Header, known: Published, channels: int) -> Finding:
    positions = known.texts[0].positions(found)
    finding = Finding(family=known.family, defaults=Defaults(width=known.side, height=known.side), positions=positions[0] if positions else 77)
    finding = replace(finding, is_told_scale=UNET + TOLD_SCALE in found.tensors)
    texts = LENT_TEXTS[known.family] if unet_alone(found, known) else ()
    return with_channels(replace(finding, lacks=(*texts, *(() if _has_vae(found) else (VAE,)))), channels)


def _with_prediction(finding: Finding, said: str) -> Finding:
    side = V_SIDE if finding.family == "sd2" and said == prediction.V else finding.defaults.width
    return replace(finding, prediction=said, defaults=replace(finding.defaults, width=side, height=side))


def vae_prefix(found: Header) -> str | None:
    """What stands before the VAE's names; None where there is no VAE in the original layout."""
    return next((prefix for prefix in (FIRST_STAGE, "vae.", "") if prefix + "decoder.conv_in.weight" in found.tensors), None)


def _stranger(found: Header, known: Published) -> str:
    """What looks like a known family at first, and is not."""
    conditioned = any(name.startswith(UNET + "label_emb.") for name in found.tensors)  # on more than the text: of the families here, XL alone
    if conditioned and known is SD2:
        return "is a Stable unCLIP model, which is not supported yet"
    if conditioned and known is SD1:
        return "is a Stable Diffusion XL U-Net with another family's text encoder"
    if known is SDXL and conditioned and DEEP not in found.tensors:
        return "is a smaller relative of Stable Diffusion XL (such as SSD-1B), which is not supported yet"
    return ""


def _missing(found: Header, known: Published) -> str:
    if unet_alone(found, known):
        return ""
    absent = [name for name, text in zip(("the text encoder", "the second text encoder"), known.texts, strict=False) if len(text.tokens(found)) != 2]
    absent += ["the VAE"] if absent and not _has_vae(found) else []
    return f"is not a whole checkpoint: {' and '.join(absent)} is missing" if absent else ""


def unet_alone(found: Header, known: Published) -> bool:
    """Whether it is of a family whose text encoders go round as files of their own, and brings none of them itself."""
    return known.family in LENT_TEXTS and not any(name.startswith(TEXTS) for name in found.tensors)


def _has_vae(found: Header) -> bool:
    """A VAE that is damaged is one that it has: that is for whoever loads it to say."""
    return any(name.startswith(FIRST_STAGE) for name in found.tensors)


def _vae(found: Header) -> Finding:
    prefix = vae_prefix(found) or ""
    latent = found.shape(prefix + "decoder.conv_in.weight")
    if prefix + "encoder.conv_in.weight" not in found.tensors:
        return faulty("is a VAE without its encoder, which is not supported", kind=VAE)
    if len(latent) != 4 or latent[1] not in VAES:
        count = latent[1] if len(latent) > 1 else "?"
        return faulty(f"is a VAE for latents of {count} channels; Stable Diffusion 1.x, 2.x and XL have 4, 3.x and Flux.1 16", kind=VAE)
    return Finding(VAE, VAES[latent[1]])
