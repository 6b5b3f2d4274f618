"""Frozen dataclasses to plain JSON values and back. Defaults are written too: an old record must not change its meaning with them."""

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

KIND = "kind"  # names the alternative where a field may be one of several dataclasses


def dump(value: Any, hint: Any = None) -> Any:
    """A dataclass as dicts, lists, strings, numbers, booleans and None. hint: its declared type, where it may be one of several."""
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        data = {f.name: dump(getattr(value, f.name), hints[f.name]) for f in fields(value)}
        return {KIND: _name(type(value)), **data} if len(_kinds(hint)) > 1 else data
    if isinstance(value, tuple):
        return [dump(v, get_args(hint)[0]) for v in value]
    return value


def load(hint: Any, data: Any, where: str = "request") -> Any:
    """The inverse of dump. Raises ValueError that names the place, for what is unknown, missing or of another type."""
    if isinstance(hint, UnionType):
        return _load_alternative(hint, data, where)
    if is_dataclass(hint):
        return _load_dataclass(hint, data, where)
    if get_origin(hint) is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{where}: {data!r:.80} is not a list")
        return tuple(load(get_args(hint)[0], v, f"{where}[{i}]") for i, v in enumerate(data))
    if hint is float and type(data) is int and abs(data) < 2**53:
        return float(data)
    if type(data) is not hint:
        raise ValueError(f"{where}: {data!r:.80} is not {hint.__name__}")
    return data


def _load_alternative(hint: UnionType, data: Any, where: str) -> Any:
    kinds = _kinds(hint)
    if data is None and NoneType in get_args(hint):
        return None
    if len(kinds) == 1:
        return load(kinds[0], data, where)
    kind = {_name(k): k for k in kinds}.get(str(data.get(KIND))) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError(f"{where}.{KIND}: expected one of {', '.join(map(_name, kinds))}")
    return load(kind, {k: v for k, v in data.items() if k != KIND}, where)


def _load_dataclass(hint: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: {data!r:.80} is not an object")
    hints = _hints(hint)
    if unknown := data.keys() - hints.keys():
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}")
    required = {f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING}
    if missing := required - data.keys():
        raise ValueError(f"{where}: missing {', '.join(sorted(missing))}")
    return hint(**{k: load(hints[k], v, f"{where}.{k}") for k, v in data.items()})


def _kinds(hint: Any) -> list[type]:
    return [k for k in get_args(hint) if k is not NoneType] if isinstance(hint, UnionType) else []


def _name(kind: type) -> str:
    return kind.__name__.lower()


_hints = cache(get_type_hints)
