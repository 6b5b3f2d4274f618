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
ECONOMIES = frozenset({"use_tiling", "use_slicing"})
TILES = frozenset({"tile_sample_min_size", "tile_latent_min_size"})
SHARE = {"cuda": 0.7, "cpu": 0.5}  # of all memory that models may fill; the rest is for the work itself, and for others
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def size(modules: Iterable[nn.Module], device: torch.device | None = None) -> int:
    """Bytes of their tensors; what several share counts once. device: only of those that lie there."""
    tensors = (tensor for module in modules for tensor in module.state_dict(keep_vars=True).values())
    wanted = (tensor.untyped_storage() for tensor in tensors if device is None or tensor.device.type == device.type)
    return sum({storage.data_ptr(): storage.nbytes() for storage in wanted}.values())


def is_apart(device: torch.device) -> bool:
    """Whether it has a memory of its own, so that weights can wait in another. An Apple GPU computes in main memory."""
    return device.type not in ("cpu", "mps")


def free(device: torch.device) -> int:
    """Bytes that nobody uses now; what torch keeps of them for later counts, too."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return min(psutil.virtual_memory().available, _container_limit())


def budget(device: torch.device) -> int:
    """Bytes that models may fill unless the user says otherwise."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1] * SHARE["cuda"])
    return int(min(psutil.virtual_memory().total, _container_limit()) * SHARE["cpu"])


def limit(device: torch.device, most: int) -> None:
    """From now on torch takes no more of a card than so many bytes, and is out of memory beyond; 0: as much as there is."""
    if device.type == "cuda" and most:
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / torch.cuda.mem_get_info(index)[1]), index)


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


def settle() -> None:
    """Once, when everything is imported: that lives as long as the process, and to look through it at each swap would take a third of a second."""
    gc.collect()
    gc.freeze()


@contextmanager
def economical(vae: Any, width: int, height: int) -> Iterator[None]:
    """Inside, a large picture passes through the VAE in tiles and slices; afterwards the VAE is as it was. width, height: pixels.

    A VAE that is told to work in tiles before does so with smaller pictures, too: in tiles that are smaller than they.
    """
    before = {name: getattr(vae, name) for name in (*ECONOMIES, *TILES) if hasattr(vae, name)}
    try:
        if before.get("use_tiling") and before.keys() >= TILES:
            _small_tiles(vae, 512 if width * height > 512**2 else 256)
        if width * height > LARGE or before.get("use_tiling"):
            for name in before.keys() & ECONOMIES:
                setattr(vae, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def _small_tiles(vae: Any, side: int) -> None:
    """side: pixels, at most."""
    cells = vae.tile_sample_min_size // vae.tile_latent_min_size  # pixels to a cell of latents
    vae.tile_sample_min_size = min(vae.tile_sample_min_size, side)
    vae.tile_latent_min_size = vae.tile_sample_min_size // cells


def _container_limit() -> int:
    """What this container may use, where it is one: the machine's memory is not all ours then."""
    for path in CGROUP_LIMITS:
        try:
            return int(path.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return sys.maxsize
