"""SD 3, 3.5 and Flux.1 from a diffusers folder: a transformer, CLIP's text encoders and T5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from transformers import T5Config, T5EncoderModel

from sd_ui.engine import parts, trained_flow
from sd_ui.engine.device import Place
from sd_ui.engine.families import flux, sd3
from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.family import Denoiser, Family, TextPart
from sd_ui.engine.loaded import Parts, Vae
from sd_ui.engine.parts import Weights
from sd_ui.models import flow_folders, folders, tokens
from sd_ui.models.finding import MODES, PAINTER, WITH_DEPTH
from sd_ui.models.flow_folders import FlowFamily, Text

TRANSFORMERS: dict[str, Any] = {"SD3Transformer2DModel": SD3Transformer2DModel, "FluxTransformer2DModel": FluxTransformer2DModel}
T5_FACTS = (
    "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "relative_attention_num_buckets", "relative_attention_max_distance",
    "layer_norm_epsilon", "feed_forward_proj", "eos_token_id", "pad_token_id",
)  # fmt: skip
PRECISE = ".wo."  # T5's layers that overflow in float16
WORDS = ("shared.weight", "encoder.embed_tokens.weight")  # T5's table of words, by its two names


def model(path: Path, known: FlowFamily, vae: Vae, place: Place) -> Parts:
    """Raises BadRequest that names the part, Unreadable, OSError."""
    family = FAMILIES[known.name]
    config = folders.config(path / flow_folders.TRANSFORMER / folders.CONFIG)
    built = transformer(known, config, parts.read(*folders.weights(path / flow_folders.TRANSFORMER)), place)
    scheduler = folders.config(path / "scheduler" / "scheduler_config.json")
    texts = tuple(_text(path, text, built, place) for text in flow_folders.texts(path, known))
    return put_together(family, built, vae, texts, scheduler)


def put_together(family: Family, built: Denoiser, vae: Vae, texts: tuple[TextPart, ...], scheduler: Mapping[str, Any]) -> Parts:
    """A transformer that takes more than latents does one thing only: painting, or following a depth map."""
    modes = MODES[family.name].get(built.config.in_channels)
    return Parts(
        family=family,
        denoiser=built,
        vae=vae,
        texts=texts,
        scheduler_config=trained_flow.facts(scheduler, family.whole_steps),
        depth_unet=built if modes == WITH_DEPTH else None,
        inpaint_unet=built if modes == PAINTER else None,
    )


def transformer(known: FlowFamily, config: Mapping[str, Any], weights: Weights, place: Place) -> Denoiser:
    kind = TRANSFORMERS[known.kind]
    facts = parts.facts(kind, config)
    built: Denoiser = parts.built("the transformer", lambda: kind(**facts), weights, place, stays_packed=True)
    return built


def t5(config: Mapping[str, Any], weights: Weights, place: Place) -> T5EncoderModel:
    """The encoder alone, whatever of T5 is in the file. In float16 its layers that overflow stay in float32."""
    own = {name: tensor for name, tensor in weights.items() if name.startswith(("encoder.", "shared."))}
    words = next((own[name] for name in WORDS if name in own), None)
    named = own if words is None else own | dict.fromkeys(WORDS, words)
    told = {name: config[name] for name in T5_FACTS if name in config}
    built = parts.built("the text encoder T5", lambda: T5EncoderModel(T5Config(**told)), named, place, precise=PRECISE, stays_packed=True)
    built.set_input_embeddings(built.shared)  # one table, not two
    return built


def length(built: Denoiser) -> int:
    """Tokens that T5's part is filled up to."""
    return flux.LENGTHS[bool(built.config.guidance_embeds)] if isinstance(built, FluxTransformer2DModel) else sd3.T5_TOKENS


def _text(path: Path, text: Text, built: Denoiser, place: Place) -> TextPart:
    config, weights = folders.config(path / text.folder / folders.CONFIG), parts.read(*folders.weights(path / text.folder))
    if text.kind == flow_folders.T5:
        return t5_part(t5(config, weights, place), path / text.tokenizer, built)
    encoder = parts.text_encoder(config, weights, place, projected=text.kind == flow_folders.PROJECTED)
    return TextPart(encoder, parts.tokenizer(path / text.tokenizer, encoder, tokens.pad(path / text.tokenizer)))


def t5_part(encoder: T5EncoderModel, tokenizer: Path, built: Denoiser) -> TextPart:
    cuts = tokens.t5(tokenizer)
    if cuts.get_vocab_size() > encoder.config.vocab_size:
        raise parts.unfit("the text encoder T5", f"it knows {encoder.config.vocab_size} tokens, the tokenizer has {cuts.get_vocab_size()}")
    return TextPart(encoder, cuts, length(built))
