"""Strangers' JSON and values: looked at, never trusted. Nothing here raises, whatever comes in."""

import json
from collections.abc import Iterable
from pathlib import PureWindowsPath
from typing import Any

LONGEST = 16_000_000  # characters of a JSON text
LONGEST_VALUE = 300  # of a fact that is only shown
ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".gguf")


def parsed(text: str) -> Any:
    """The value of a JSON text; None for what is no JSON, too long, or nested too deeply. NaN, which some programs write, is None."""
    if len(text) > LONGEST or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def table(value: Any, *path: str) -> dict[str, Any]:
    """What is found along a path of keys if it is an object, else {}."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def words(value: Any) -> str:
    """Text that every output can carry; "" for what is none."""
    return clean(value) if isinstance(value, str) else ""


def joined(value: Any, mark: str) -> str:
    """A text, or texts in a list."""
    return mark.join(filter(None, map(words, rows(value)))) if isinstance(value, list) else words(value)


def clean(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def number(value: Any, default: float) -> float:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return default
    return found if abs(found) < 1e300 else default


def stem(name: Any) -> str:
    """A model's name without folders and ending: "SDXL\\\\x.safetensors" is "x"."""
    last = PureWindowsPath(words(name).strip()).name  # which takes both kinds of slashes
    ending = next((ending for ending in ENDINGS if last.lower().endswith(ending)), "")
    return last.removesuffix(last[len(last) - len(ending) :]) if ending else last


def shown(value: Any) -> str:
    """Any value in a line for human eyes."""
    try:
        text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    except (ValueError, RecursionError):
        return "a value that cannot be shown"
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def first(values: Iterable[Any]) -> Any:
    """The first that says something."""
    return next((value for value in values if value not in (None, "", [], {})), None)
