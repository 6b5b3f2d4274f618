"""A model from one file, as it was published: the widths are read from the file; how many layers there are, and what they do, makes the family."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from sd_ui.engine import load_flow_file, midas, original, parts, trained_noise
from sd_ui.engine.device import Place
from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.family import Family, TextPart
from sd_ui.engine.loaded import Parts, Vae
from sd_ui.engine.parts import Weights
from sd_ui.models import files, flow_files, folders, header, prediction, published, tokens
from sd_ui.models.flow_files import PublishedFlow
from sd_ui.models.header import Header, Unreadable
from sd_ui.models.published import FIRST_STAGE, HEAD, SD2, UNET, Published, Text

VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")  # the rest of such files is what training needed


def model(path: Path, place: Place, said: str = "", lent: Callable[[Family], Vae] | None = None, texts: Mapping[str, Path] | None = None) -> Parts:
    """said: what the U-Net predicts, where that is known. lent: makes the VAE, where the file has none. texts: see `load_flow_file`.

    Raises BadRequest that names the part, Unreadable, OSError.
    """
    found, weights = header.read(path), parts.read(path)
    if fault := files.recognised(found).fault:  # the file may have changed since the card was written
        raise Unreadable(fault)
    if flow := flow_files.of(found):
        return load_flow_file.model(found, weights, place, lambda prefix: _vae(flow[0], _under(prefix, weights), place), lent, texts or {})
    known = published.of(found)
    encoders = _texts(known, found, weights, texts or {}, place)
    unet = _unet(known, found, weights, place)
    estimator, processor = midas.of_file(weights, place)
    return Parts(
        family=FAMILIES[known.family],
        denoiser=unet,
        vae=lent(FAMILIES[known.family]) if lent else _vae(known, _under(FIRST_STAGE, weights), place),
        texts=encoders,
        scheduler_config=_noise(found, said or (_probed(unet) if known is SD2 else "")),
        depth_unet=unet if unet.config.in_channels == 5 else None,
        inpaint_unet=unet if unet.config.in_channels == 9 else None,
        depth_estimator=estimator,
        depth_processor=processor,
    )


def vae(path: Path, family: Family, place: Place) -> Vae:
    """A VAE alone, or that of a checkpoint. Its file does not say how its latents are scaled: as those of the family that it is to serve."""
    known = next(one for one in (*published.PUBLISHED, *flow_files.PUBLISHED) if one.family == family.name)
    return _vae(known, _under(files.vae_prefix(header.read(path)) or "", parts.read(path)), place)


def _unet(known: Published, found: Header, weights: Weights, place: Place) -> UNet2DConditionModel:
    config = _plain(known.unet)
    widths = [found.shape(UNET + f"input_blocks.{3 * level + 1}.0.out_layers.3.weight") for level in range(len(config["block_out_channels"]))]
    config |= _widened(known, "unet", widths) | {"in_channels": found.shape(UNET + "input_blocks.0.0.weight")[1]}
    config |= _told(found, config["down_block_types"].index("CrossAttnDownBlock2D"), config)
    names = original.unet_names(config["down_block_types"])
    return parts.built("the U-Net", lambda: UNet2DConditionModel(**config), _under(UNET, weights), place, names, stays_packed=True)


def _told(found: Header, level: int, config: dict[str, Any]) -> dict[str, Any]:
    """The widths of text and sizes, and the heads that follow from the levels' widths. level: the first one that has attention."""
    cross = found.shape(UNET + f"input_blocks.{3 * level + 1}.1.transformer_blocks.0.attn2.to_k.weight")
    beside = found.shape(UNET + "label_emb.0.0.weight")
    facts: dict[str, Any] = {"cross_attention_dim": cross[1]} if len(cross) == 2 else {}
    if isinstance(config["attention_head_dim"], list):  # Stable Diffusion 1.x has 8 heads everywhere
        facts["attention_head_dim"] = [max(1, width // HEAD) for width in config["block_out_channels"]]
    told = found.shape(UNET + files.TOLD_SCALE)
    facts |= {"time_cond_proj_dim": told[1]} if len(told) == 2 else {}
    return facts | ({"projection_class_embeddings_input_dim": beside[1]} if len(beside) == 2 else {})


def _vae(known: Published | PublishedFlow, weights: Weights, place: Place) -> Vae:
    shapes = [
        tuple(tensor.shape) if tensor is not None else () for i in range(4) for tensor in (weights.get(f"encoder.down.{i}.block.0.conv2.weight"),)
    ]
    config = _plain(known.vae) | _widened(known, "vae", shapes)
    own = {name: tensor for name, tensor in weights.items() if name.startswith(VAE_PARTS)}
    place = parts.vae_place(place, FAMILIES[known.family], config)
    return parts.built("the VAE", lambda: AutoencoderKL(**config), original.linear(own), place, original.vae_name)


def _texts(known: Published, found: Header, weights: Weights, lent: Mapping[str, Path], place: Place) -> tuple[TextPart, ...]:
    """lent: the files of those that a U-Net alone does not have."""
    if not files.unet_alone(found, known):
        return tuple(_text(known, text, found, weights, place) for text in known.texts)
    return tuple(
        load_flow_file.clip(part, parts.read(lent[part]), text.config.name == folders.SECOND_TEXT, replace(place, mapped=False))  # the user's files
        for part, text in zip(files.LENT_TEXTS[known.family], known.texts, strict=True)
    )


def _text(known: Published, text: Text, found: Header, weights: Weights, place: Place) -> TextPart:
    config, own = folders.config(text.config / folders.CONFIG), _under(text.prefix, weights)
    vocabulary, width = text.tokens(found)
    positions = text.positions(found)
    config |= {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": positions[0] if positions else 77,
    }
    named = original.clip_of_open_clip(own, config["num_hidden_layers"]) if text.open_clip else parts.clip_names(own)
    inner = named.get("encoder.layers.0.mlp.fc1.weight")
    config["intermediate_size"] = inner.shape[0] if inner is not None else 4 * width
    projected = text.config.name == folders.SECOND_TEXT
    if projected and "text_projection.weight" in named:
        config["projection_dim"] = named["text_projection.weight"].shape[0]
    encoder = parts.text_encoder(config, named, place, projected)
    return TextPart(encoder, parts.tokenizer(tokens.CLIP_L, encoder, text.pad))


def _noise(found: Header, said: str) -> dict[str, Any]:
    """Models that were trained to start from noise alone say so by an empty tensor."""
    config = folders.config(published.SCHEDULER / "scheduler_config.json") | {"rescale_betas_zero_snr": "ztsnr" in found.tensors}
    return trained_noise.facts(config, prediction.V if "v_pred" in found.tensors and not said else said)


def _probed(unet: UNet2DConditionModel) -> str:
    """Asks the U-Net itself, as A1111 does for Stable Diffusion 2: at full noise, one that predicts noise says what it sees, one for v far less."""
    if unet.config.in_channels != 4:
        return prediction.EPSILON  # the inpainting and depth models predict noise
    half = {"device": unet.device, "dtype": unet.dtype}
    x, text = torch.full((1, 4, 8, 8), 0.5, **half), torch.full((1, 2, unet.config.cross_attention_dim), 0.5, **half)
    with torch.inference_mode():
        said = unet(x, 999, encoder_hidden_states=text, return_dict=False)[0]
    less = (said - x).float().mean().item()
    return prediction.EPSILON if less >= -1 else prediction.V  # not a number: of these models only those that predict v overflow in float16


def _plain(folder: Path) -> dict[str, Any]:
    return {name: value for name, value in folders.config(folder / folders.CONFIG).items() if not name.startswith("_")}


def _widened(known: Published | PublishedFlow, part: str, shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    if any(len(shape) != 4 for shape in shapes):
        raise parts.unfit(folders.PARTS[part], f"it does not have the {len(shapes)} levels of {known.title}")
    return {"block_out_channels": [shape[0] for shape in shapes]}


def _under(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
