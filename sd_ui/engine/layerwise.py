"""Weights kept in 8 bits and computed with as precisely as ever, a layer at a time: what diffusers calls layerwise casting.

Its hooks would call the first tree's layers in a copied one (a model in a LoRA), and cannot be told apart from others' by it; the numbers are equal.
"""

import re
from typing import Any

import torch
from torch import nn

STORAGE = torch.float8_e4m3fn
KEPT_WHOLE = re.compile(r"embed|norm|conv_in|conv_out|^proj_in$|^proj_out$")  # few weights, and pictures suffer where they are coarse
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


class Casting:
    """Two hooks: before a layer is called, and after."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def __call__(self, module: nn.Module, args: Any, output: Any = None) -> None:
        for tensor in module.parameters():
            tensor.data = tensor.data.to(self._dtype)

    def __deepcopy__(self, memo: Any) -> "Casting":
        return self


def store(module: nn.Module, compute: torch.dtype) -> None:
    """From now on its layers' weights are kept in 8 bits. compute: what they are computed with. There is no way back but to load it again.

    A tree that shares weights with one whose are kept so already needs hooks of its own; a copy of such a tree has brought them.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, LAYERS) and not KEPT_WHOLE.search(name) and layer.weight.dtype in (compute, STORAGE) and not is_cast(layer):
            Casting(STORAGE)(layer, ())
            layer.register_forward_pre_hook(Casting(compute))
            layer.register_forward_hook(Casting(STORAGE))


def is_cast(layer: nn.Module) -> bool:
    return any(isinstance(hook, Casting) for hook in layer._forward_pre_hooks.values())
