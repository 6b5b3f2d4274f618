"""Recognises SD 3, SD 3.5 and Flux.1 in one file: a whole checkpoint, or a transformer alone, and text encoders alone that go with it."""

import re
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

from sd_ui.models import header, quantised, tokens
from sd_ui.models.finding import VAE, Finding, faulty, with_channels
from sd_ui.models.flow_folders import POSITIONS, defaults
from sd_ui.models.header import Header
from sd_ui.models.published import CONFIGS, FIRST_STAGE, UNET
from sd_ui.spec.cards import TEXT

CLIP_L, CLIP_G, T5 = "clip_l", "clip_g", "t5"
INSIDE = {CLIP_L: "text_encoders.clip_l.transformer.", CLIP_G: "text_encoders.clip_g.transformer.", T5: "text_encoders.t5xxl.transformer."}
VAES = (FIRST_STAGE, "vae.")  # before its names
CLIP_WORDS = "text_model.embeddings.token_embedding.weight"
T5_WORDS, T5_LAYER = ("shared.weight", "encoder.embed_tokens.weight"), "encoder.block.0.layer.0.SelfAttention.q.weight"
CLIP_LAYERS = {12: CLIP_L, 32: CLIP_G}


@dataclass(frozen=True)
class PublishedFlow:
    """mark: in the name of a tensor that no other family has. texts: the encoders, in the order in which they are read. optional: may be missing."""

    family: str
    title: str
    mark: str
    texts: tuple[str, ...]
    vae: Path
    optional: tuple[str, ...] = ()
    side: int = 1024


SD3 = PublishedFlow("sd3", "Stable Diffusion 3 and 3.5", "joint_blocks.0.", (CLIP_L, CLIP_G, T5), CONFIGS / "sd3" / "vae", (T5,))
FLUX = PublishedFlow("flux", "Flux.1", "double_blocks.0.", (CLIP_L, T5), CONFIGS / "flux" / "vae")
PUBLISHED = (SD3, FLUX)


def of(found: Header) -> tuple[PublishedFlow, str] | None:
    """The family, and what stands before the names of its transformer; None for files of another kind."""
    marks = {UNET + one.mark: (one, UNET) for one in PUBLISHED} | {one.mark: (one, "") for one in PUBLISHED}
    return next((marks[mark] for mark in marks if any(name.startswith(mark) for name in found.tensors)), None)


def recognised(found: Header, known: PublishedFlow, prefix: str) -> Finding:
    if any(header.FOUR_BITS in name for name in found.tensors):
        return faulty(quantised.IN_ONE_FILE, known.family)
    try:
        facts = config(found, known, prefix)
    except (IndexError, ValueError, ZeroDivisionError):
        return faulty("is damaged, or of a kind that is not known: its transformer's tensors do not go together", known.family)
    guided, channels = facts.get("guidance_embeds") is True, facts["in_channels"]
    made = defaults(known.family, channels, guided)
    flux = known is FLUX
    finding = Finding(
        family=known.family,
        defaults=made,
        positions=tokens.t5_positions(guided) if flux else POSITIONS,
        tokenizer=tokens.T5 if flux else None,
        lacks=lacking(found, known),
    )
    return with_channels(finding, channels)


def lacking(found: Header, known: PublishedFlow) -> tuple[str, ...]:
    """The parts that other files must give."""
    texts = [part for part in known.texts if not any(name.startswith(INSIDE[part]) for name in found.tensors)]
    return (*texts, *([] if vae_prefix(found) else [VAE]))


def vae_prefix(found: Header) -> str:
    return next((prefix for prefix in VAES if prefix + "decoder.conv_in.weight" in found.tensors), "")


def config(found: Header, known: PublishedFlow, prefix: str) -> dict[str, Any]:
    """Of the transformer, as diffusers' class takes it: all of it can be read from the shapes. Raises ValueError or IndexError."""
    return _sd3(found, prefix) if known is SD3 else _flux(found, prefix)


def text_alone(found: Header) -> str:
    """Which text encoder a file is that holds nothing else; "" for other files."""
    if any(name.startswith(T5_LAYER) for name in found.tensors) and any(name in found.tensors for name in T5_WORDS):
        return T5
    if CLIP_WORDS not in found.tensors:
        return ""
    try:
        return CLIP_LAYERS.get(1 + _last(found, "text_model.encoder.layers."), "")
    except ValueError:  # a table of words without a layer
        return ""


def text_recognised(part: str) -> Finding:
    return Finding(TEXT, part)


def _sd3(found: Header, prefix: str) -> dict[str, Any]:
    width, channels = found.shape(prefix + "x_embedder.proj.weight")[:2]
    blocks = prefix + "joint_blocks."
    second = sorted({int(name.removeprefix(blocks).partition(".")[0]) for name in found.tensors if name.startswith(blocks) and ".attn2." in name})
    normed = any(".ln_q." in name for name in found.tensors)
    return {
        "sample_size": 128,
        "patch_size": found.shape(prefix + "x_embedder.proj.weight")[2],
        "in_channels": channels,
        "out_channels": 16,
        "num_layers": 1 + _last(found, blocks),
        "attention_head_dim": 64,
        "num_attention_heads": max(1, width // 64),
        "joint_attention_dim": found.shape(prefix + "context_embedder.weight")[1],
        "caption_projection_dim": width,
        "pooled_projection_dim": found.shape(prefix + "y_embedder.mlp.0.weight")[1],
        "pos_embed_max_size": isqrt(found.shape(prefix + "pos_embed")[1]),
        "qk_norm": "rms_norm" if normed else None,
        "dual_attention_layers": tuple(second),
    }


def _flux(found: Header, prefix: str) -> dict[str, Any]:
    width, channels = found.shape(prefix + "img_in.weight")
    (head,) = found.shape(prefix + "double_blocks.0.img_attn.norm.query_norm.scale")
    return {
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": found.shape(prefix + "final_layer.linear.weight")[0],
        "num_layers": 1 + _last(found, prefix + "double_blocks."),
        "num_single_layers": 1 + _last(found, prefix + "single_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": max(1, width // head),
        "joint_attention_dim": found.shape(prefix + "txt_in.weight")[1],
        "pooled_projection_dim": found.shape(prefix + "vector_in.in_layer.weight")[1],
        "guidance_embeds": prefix + "guidance_in.in_layer.weight" in found.tensors,
        "axes_dims_rope": (head // 8, *[(head - head // 8) // 2] * 2),
    }


def _last(found: Header, start: str) -> int:
    """The highest number that follows in a name. Raises ValueError where there is none."""
    numbers = (re.match(r"(\d{1,3})\.", name.removeprefix(start)) for name in found.tensors if name.startswith(start))
    return max(int(number[1]) for number in numbers if number)
