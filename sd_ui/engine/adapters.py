"""LoRAs are worn, never put in: a model in a LoRA is a second module tree that shares every tensor the LoRA leaves alone.

The weights of the model itself are never written, so there is nothing to restore, and two jobs in different LoRAs may use one model at once. The
changed weights are computed once, in float32, from the pristine ones: that is what fusing gives, exact every time, and no step pays for it.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sd_ui.engine import deltas, packed_linear, parts
from sd_ui.engine.family import TextPart
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.packed import Packed
from sd_ui.engine.packed_linear import PackedLinear
from sd_ui.models import header, lora_keys, loras
from sd_ui.models.header import Unreadable
from sd_ui.models.lora_keys import TEXT, TEXT_2, UNET, Layer, text_name
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import WornLora

Module = TypeVar("Module", bound=nn.Module)
Layers: TypeAlias = Mapping[str, tuple[str, nn.Module]]  # by `Layer.name`: what a module calls it, and the layer


@dataclass(frozen=True)
class Lora:
    """One file in memory. layers: with rows and columns. tensors: by layer and role. alphas: of layers whose tensors do not bring one."""

    layers: loras.Layers
    tensors: Mapping[Layer, deltas.Roles]
    alphas: Mapping[Layer, float | None]


@dataclass(frozen=True)
class Worn:
    """A LoRA and how strongly it is worn by U-Net and text encoders."""

    path: Path
    said: WornLora

    def strength(self, part: str) -> float:
        return self.said.unet if part == UNET else self.said.text


def read(path: Path) -> Lora:
    """Raises Unreadable, SafetensorError or OSError. Its numbers are mapped, and read when they are used."""
    found, tensors = header.read(path), parts.read(path)
    layers = loras.layers_of(found)  # the file may have changed since the index saw it
    grouped = lora_keys.grouped(found.tensors)
    whole = {layer: {role: tensors[name] for role, name in names.items()} for layer, names in grouped.items()}
    held = {piece: roles for layer, held in whole.items() for piece, roles in _pieces(layer, held)}
    return Lora(layers, held, {layer: deltas.said_alpha(found.metadata, layer, deltas.inner(roles)) for layer, roles in held.items()})


def _pieces(layer: Layer, roles: deltas.Roles) -> Iterator[tuple[Layer, deltas.Roles]]:
    """Of a matrix that is several in diffusers, each with its rows."""
    parts = loras.pieces(layer, {role: tuple(tensor.shape) for role, tensor in roles.items()})
    for piece, start, stop, _ in parts:
        yield piece, roles if len(parts) == 1 else {**roles, "up": roles["up"][start:stop]}


def dressed(loaded: Loaded, outfit: Sequence[Worn]) -> Loaded:
    """The model in all of these LoRAs at once. Raises BadRequest("prompt") that names the LoRA, and the layer that it does not match."""
    read_in = [(worn, _checked(loaded, worn)) for worn in outfit]
    unet, others = loaded.denoiser, {"depth_unet": loaded.depth_unet, "inpaint_unet": loaded.inpaint_unet}
    weights = _weights(unet, UNET, read_in)
    worn = view(unet, weights)
    views: dict[str, Any] = {name: worn if other is unet else other and _sibling(other, unet, weights, read_in) for name, other in others.items()}
    return replace(loaded, denoiser=worn, texts=_texts(loaded, read_in), loras=tuple(worn.said for worn in outfit), **views)


def needs(loaded: Loaded, outfit: Sequence[Worn]) -> int:
    """Bytes that the changed weights will take."""
    changed = {layer for worn in outfit for layer in _layers_of(worn) if worn.strength(layer.part)}
    found = {part: _layers(module) for part, module in _modules(loaded)}
    return sum(_weight(found[layer.part][layer.name][1]).nbytes for layer in changed if layer.name in found.get(layer.part, {}))


# ---------------------------------------------------------------- what is worn
def _layers_of(worn: Worn) -> list[Layer]:
    try:
        return [layer for layer, _, _ in loras.layers_of(header.read(worn.path))]
    except (Unreadable, OSError) as error:
        raise unusable(worn, error) from error


def _checked(loaded: Loaded, worn: Worn) -> Lora:
    """The file, which may have changed since the door, and whether this model really has its layers."""
    try:
        lora = read(worn.path)
    except (Unreadable, SafetensorError, OSError) as error:
        raise unusable(worn, error) from error
    if why := loras.misfit(lora.layers, dict(_sizes(loaded))):
        raise BadRequest("prompt", f"the LoRA {worn.said.name} does not go with {loaded.card.name}: {why}")
    return lora


def unusable(worn: Worn, error: Exception) -> BadRequest:
    match error:
        case FileNotFoundError():
            why = "its file is not there any more"
        case OSError(strerror=str(said)):
            why = f"its file cannot be read ({said})"
        case _:
            why = f"it is {error}" if isinstance(error, Unreadable) else "its file is damaged"
    return BadRequest("prompt", f"the LoRA {worn.said.name} cannot be used: {why}")


# ---------------------------------------------------------------- the layers of a model
def _modules(loaded: Loaded) -> Iterator[tuple[str, nn.Module]]:
    yield UNET, loaded.denoiser
    yield from ((part, text.encoder) for part, text in _named_texts(loaded))


def _named_texts(loaded: Loaded) -> list[tuple[str, TextPart]]:
    """A refiner has the second text encoder of its family alone."""
    names = (TEXT_2,) if loaded.family.name == "sdxl-refiner" else (TEXT, TEXT_2)
    return list(zip(names, loaded.texts, strict=False))


def _layers(module: nn.Module) -> Layers:
    named = ((name, layer) for name, layer in module.named_modules() if getattr(layer, "weight", None) is not None and layer.weight.ndim > 1)
    return {text_name(name.replace(".", "_")): (name, layer) for name, layer in named}


def _sizes(loaded: Loaded) -> Iterator[tuple[Layer, tuple[int, int]]]:
    for part, module in _modules(loaded):
        for name, (_, layer) in _layers(module).items():
            weight = _weight(layer)
            yield Layer(part, name), (weight.shape[0], weight[0].numel())


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


# ---------------------------------------------------------------- dressing
ReadIn: TypeAlias = Sequence[tuple[Worn, Lora]]


def _weights(module: nn.Module, part: str, worn: ReadIn) -> dict[str, nn.Parameter]:
    """The changed weights, by the module's own names of their layers."""
    found = _layers(module)
    changed = {layer.name for one, lora in worn for layer in lora.tensors if layer.part == part and one.strength(part)}
    return {found[name][0]: _changed(_weight(found[name][1]), Layer(part, name), worn) for name in sorted(changed)}


def _changed(weight: Tensor, layer: Layer, worn: ReadIn) -> nn.Parameter:
    """In float32, one LoRA after the other, each from the pristine weight; then as precise as the model is."""
    if weight.is_meta or not weight.is_floating_point():
        raise BadRequest("prompt", "a LoRA needs weights that are in memory and not quantised; load the model in another precision")
    weight = weight.unpack() if isinstance(weight, Packed) else weight
    new: Tensor | None = None
    for one, lora in worn:
        if layer in lora.tensors and one.strength(layer.part):
            roles = {role: tensor.to(weight.device, torch.float32, copy=True) for role, tensor in lora.tensors[layer].items()}
            known = weight[:, : _inputs(roles, weight)]  # a first convolution may have more inputs than the LoRA knows: they stay as they are
            delta = deltas.delta(roles, known, one.strength(layer.part), lora.alphas[layer])
            if new is None and delta.shape == weight.shape:
                new = delta.add_(weight if weight.itemsize > 1 else weight.float())  # the same sum, in memory that is there already
            else:
                new = weight.float().clone() if new is None else new
                new[:, : known.shape[1]] += delta
    assert new is not None
    return nn.Parameter(new.to(weight.dtype), requires_grad=False)


def _inputs(roles: deltas.Roles, weight: Tensor) -> int:
    """How many of the weight's inputs the tensors change."""
    _, columns = loras.size_of(Layer("", ""), {role: tuple(tensor.shape) for role, tensor in roles.items()})
    return columns // weight[0, 0].numel()


def view(module: Module, weights: Mapping[str, nn.Parameter]) -> Module:
    """A second module tree over the same tensors, but for these; the module itself where there are none."""
    if not weights:
        return module
    tensors = (*module.parameters(), *module.buffers())
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors}  # what deepcopy takes for copied already
    second = copy.deepcopy(module, memo)
    for name, weight in weights.items():
        layer = second.get_submodule(name)
        if isinstance(layer, PackedLinear):
            layer.wear(weight)
        else:
            layer.weight = weight
    return second


def _sibling(other: Module, unet: nn.Module, weights: Mapping[str, nn.Parameter], worn: ReadIn) -> Module:
    """A U-Net that shares its tensors with the first, except for a first convolution of its own, shares the changed ones too."""

    def of_both(name: str, changed: nn.Parameter) -> nn.Parameter:
        own = other.get_submodule(name)
        is_shared = packed_linear.address(own) == packed_linear.address(unet.get_submodule(name))
        return changed if is_shared else _changed(_weight(own), Layer(UNET, name.replace(".", "_")), worn)

    return view(other, {name: of_both(name, changed) for name, changed in weights.items()})


def _texts(loaded: Loaded, worn: ReadIn) -> tuple[TextPart, ...]:
    """Others wherever one of them changes: remembered embeddings are found by the first."""
    changed = [(text, _weights(text.encoder, part, worn)) for part, text in _named_texts(loaded)]
    if not any(weights for _, weights in changed):
        return loaded.texts
    return tuple(replace(text, encoder=view(text.encoder, weights) if weights else copy.copy(text.encoder)) for text, weights in changed)
