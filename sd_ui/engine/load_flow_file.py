"""SD 3, 3.5 and Flux.1 from one file, as they were published: whole, or a transformer whose text encoders and VAE lie in other files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusers import SD3Transformer2DModel

from sd_ui.engine import load_flow, original_flow, parts
from sd_ui.engine.device import Place
from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.family import Denoiser, Family, TextPart
from sd_ui.engine.loaded import Parts, Vae
from sd_ui.engine.parts import Weights
from sd_ui.models import flow_files, flow_folders, folders, tokens
from sd_ui.models.flow_files import CLIP_G, CLIP_L, INSIDE, T5, PublishedFlow
from sd_ui.models.header import Header, Unreadable
from sd_ui.models.published import BIG_G
from sd_ui.models.published import CLIP_L as CLIP_CONFIG

CLIPS = {CLIP_L: CLIP_CONFIG, CLIP_G: BIG_G}
HEAD = 64  # channels of an attention head in CLIP
SCHEDULERS: Mapping[tuple[str, bool], Mapping[str, Any]] = {  # by family, and whether it is told its guidance
    ("sd3", False): {"shift": 3.0},
    ("flux", False): {"shift": 1.0},
    ("flux", True): {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15},
}
T5_CONFIG: Mapping[str, Any] = {  # of T5 v1.1 XXL; its widths are in the file
    "d_kv": 64, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu", "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def model(
    found: Header, weights: Weights, place: Place, vae: Callable[[str], Vae], lent: Callable[[Family], Vae] | None, texts: Mapping[str, Path]
) -> Parts:
    """vae: makes the file's own of what stands before its names; lent: another one, where it has none. texts: the files of text encoders that it
    does not have. Raises BadRequest that names the part, Unreadable, OSError.
    """
    known = flow_files.of(found)
    assert known is not None
    one, prefix = known
    family = FAMILIES[one.family]
    built = _transformer(found, one, prefix, weights, place)
    read = tuple(_text(part, built, weights, texts, place) for part in one.texts if part in texts or part not in flow_files.lacking(found, one))
    scheduler = SCHEDULERS[one.family, bool(built.config.get("guidance_embeds"))]
    return load_flow.put_together(family, built, lent(family) if lent else vae(flow_files.vae_prefix(found)), read, scheduler)


def _transformer(found: Header, known: PublishedFlow, prefix: str, weights: Weights, place: Place) -> Denoiser:
    config = flow_files.config(found, known, prefix)
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix) and (prefix or not _of_another(name))}
    width = config["attention_head_dim"] * config["num_attention_heads"]
    family = next(one for one in flow_folders.FAMILIES if one.name == known.family)
    return load_flow.transformer(family, config, original_flow.converted(known.family, own, width), place)


def _of_another(name: str) -> bool:
    """Whether a tensor of a file whose transformer has no prefix belongs to another part."""
    return name.startswith((*INSIDE.values(), *flow_files.VAES))


def _text(part: str, built: Denoiser, weights: Weights, texts: Mapping[str, Path], place: Place) -> TextPart:
    own = parts.read(texts[part]) if part in texts else _under(INSIDE[part], weights)
    return load_flow.t5_part(_t5(own, place), tokens.T5, built) if part == T5 else clip(part, own, isinstance(built, SD3Transformer2DModel), place)


def clip(part: str, weights: Weights, projected: bool, place: Place) -> TextPart:
    config = folders.config(CLIPS[part] / folders.CONFIG)
    own = {name: tensor for name, tensor in weights.items() if name.startswith("text_model.") or name == parts.PROJECTION}
    words, positions = (own.get(f"text_model.embeddings.{table}.weight") for table in ("token_embedding", "position_embedding"))
    inner = own.get("text_model.encoder.layers.0.mlp.fc1.weight")
    if words is None or positions is None or inner is None:
        raise parts.unfit(f"the text encoder {part}", "its tables of words and positions, or its first layer, are missing")
    vocabulary, width = words.shape
    config |= {"vocab_size": vocabulary, "hidden_size": width, "num_attention_heads": max(1, width // HEAD)}
    config |= {"max_position_embeddings": positions.shape[0], "intermediate_size": inner.shape[0], "projection_dim": width}
    encoder = parts.text_encoder(config, own, place, projected)
    return TextPart(encoder, parts.tokenizer(tokens.CLIP_L, encoder, "!" if part == CLIP_G else ""))


def _t5(weights: Weights, place: Place) -> Any:
    """Its sizes are read from the shapes; what they do not say is that of T5 v1.1 XXL."""
    words = next((weights[name] for name in load_flow.WORDS if name in weights), None)
    query, inner = (weights.get(f"encoder.block.0.layer.{name}.weight") for name in ("0.SelfAttention.q", "1.DenseReluDense.wi_0"))
    if words is None or query is None or inner is None:
        raise Unreadable("the text encoder T5 is damaged: its table of words or its first layer is missing")
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.block."))
    sizes = {"vocab_size": words.shape[0], "d_model": words.shape[1], "d_ff": inner.shape[0], "num_layers": layers}
    heads = max(1, query.shape[0] // T5_CONFIG["d_kv"])
    return load_flow.t5({**T5_CONFIG, **sizes, "num_heads": heads}, weights, place)


def _under(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
