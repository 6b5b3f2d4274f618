"""Recognises a LoRA by its header: what it changes and how, which family it is for, and which words its training pictures were described with."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias

from sd_ui.models import flow_names, lora_keys
from sd_ui.models.finding import Finding, faulty
from sd_ui.models.header import Header, Unreadable
from sd_ui.models.lora_keys import TEXT, TEXT_2, UNET, Layer
from sd_ui.spec.cards import LORA, LoraFacts

Layers: TypeAlias = tuple[tuple[Layer, int, int], ...]  # layer, rows and columns of its weight as a matrix: (out, in x kernel)
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # by role

FAMILY_OF_WIDTH = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}  # of the text that the U-Net looks at
FAMILIES = {  # by what the metadata's words for the model begin with; the longer ones first
    "stable-diffusion-xl": "sdxl", "stable-diffusion-v2": "sd2", "stable-diffusion-v1": "sd1", "sdxl": "sdxl", "sd_v2": "sd2", "sd_v1": "sd1",
    "sd_1.": "sd1", "flux": "flux", "stable-diffusion-3": "sd3", "sd3": "sd3",
}  # fmt: skip
FLUX_WIDTH = 3072
SHIFT_FIRST = ("norm_out_linear", "norm1_context_linear")  # with twice as many rows as columns, whose halves stand the other way round in diffusers
MOST_WORDS, LONGEST_WORD = 12, 80


def recognised(found: Header) -> Finding:
    """Of a file that `lora_keys.is_lora` takes for one."""
    try:
        layers = layers_of(found)
    except Unreadable as error:
        return faulty(f"is {error}", kind=LORA)
    facts = LoraFacts(_method(found), _rank(found), _text(found.metadata, "ss_output_name"), triggers(found.metadata))
    return Finding(LORA, family_of(layers, found.metadata), lora=facts, layers=layers)


def layers_of(found: Header) -> Layers:
    """Raises Unreadable for what is incomplete, not understood or not supported."""
    shapes = {layer: {role: found.shape(name) for role, name in names.items()} for layer, names in lora_keys.grouped(found.tensors).items()}
    return _shared(
        tuple(sorted((piece, stop - start, columns) for layer, roles in shapes.items() for piece, start, stop, columns in pieces(layer, roles)))
    )


def pieces(layer: Layer, roles: Shapes) -> list[tuple[Layer, int, int, int]]:
    """The layers of diffusers that a LoRA's layer is, each with its first row, the one after its last, and its columns: itself alone, but for
    matrices that published transformers have joined. Raises Unreadable.
    """
    rows, columns = size_of(layer, roles)
    parts = flow_names.pieces(layer.name, rows, columns) if layer.part == UNET else []
    if layer.name.endswith(SHIFT_FIRST) and rows == 2 * columns:
        raise Unreadable(f"a LoRA that changes {layer.name[:80]}, which is not supported")
    if parts and not roles.keys() <= {"up", "down", "alpha"}:
        raise Unreadable("a LoRA that changes joined matrices by another method than LoRA, which is not supported")
    return [(Layer(layer.part, name), start, stop, columns) for name, start, stop in parts] or [(layer, 0, rows, columns)]


def size_of(layer: Layer, roles: Shapes) -> tuple[int, int]:
    """Rows and columns of the weight that these tensors change. Raises Unreadable where they do not go together."""
    with suppress(KeyError, IndexError, ValueError):
        size = _size(roles)
        if math.prod(roles.get("alpha", ())) == 1 and _weighs(roles.get("magnitude"), *size):
            return size
    raise Unreadable(f"a damaged LoRA: its tensors for {layer.name[:80]} do not go together ({', '.join(sorted(roles))})")


# ---------------------------------------------------------------- sizes
def _size(roles: Shapes) -> tuple[int, int]:
    if "up" in roles or "down" in roles:
        return _low_rank(roles)
    return _hadamard(roles) if "hada_w1_a" in roles else _kronecker(roles)


def _weighs(magnitude: tuple[int, ...] | None, rows: int, columns: int) -> bool:
    """DoRA's lengths: of each row, or of each column of inputs."""
    if magnitude is None:
        return True
    count = math.prod(magnitude)
    by_column = len(magnitude) > 1 and magnitude[0] == 1 and count > 0 and columns % count == 0
    return by_column or (magnitude[:1] == (rows,) and count == rows)


def _low_rank(roles: Shapes) -> tuple[int, int]:
    """up (out, r), down (r, in), for convolutions with their kernels; mid (r, r, k, k) where the kernel stands apart."""
    up, down, mid = roles["up"], roles["down"], roles.get("mid", ())
    if math.prod(up[2:]) != 1 or up[1] != (mid[0] if mid else down[0]) or (mid and mid[1] != down[0]):
        raise ValueError
    return up[0], math.prod(down[1:]) * math.prod(mid[2:])


def _hadamard(roles: Shapes) -> tuple[int, int]:
    """w_a (out, r), w_b (r, in x kernel); with a core t (r, r, k, k): w_a (r, out), w_b (r, in)."""
    sizes = {_factored(roles, f"hada_w{i}_a", f"hada_w{i}_b", f"hada_t{i}") for i in (1, 2)}
    (size,) = sizes
    return size


def _kronecker(roles: Shapes) -> tuple[int, int]:
    """Both factors whole, or as products; the second may have the kernel."""
    sizes = []
    for i, core in ((1, ""), (2, "lokr_t2")):
        whole = roles.get(f"lokr_w{i}")
        sizes.append((whole[0], math.prod(whole[1:])) if whole else _factored(roles, f"lokr_w{i}_a", f"lokr_w{i}_b", core))
    return sizes[0][0] * sizes[1][0], sizes[0][1] * sizes[1][1]


def _factored(roles: Shapes, a: str, b: str, core: str) -> tuple[int, int]:
    (first, second), (inner, *rest) = roles[a], roles[b]
    if core in roles:
        t = roles[core]
        if len(t) < 2 or t[:2] != (first, inner):
            raise ValueError
        return second, math.prod(rest) * math.prod(t[2:])
    if second != inner:
        raise ValueError
    return first, math.prod(rest)


# ---------------------------------------------------------------- what is said about it
def family_of(layers: Layers, metadata: Mapping[str, Any]) -> str:
    """By its tensors where they tell, else by what its metadata says; "" where neither does."""
    if transformer := _of_transformer(layers):
        return transformer
    seen = {width for layer, _, width in layers if layer.part == UNET and layer.name.endswith(("attn2_to_k", "attn2_to_v"))}
    if len(seen) == 1:
        return FAMILY_OF_WIDTH.get(seen.pop(), "")
    if any(layer.part == TEXT_2 for layer, _, _ in layers):
        return "sdxl"
    said = (_text(metadata, "modelspec.architecture") or _text(metadata, "ss_base_model_version")).lower()
    told = next((family for start, family in FAMILIES.items() if said.startswith(start)), "")
    texts = {width for layer, _, width in layers if layer.part == TEXT and layer.name.endswith("_q_proj")}
    return told or (FAMILY_OF_WIDTH.get(texts.pop(), "") if len(texts) == 1 else "")


def _of_transformer(layers: Layers) -> str:
    """SD 3 has other widths than Flux.1, and no blocks for text and picture together."""
    names = {
        layer.name: columns for layer, _, columns in layers if layer.part == UNET and "transformer_blocks" in layer.name.split("_attentions_")[0]
    }
    if any(name.startswith("single_transformer_blocks") for name in names) or FLUX_WIDTH in names.values():
        return "flux"
    return "sd3" if any(re.match(r"transformer_blocks_\d+_(attn|norm|ff)", name) for name in names) else ""


def triggers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that its maker names, else the most frequent ones of the descriptions of its training pictures."""
    named = [word.strip() for word in _text(metadata, "modelspec.trigger_phrase").split(",")]
    words = [word for word in named if word] or [word for word, _ in _counted(metadata).most_common(MOST_WORDS)]
    return tuple(word for word in words if len(word) <= LONGEST_WORD and word.isprintable())[:MOST_WORDS]


def _counted(metadata: Mapping[str, Any]) -> "Counter[str]":
    """kohya's {folder of pictures: {word: how often}}."""
    try:
        folders = json.loads(_text(metadata, "ss_tag_frequency") or "{}")
    except (ValueError, RecursionError):
        return Counter()
    counted: Counter[str] = Counter()
    for words in folders.values() if isinstance(folders, dict) else ():
        for word, count in words.items() if isinstance(words, dict) else ():
            counted[word.strip()] += count if type(count) is int and 0 < count < 2**31 else 0
    del counted[""]
    return counted


def _method(found: Header) -> str:
    names = found.tensors
    kinds = [kind for kind, mark in (("LoHa", "hada_"), ("LoKr", "lokr_")) if any(mark in name for name in names)]
    low_rank = [tensor.shape for name, tensor in names.items() if lora_keys.read(name)[1] == "down"]
    if low_rank:
        kinds.insert(0, "LoCon" if any(math.prod(shape[2:]) > 1 for shape in low_rank) else "LoRA")
    weighed = " with DoRA" if any(lora_keys.read(name)[1] == "magnitude" for name in names) else ""
    return " and ".join(kinds) + weighed


def _rank(found: Header) -> int:
    """The largest of any layer; 0 where its matrices are whole."""
    inner = ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
    return max((tensor.shape[0] for name, tensor in found.tensors.items() if tensor.shape and lora_keys.read(name)[1] in inner), default=0)


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name, "")
    return value.strip() if isinstance(value, str) else ""


@lru_cache(maxsize=1024)
def _shared(layers: Layers) -> Layers:
    """One object for all that are equal: thousands of LoRAs change the same few sets of layers."""
    return layers


# ---------------------------------------------------------------- whether it fits
def misfit(layers: Iterable[tuple[Layer, int, int]], model: Mapping[Layer, tuple[int, int]]) -> str:
    """Why a LoRA cannot be worn by a model of these layers, in words; "" where it can.

    A first convolution may have more inputs than the LoRA knows: depth and masks come after the latents.
    """
    for layer, rows, columns in layers:
        if layer not in model:
            return f"it changes {layer.name}, which the model does not have"
        if model[layer] != (rows, columns) and not (layer.name == "conv_in" and model[layer][0] == rows and model[layer][1] > columns):
            return f"it was made for a {layer.name} of {rows}x{columns}, the model's is {model[layer][0]}x{model[layer][1]}"
    return ""
