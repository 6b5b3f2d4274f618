"""Where the arithmetic happens and how precisely, and what the page says about it."""

import platform
from dataclasses import dataclass

import torch

from sd_ui.spec.errors import BadRequest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SHORT = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
AUTO = "auto"


@dataclass(frozen=True)
class Place:
    """mapped: what is loaded comes from files of our own that nobody changes, so weights may stay where they lie."""

    device: torch.device
    dtype: torch.dtype
    mapped: bool = False

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose(device: str = AUTO, dtype: str = AUTO) -> Place:
    """device: "auto", "cpu", "cuda", "cuda:1", "mps" ... dtype: "auto", "float32", "fp16" ... Raises BadRequest("device" or "dtype")."""
    where = torch.device(_best() if device == AUTO else _existing(device))
    return Place(where, _dtype(dtype, where))


def facts(place: Place) -> dict[str, str]:
    """For the page and `doctor`."""
    return {
        "device": _name(place.device),
        "dtype": place.dtype_name,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _existing(name: str) -> str:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # torch says "no such thing" in all three ways
        here = ", ".join(["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *(["mps"] if _best() == "mps" else [])])
        raise BadRequest("device", f"{name!r} is not on this machine; there are {here}") from None
    return name


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == AUTO:
        return torch.float16 if device.type == "cuda" else torch.float32
    found = DTYPES.get(SHORT.get(name, name))
    if found is None:
        raise BadRequest("dtype", f"{name!r} is not known; known are {', '.join([AUTO, *DTYPES, *SHORT])}")
    if found == torch.float16 and device.type == "cpu":
        raise BadRequest("dtype", "float16 on the CPU is slower than float32 and overflows; use float32 (or bfloat16)")
    return found


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return {"cpu": f"CPU ({platform.machine()})", "mps": "Apple GPU"}.get(device.type, str(device))
