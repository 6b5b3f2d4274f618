"""Single values: raw in, of a field's type and within its range out, or a BadRequest in the user's words; and how values are shown in such words."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

from sd_ui.spec import fields
from sd_ui.spec.cards import Defaults
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, INTEGER, NAMES, NUMBER, SEED, TEXT, Field

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")  # owner/name


def read(field: Field, value: Any, defaults: Defaults, notes: list[str]) -> Any:
    """A raw value as the field's type, within its range. None and "" are the default."""
    if value is None or (value == "" and field.kind != TEXT):
        value = getattr(defaults, field.name, fields.default(field.name))
    match field.kind:
        case "text":
            return text(field, value, notes)
        case "names":
            return names(field, value)
        case "integer" | "seed":
            return within(field, whole(field, value), value)
        case "number":
            return within(field, number(field, value), value)
    raise AssertionError(field.kind)


def text(field: Field, value: Any, notes: list[str]) -> str:
    if not isinstance(value, str):
        raise BadRequest(field.name, f"{shown(value)} is not text")
    if len(value) > (field.high or math.inf):
        raise BadRequest(field.name, f"{len(value)} characters are too many (at most {field.high:.0f})")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise BadRequest(field.name, "has half of a character in it (a lone surrogate), which cannot be saved")
    if "\0" in value:
        notes.append(f"{field.label}: NUL characters were removed.")
    return value.replace("\0", "")


def names(field: Field, value: Any) -> tuple[str, ...]:
    """A list, or a text with commas between the names."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise BadRequest(field.name, f"{shown(value)} is not a list of names ({allowed(field)})")
    said = tuple(dict.fromkeys(name.strip() for name in found if name.strip()))
    if len(said) > (field.high or math.inf):
        raise BadRequest(field.name, f"{len(said)} are too many ({allowed(field)})")
    return said


def whole(field: Field, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,39}\s*", value):
        return int(value)  # not by way of a float, which would blur seeds above 2^53
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    near = number(field, value)
    if near != int(near):
        raise BadRequest(field.name, f"{shown(value)} is not a whole number ({allowed(field)})")
    return int(near)


def number(field: Field, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        result = float(value)
    except (ValueError, OverflowError):
        raise BadRequest(field.name, f"{shown(value)} is not a number ({allowed(field)})") from None
    if not math.isfinite(result):
        raise BadRequest(field.name, f"{shown(value)} is not a finite number ({allowed(field)})")
    return result


def within(field: Field, value: Any, said: Any) -> Any:
    """said: the value as it was sent, which is what a message shows."""
    low, high = field.low, field.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise BadRequest(field.name, f"{shown(said)} is out of range ({allowed(field)})")
    return value


def choice(name: str, value: Any, default: str) -> str:
    choices = FIELDS[name].choices
    asked = value if given(value) else default
    found = {c.casefold(): c for c in choices}.get(printable(asked).casefold())
    if found is None:
        raise BadRequest(name, unknown(asked, choices))
    return found


def given(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value == "")


def allowed(field: Field) -> str:
    if field.kind == SEED:
        return "-1 for a random one, or 0 to 2^64-1"
    if field.kind in (INTEGER, NUMBER):
        return f"{field.low:g} to {field.high:g}"
    if field.kind == NAMES:
        return f"names, with commas between them, at most {field.high:g}"
    return f"at most {field.high:g} characters"


def unknown(value: Any, known: Iterable[str]) -> str:
    """A name that is not in the table: say so, with the nearest ones."""
    names = list(known)
    near = difflib.get_close_matches(printable(value)[:80], names, n=3, cutoff=0.4)
    listed = f"did you mean {', '.join(near)}?" if near else f"known are: {', '.join(names[:30])}"
    return f"{shown(value)} is not known; {listed}"


def unknown_model(value: Any, known: Iterable[str]) -> str:
    """One that could be on a hub is not fetched for the asking: gigabytes are a person's decision."""
    said = unknown(value, known)
    if not isinstance(value, str) or not HUB_ID.fullmatch(value):
        return said
    stop = "" if said.endswith("?") else "."
    return f"{said}{stop} If it is a model of huggingface.co, get it in the tab Models, or with: python -m sd_ui models get {value}"


def shown(value: Any) -> str:
    """A raw value inside a message: text in quotes, and nothing long."""
    text = printable(repr(value[:80]) if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def printable(value: Any) -> str:
    """Any value as text that every output can carry: half characters are spelled out, and what cannot be written is described."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except (ValueError, RecursionError):  # whole numbers of thousands of digits; lists thousands deep
        return f"{type(value).__name__} too long to be shown"
