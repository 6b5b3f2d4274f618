"""A tensor as a file stores it: with the shape that it will have, but in fewer bits, and unpacked only where its numbers are needed."""

from collections.abc import Callable
from dataclasses import dataclass
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
ROWS = {  # what takes whole rows where its dimension is the first one, and the place of that argument
    torch.ops.aten.split.Tensor: 2, torch.ops.aten.split_with_sizes.default: 2, torch.ops.aten.slice.Tensor: 1, torch.ops.aten.cat.default: 1,
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """stored: tensors that have a row for each row of the matrix. unpack: makes float32 numbers of some rows of all of these."""

    unpack: Callable[..., Tensor]
    stored: tuple[Tensor, ...]

    def __call__(self) -> Tensor:
        return self.unpack(*self.stored)


class Packed(Tensor):
    """Whatever asks for numbers gets those that `unpack` makes: moving it to a device with a dtype unpacks it there and then, one tensor at a time.
    So whoever builds a model need not know how its file stores it, and never has more than one tensor of it twice.
    """

    unpack: Callable[[], Tensor]

    @staticmethod
    def __new__(
        cls, shape: tuple[int, ...], unpack: Callable[[], Tensor], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> "Packed":
        """unpack: makes numbers of this shape, anew each time. dtype, device: theirs."""
        made: Packed = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=torch.device(device))
        made.unpack = unpack
        return made

    @property
    def rows(self) -> Rows | None:
        """How a matrix is stored row by row; None where it is stored otherwise."""
        return self.unpack if isinstance(self.unpack, Rows) else None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def done() -> Any:
            unpacked = tree_map_only(Packed, lambda packed: packed.unpack(), (args, kwargs or {}))
            return func(*unpacked[0], **unpacked[1])

        return _later(func, args, kwargs or {}, done) if func in SHAPING else done()


def _later(func: Any, args: Any, kwargs: Any, done: Callable[[], Any]) -> Any:
    """What the operation will give, packed: its shapes are told by tensors without numbers."""
    shapes = tree_map_only(Tensor, lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"), (args, kwargs))
    results = func(*shapes[0], **shapes[1])
    rows = _by_rows(func, args, kwargs)
    if isinstance(results, Tensor):
        return Packed(tuple(results.shape), rows[0] if rows else done, results.dtype)
    return [Packed(tuple(one.shape), rows[i] if rows else partial(_nth, done, i), one.dtype) for i, one in enumerate(results)]


def _by_rows(func: Any, args: Any, kwargs: Any) -> list[Rows]:
    """What the operation gives of matrices that are stored by rows, where it takes whole rows: so they stay. [] elsewhere."""
    place = ROWS.get(func)
    if place is None or (args[place] if len(args) > place else kwargs.get("dim", 0)) != 0:
        return []
    joins = func is torch.ops.aten.cat.default
    all_rows = [one.rows if isinstance(one, Packed) else None for one in (args[0] if joins else [args[0]])]
    known = [rows for rows in all_rows if rows is not None and rows.unpack == all_rows[0].unpack]  # type: ignore[union-attr]
    if len(known) < len(all_rows):
        return []
    stored = [func(list(parts) if joins else parts[0], *args[1:], **kwargs) for parts in zip(*(rows.stored for rows in known), strict=True)]
    pieces = [stored] if isinstance(stored[0], Tensor) else zip(*stored, strict=True)
    return [Rows(known[0].unpack, tuple(piece)) for piece in pieces]


def _nth(done: Callable[[], Any], i: int) -> Tensor:
    piece: Tensor = done()[i]
    return piece
