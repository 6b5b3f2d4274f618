"""Builds one part of a model from a config, read as data, and tensors. Classes are named in code, never by a model; every tensor must fit."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.initialization import no_init_weights

from sd_ui.engine import packed_linear, sidecar, stored
from sd_ui.engine.device import Place
from sd_ui.engine.family import Family
from sd_ui.models import mistaken, tokens
from sd_ui.models.header import Unreadable
from sd_ui.models.stamps import Stamp, stamp
from sd_ui.spec.errors import BadRequest

Weights = Mapping[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)
CLIP_FACTS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "hidden_act",
    "layer_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id", "projection_dim",
)  # fmt: skip
PROJECTION = "text_projection.weight"
OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def unfit(part: str, why: str) -> BadRequest:
    return BadRequest("model", f"{part} cannot be loaded: {why}")


def read(*paths: Path) -> Weights:
    """All tensors of the files, mapped, not yet read. Headers are checked first: what is no such file is never opened as one."""
    found: dict[str, Tensor] = {}
    for path in paths:
        if (holes := mistaken.unwritten(path)) > mistaken.HOLES:
            raise Unreadable(f"{path.name} is damaged: {holes:.0%} of it was never written (a download that was broken off)")
        found |= stored.tensors(path)
    return found


def built(
    part: str,
    make: Callable[[], Module],
    weights: Weights,
    place: Place,
    name_of: Callable[[str], str] = str,
    precise: str = "",
    stays_packed: bool = False,
) -> Module:
    """make: constructs the module; it does so without memory for weights. name_of: what a tensor of the module is called in `weights`.

    precise: in names of tensors that overflow in float16, and stay in float32. stays_packed: linear layers whose weights the file packs stay so.

    Raises BadRequest where config and tensors are not of one kind.
    """
    try:
        with init_empty_weights(include_buffers=False), no_init_weights():
            module = make()
    except Exception as error:  # for odd values in a config, the constructors of two libraries raise whatever they like; translated, not swallowed
        raise unfit(part, f"its config makes no sense ({type(error).__name__}: {error})") from error
    wanted = module.state_dict()
    ours = {name_of(name): name for name in wanted}
    named = {ours.get(name, name): tensor for name, tensor in weights.items()}  # what no layer asks for keeps its name, for the check to find
    check(part, wanted, named)
    exact = replace(place, dtype=torch.float32) if precise and place.dtype == torch.float16 else place

    def place_of(name: str) -> Place:
        return exact if precise and precise in name else place

    if stays_packed:
        packed_linear.put_in(module, named, lambda name: place_of(name).dtype, place.device)
    placed = {name: _placed(named[name], place_of(name)) if name in named else tensor for name, tensor in module.state_dict().items()}
    module.load_state_dict(placed, assign=True)
    return module.to(place.device).eval().requires_grad_(False)


def check(part: str, wanted: Weights, weights: Weights) -> None:
    if missing := sorted(wanted.keys() - weights.keys()):
        raise unfit(part, f"{len(missing)} tensors are missing, such as {missing[0]}")
    if strange := sorted(weights.keys() - wanted.keys()):
        raise unfit(part, f"{len(strange)} tensors are not known, such as {strange[0]}")
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape:
            raise unfit(part, f"{name} has the shape {tuple(weights[name].shape)}, its config says {tuple(tensor.shape)}")
        if tensor.is_floating_point() and isinstance(weights[name], Tensor) and not weights[name].is_floating_point():
            raise unfit(part, f"{name} holds {str(weights[name].dtype).removeprefix('torch.')}, which are no weights")


def facts(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a config, what the class takes; the rest (names, versions, what later programs added) says nothing about its weights."""
    known = inspect.signature(kind).parameters
    return {name: value for name, value in config.items() if name in known and name != "kwargs"}


def unet(config: Mapping[str, Any], weights: Weights, place: Place) -> UNet2DConditionModel:
    return built("the U-Net", lambda: UNet2DConditionModel(**facts(UNet2DConditionModel, config)), weights, place, stays_packed=True)


def text_encoder(config: Mapping[str, Any], weights: Weights, place: Place, projected: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    """projected: with the layer that says the text as a whole."""
    told = {name: config[name] for name in CLIP_FACTS if name in config}
    named = clip_names(weights)
    if projected:
        named = {name if name == PROJECTION else "text_model." + name: tensor for name, tensor in named.items()}
        return built("the second text encoder", lambda: CLIPTextModelWithProjection(CLIPTextConfig(**told)), named, place, stays_packed=True)
    named.pop(PROJECTION, None)
    return built("the text encoder", lambda: CLIPTextModel(CLIPTextConfig(**told)), named, place, stays_packed=True)


def clip_names(weights: Weights) -> dict[str, Tensor]:
    """As the present CLIPTextModel names them; a table of positions that older files carry is computed there."""
    named = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in named.items() if not name.endswith("position_ids")}


def tokenizer(folder: Path, encoder: CLIPTextModel | CLIPTextModelWithProjection, pad: str = "") -> CLIPTokenizer:
    """pad: the token that fills a chunk; "", or one that is not known: the end of text."""
    known = encoder.config.vocab_size
    made, most = _tokenizer(folder, stamp(folder), pad, encoder.config.max_position_embeddings)
    if most >= known:
        raise unfit("the text encoder", f"it knows {known} tokens, the tokenizer has {len(made)}")
    return made


@lru_cache(maxsize=4)
def _tokenizer(folder: Path, now: Stamp, pad: str, length: int) -> tuple[CLIPTokenizer, int]:
    """And the largest number of a token. Models mostly share one, and nobody changes it; making it takes as long as the rest of a load."""
    vocabulary, merges = tokens.vocabulary(folder)
    pad = pad if pad in vocabulary else tokens.END
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=length), max(vocabulary.values())


def vae_place(place: Place, family: Family, config: Mapping[str, Any]) -> Place:
    """Float32 for a VAE that overflows in float16 and whose config says so. Those of other families say it too, though it is not true of them."""
    forced = family.vae_overflows and config.get("force_upcast", True)
    return replace(place, dtype=torch.float32) if forced and place.dtype == torch.float16 else place


def vae_weights(weights: Weights) -> dict[str, Tensor]:
    """The attention of VAEs that were saved years ago has other names."""
    return {_replaced(name) if "attentions" in name else name: tensor for name, tensor in weights.items()}


def with_input_planes(part: str, unet: Module, weights: Weights, planes: int, make: Callable[[], Module]) -> Module:
    """A second module tree over the same tensors, but with another first convolution, the only tensor of `weights`, which takes more planes."""
    if weights.keys() != {"conv_in.weight"}:
        raise unfit(part, f"it has {', '.join(sorted(weights)[:3])} where conv_in.weight was expected")
    shared, weight = dict(unet.state_dict(keep_vars=True)), weights["conv_in.weight"]  # the same parameters: whoever moves them moves both's
    first = shared["conv_in.weight"]
    if tuple(weight.shape) != (wanted := (first.shape[0], planes, *first.shape[2:])):
        raise unfit(part, f"conv_in.weight has the shape {tuple(weight.shape)}, {wanted} was expected")
    with init_empty_weights(include_buffers=False):
        view = make()
    packed_linear.share(unet, view)
    view.load_state_dict({**shared, "conv_in.weight": weight.to(first.device, first.dtype, copy=True)}, assign=True)
    return view.eval().requires_grad_(False)


def _placed(tensor: Tensor, place: Place) -> Tensor:
    """A copy, never a view of a user's mapped file: whoever overwrites that file must not change, or crash, a running model.

    And there tensors lie at odd addresses, which changes the last bits of what is computed with them.
    """
    dtype = place.dtype if tensor.is_floating_point() else tensor.dtype
    if place.mapped and place.device.type == "cpu" and sidecar.usable(tensor, dtype):
        return sidecar.alone(tensor)
    return tensor.to(place.device, dtype, copy=True, memory_format=torch.contiguous_format)


def _replaced(name: str) -> str:
    for old, new in OLD_VAE_ATTENTION.items():
        name = name.replace(old, new)
    return name
