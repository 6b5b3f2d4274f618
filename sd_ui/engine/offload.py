"""Weights that wait in main memory and come to the device when their layer is called.

Like accelerate's and diffusers' hooks, with three differences: nothing is copied back, since weights are never written to; several module trees
may share tensors, and a tree that is copied (a model in a LoRA) keeps its hooks and moves its own tensors, while diffusers' would call the first
tree's; and a call that fails half-way, out of memory, leaves nothing that the next call does not put in order.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.weak import WeakTensorKeyDictionary

from sd_ui.engine import memory
from sd_ui.engine.policy import COMPONENTS, GROUPS, MIB, RESIDENT, SEQUENTIAL, UNITS

SMALL = 64 * MIB  # a component of this size is never moved: a tiny decoder is called at every step, and would send the denoiser away for it
LARGE_TEXTS = 2048 * MIB  # a text encoder that is moved layer by layer where the denoiser is moved in blocks: T5
VAES = ("vae", "movq")
DENOISERS = ("denoiser", "transformer", "unet")
NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.Sequential)  # but their children are
AS_ONE = (nn.MultiheadAttention,)  # uses its children's weights without calling them
HOST = torch.device("cpu")


def is_denoiser(name: str) -> bool:
    """name: of a component."""
    return any(word in name.casefold() for word in DENOISERS)


def is_vae(name: str) -> bool:
    return any(word in name.casefold() for word in VAES)


def units(module: nn.Module, most: int) -> Iterator[nn.Module]:
    """The largest parts of a module that are called as one and take at most so many bytes; a layer is not divided."""
    children = [] if isinstance(module, AS_ONE) else [child for child in module.children() if any(True for _ in tensors(child))]
    is_called = not isinstance(module, NEVER_CALLED) and not hasattr(module, "decode")
    if not children or (is_called and memory.size([module]) <= most):
        yield module
    else:
        yield from chain.from_iterable(units(child, most) for child in children)


def tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


def is_movable(tensor: Tensor) -> bool:
    """What torchao or bitsandbytes quantised consists of several tensors, that only they can move."""
    return not is_traceable_wrapper_subclass(tensor) and not hasattr(tensor, "quant_state")


class Shuttle:
    """Moves the tensors of one model. device: where they are used. Used by the engine's thread alone."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._homes: Any = WeakTensorKeyDictionary()  # of each tensor that is on the device: where it waits otherwise
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._next: WeakKeyDictionary[nn.Module, ref[nn.Module]] = WeakKeyDictionary()  # which unit was called after which
        self._last: ref[nn.Module] | None = None

    # ------------------------------------------------------------ before and after a unit is called
    def enter(self, unit: nn.Module, foresees: bool) -> None:
        """Its tensors come, all others leave. foresees: the unit that followed last time begins to come, too."""
        wanted = list(tensors(unit))
        self._send({id(tensor) for tensor in wanted})
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)  # for what was fetched in advance
        self._bring(wanted)
        if foresees:
            self._learn(unit)
            if self._stream is not None and (following := self._following(unit)) is not None:
                self._fetch(following)

    def leave(self, unit: nn.Module) -> None:
        for tensor in tensors(unit):
            self._send_one(tensor)

    def rest(self) -> None:
        """Everything waits in main memory."""
        self._send(set())
        self._last = None

    @property
    def here(self) -> int:
        """Bytes on the device, of what is moved."""
        return sum(tensor.nbytes for tensor in list(self._homes))

    # ------------------------------------------------------------ moving
    def _bring(self, wanted: Iterable[Tensor]) -> None:
        for tensor in wanted:
            if tensor not in self._homes and is_movable(tensor):
                home = tensor.data
                tensor.data = home.to(self._device, non_blocking=True, copy=True)
                self._homes[tensor] = home

    def _fetch(self, unit: nn.Module) -> None:
        """On a stream of its own, while the device computes; the allocator must know that the tensors will be used on the other."""
        assert self._stream is not None
        coming = [tensor for tensor in tensors(unit) if tensor not in self._homes]
        with torch.cuda.stream(self._stream):
            self._bring(coming)
        for tensor in coming:
            if tensor in self._homes:
                tensor.data.record_stream(torch.cuda.current_stream(self._device))

    def _send(self, but: set[int]) -> None:
        for tensor in list(self._homes):
            if id(tensor) not in but:
                self._send_one(tensor)

    def _send_one(self, tensor: Tensor) -> None:
        if tensor in self._homes:
            tensor.data = self._homes.pop(tensor).to(tensor.dtype)  # where a VAE that overflows is in float32 for a while

    def _learn(self, unit: nn.Module) -> None:
        if self._last is not None and (last := self._last()) is not None:
            self._next[last] = ref(unit)
        self._last = ref(unit)

    def _following(self, unit: nn.Module) -> nn.Module | None:
        found = self._next.get(unit)
        return found() if found else None


class Entering:
    """A hook. A copied module tree keeps the shuttle: its tensors are its own, or shared."""

    def __init__(self, shuttle: Shuttle, stays: bool) -> None:
        self._shuttle, self._stays = shuttle, stays

    def __call__(self, module: nn.Module, args: Any) -> None:
        self._shuttle.enter(module, foresees=not self._stays)

    def __deepcopy__(self, memo: Any) -> "Entering":
        return self


class Leaving:
    def __init__(self, shuttle: Shuttle) -> None:
        self._shuttle = shuttle

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self._shuttle.leave(module)

    def __deepcopy__(self, memo: Any) -> "Leaving":
        return self


class Handing:
    """What a tree is called with follows its weights to the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, module: nn.Module, args: Any, named: Any) -> Any:
        return send_to_device(args, self._device), send_to_device(named, self._device)

    def __deepcopy__(self, memo: Any) -> "Handing":
        return self


HOOKS = (Entering, Leaving, Handing)


# ---------------------------------------------------------------- a whole model
def lay(components: Iterable[tuple[str, nn.Module]], weights: str, device: torch.device, small: int = SMALL) -> Shuttle | None:
    """From now on the components are used as this policy says; whatever held before is lifted first. None: all of them are on the device.

    weights: RESIDENT, COMPONENTS, GROUPS or SEQUENTIAL. small: bytes of a component that always stays on the device.
    """
    everything = list(components)
    for _, module in everything:
        lift(module)
    if weights == RESIDENT:
        for _, module in everything:
            place(tensors(module), device)
        return None
    shuttle = Shuttle(device)
    for name, module in everything:
        if memory.size([module]) <= small:
            place(tensors(module), device)
        else:
            _lay(name, module, weights, shuttle, device)
    return shuttle


def _lay(name: str, module: nn.Module, weights: str, shuttle: Shuttle, device: torch.device) -> None:
    level = level_of(name, memory.size([module]), weights)
    module.register_forward_pre_hook(Handing(device), with_kwargs=True)
    divided = list(units(module, UNITS[level]))
    moved = {id(tensor) for unit in divided for tensor in tensors(unit)}
    place((tensor for tensor in tensors(module) if id(tensor) not in moved), device)  # what belongs to no layer: small
    for unit in divided:
        place(tensors(unit), HOST, pinned=device.type == "cuda")
        unit.register_forward_pre_hook(Entering(shuttle, stays=level == COMPONENTS), prepend=True)  # before the layer's own hooks look at it
        if level != COMPONENTS:
            unit.register_forward_hook(Leaving(shuttle))


def level_of(name: str, size: int, weights: str) -> str:
    """In blocks is for denoisers, which are called again and again; the rest is called once and may come whole, but for the largest."""
    if weights != GROUPS or is_denoiser(name):
        return weights
    return SEQUENTIAL if size > LARGE_TEXTS and not is_vae(name) else COMPONENTS


def lift(module: nn.Module) -> None:
    """Takes our hooks off, in copied trees too."""
    for part in module.modules():
        for hooks in (part._forward_pre_hooks, part._forward_hooks):
            for number, hook in list(hooks.items()):
                if isinstance(hook, HOOKS):
                    del hooks[number]
                    part._forward_pre_hooks_with_kwargs.pop(number, None)


def place(wanted: Iterable[Tensor], device: torch.device, pinned: bool = False) -> None:
    """pinned: in memory that the card can read by itself, as far as the system gives such memory."""
    for tensor in wanted:
        if is_movable(tensor):
            if tensor.device.type != device.type:
                tensor.data = tensor.data.to(device)
            if pinned and not tensor.data.is_pinned():
                tensor.data = _pinned(tensor.data)


def _pinned(tensor: Tensor) -> Tensor:
    try:
        return tensor.pin_memory()
    except RuntimeError:  # no more of it: an ordinary transfer is slower and as right
        return tensor
