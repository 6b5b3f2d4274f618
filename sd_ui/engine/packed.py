"""A tensor as a file stores it: with the shape that it will have, but in fewer bits, and unpacked only where its numbers are needed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

SHAPING = frozenset((  # what only cuts, joins and turns: its result is packed, too
    torch.ops.aten.split.Tensor, torch.ops.aten.split_with_sizes.default, torch.ops.aten.slice.Tensor, torch.ops.aten.select.int,
    torch.ops.aten.cat.default, torch.ops.aten.t.default, torch.ops.aten.transpose.int, torch.ops.aten.permute.default,
    torch.ops.aten.unsqueeze.default,
))  # fmt: skip


class Packed(Tensor):
    """Whatever asks for numbers gets those that `unpack` makes: moving it to a device with a dtype unpacks it there and then, one tensor at a time.
    So whoever builds a model need not know how its file stores it, and never has more than one tensor of it twice.
    """

    unpack: Callable[[], Tensor]

    @staticmethod
    def __new__(cls, shape: tuple[int, ...], unpack: Callable[[], Tensor]) -> "Packed":
        """unpack: makes float32 numbers of this shape, anew each time."""
        made: Packed = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32)
        made.unpack = unpack
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def done() -> Any:
            unpacked = tree_map_only(Packed, lambda packed: packed.unpack(), (args, kwargs or {}))
            return func(*unpacked[0], **unpacked[1])

        return _later(func, args, kwargs or {}, done) if func in SHAPING else done()


def _later(func: Any, args: Any, kwargs: Any, done: Callable[[], Any]) -> Any:
    """What the operation will give, packed: its shapes are told by tensors without numbers."""
    shapes = tree_map_only(Tensor, lambda tensor: torch.empty(tensor.shape, device="meta"), (args, kwargs))
    results = func(*shapes[0], **shapes[1])
    if isinstance(results, Tensor):
        return Packed(tuple(results.shape), done)
    return [Packed(tuple(one.shape), partial(_nth, done, i)) for i, one in enumerate(results)]


def _nth(done: Callable[[], Any], i: int) -> Tensor:
    piece: Tensor = done()[i]
    return piece
