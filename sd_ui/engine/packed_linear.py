"""Linear layers whose weights stay in memory as their file packs them, and are unpacked each time the layer is called.

What comes out is, bit for bit, what a layer says whose weight was unpacked once: the same numbers, rounded to the same precision.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sd_ui.engine.packed import Packed, Rows

PIECE = 2**22  # numbers that are unpacked at once: in float32, with what the formulas keep beside them, about 64 MiB


class PackedLinear(nn.Module):
    """Its bytes are buffers, so that whoever counts or moves tensors counts and moves those. `weight` has shape, dtype and device of the unpacked
    one, whose numbers are made when somebody asks for them. A weight that is assigned (a LoRA's) is used instead from then on.
    """

    def __init__(self, rows: Rows, shape: tuple[int, int], bias: nn.Parameter | None, dtype: torch.dtype, device: torch.device) -> None:
        """rows: copied to the device. shape: (out, in). dtype: what is computed with."""
        super().__init__()
        self.out_features, self.in_features = shape
        self.dtype, self.unpack = dtype, rows.unpack
        self.register_parameter("weight", None)
        self.register_parameter("bias", bias)
        for i, stored in enumerate(rows.stored):
            self.register_buffer(f"packed_{i}", stored.to(device, copy=True, memory_format=torch.contiguous_format))

    def forward(self, x: Tensor) -> Tensor:
        own = self._parameters["weight"]
        return nn.functional.linear(x, self.numbers() if own is None else own, self.bias)

    def numbers(self) -> Tensor:
        """(out, in), made anew, some rows at a time, so that only the result takes room for all of them."""
        stored = list(self.buffers(recurse=False))
        made = torch.empty(self.out_features, self.in_features, dtype=self.dtype, device=stored[0].device)
        step = max(1, PIECE // self.in_features)
        for begin in range(0, self.out_features, step):
            made[begin : begin + step] = self.unpack(*(part[begin : begin + step] for part in stored))
        return made

    def wear(self, weight: nn.Parameter) -> None:
        """Uses this weight, and lets go of its bytes, which other trees may share. Hooks stay."""
        self.weight = weight
        for name in self._buffers:
            self._buffers[name] = None

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and self.__dict__["_parameters"].get(name, self) is None:
            shape = (self.out_features, self.in_features)
            return Packed(shape, self.numbers, self.dtype, next(self.buffers(recurse=False)).device)
        return super().__getattr__(name)


def put_in(module: nn.Module, weights: Mapping[str, Tensor], dtype_of: Callable[[str], torch.dtype], device: torch.device) -> None:
    """In place of each linear layer whose weight is packed by rows. weights: by the module's names. dtype_of: by such a name."""
    for name, layer in list(module.named_modules()):
        weight = weights.get(f"{name}.weight")
        if type(layer) is nn.Linear and isinstance(weight, Packed) and weight.rows is not None:
            shape = (layer.out_features, layer.in_features)
            module.set_submodule(name, PackedLinear(weight.rows, shape, layer.bias, dtype_of(f"{name}.weight"), device))


def share(owner: nn.Module, other: nn.Module) -> None:
    """Packed layers of the one take the place of the other's layers of the same name, over the same bytes."""
    for name, layer in owner.named_modules():
        if isinstance(layer, PackedLinear):
            memo: dict[int, Any] = {id(tensor): tensor for tensor in (*layer.parameters(), *layer.buffers())}
            other.set_submodule(name, copy.deepcopy(layer, memo))


def address(layer: nn.Module) -> int:
    """Where its weight lies, packed or not: the same for layers that share it."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return next(layer.buffers(recurse=False)).data_ptr() if isinstance(weight, Packed) else weight.data_ptr()


def largest(module: nn.Module) -> int:
    """Bytes of the largest weight that is unpacked while the module is called."""
    packed = (layer.weight for layer in module.modules() if isinstance(layer, PackedLinear))
    return max((weight.nbytes for weight in packed if isinstance(weight, Packed)), default=0)
