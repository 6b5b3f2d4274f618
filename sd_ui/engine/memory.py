"""How much memory models take and how much there is; gives it back; makes large pictures fit."""

import ctypes
import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

LARGE = 1024 * 1024  # pixels; beyond it a VAE works in tiles
SHARE = {"cuda": 0.7, "cpu": 0.5}  # of all memory that models may fill; the rest is for the work itself, and for others
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def size(modules: Iterable[nn.Module]) -> int:
    """Bytes of their tensors; what several share counts once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for module in modules for tensor in module.state_dict().values()
    }
    return sum(storages.values())


def free(device: torch.device) -> int:
    """Bytes that nobody uses now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _container_limit())


def budget(device: torch.device) -> int:
    """Bytes that models may fill unless the user says otherwise."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1] * SHARE["cuda"])
    return int(min(psutil.virtual_memory().total, _container_limit()) * SHARE["cpu"])


def tidy(device: torch.device) -> None:
    """Hands memory that no object uses any more back to the system."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def economical(vae: Any, width: int, height: int) -> Iterator[None]:
    """Inside, a large picture passes through the VAE in tiles and slices; afterwards the VAE is as it was. width, height: pixels."""
    before = {name: getattr(vae, name) for name in ("use_tiling", "use_slicing") if hasattr(vae, name)}
    try:
        if width * height > LARGE:
            for name in before:
                setattr(vae, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def _container_limit() -> int:
    """What this container may use, where it is one: the machine's memory is not all ours then."""
    for path in CGROUP_LIMITS:
        try:
            return int(path.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return sys.maxsize
