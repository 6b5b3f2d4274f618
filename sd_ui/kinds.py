"""How the values of settings are read, and what is allowed, in words."""

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Kind:
    """How a raw value is read (ValueError where it cannot be), and what is allowed, in words."""

    read: Callable[[Any], Any]
    allowed: str
    many: bool = False
    flag: bool = False
    separator: str = ","  # between several values in one environment variable


def whole(low: int, high: int) -> Kind:
    def read(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str) or not low <= int(raw) <= high:
            raise ValueError
        return int(raw)

    return Kind(read, f"a whole number from {low} to {high}")


def amount(low: float, high: float) -> Kind:
    def read(raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str) or not low <= float(raw) <= high:
            raise ValueError
        return float(raw)

    return Kind(read, f"a number from {low:g} to {high:g}")


def one_of(*names: str) -> Kind:
    def read(raw: Any) -> str:
        if raw not in names:
            raise ValueError
        return str(raw)

    return Kind(read, f"one of {', '.join(names)}")


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
        raise ValueError
    return raw.strip()


def _switch(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or raw.lower() not in TRUE + FALSE:
        raise ValueError
    return raw.lower() in TRUE


def _folder(raw: Any) -> Path:
    return Path(_text(raw)).expanduser()


def _device(raw: Any) -> str:
    name = _text(raw)
    kind, _, index = name.partition(":")
    if name not in DEVICES[:3] + DEVICES[4:] and not (kind == "cuda" and index.isdecimal()):
        raise ValueError
    return name


def _login(raw: Any) -> str:
    user, colon, password = _text(raw).partition(":")
    if not (user and colon and password):
        raise ValueError
    return f"{user}:{password}"


def _host(raw: Any) -> str:
    name = _text(raw).removeprefix("[").removesuffix("]").rstrip(".").lower()
    if not name or any(c in name for c in "/@ ?#,*") or (":" in name and not is_address(name)):
        raise ValueError
    return name


def _root_path(raw: Any) -> str:
    if raw == "":
        return ""
    path = _text(raw).rstrip("/")
    if not path.startswith(("/", "http://", "https://")):
        raise ValueError
    return path


SWITCH = Kind(_switch, "true or false", flag=True)
HOST = Kind(_host, "a host name or an address, without scheme and port")
HOSTS = replace(HOST, many=True)
FOLDER = Kind(_folder, "a folder")
FOLDERS = Kind(_folder, "folders", many=True, separator=os.pathsep)
FILES = Kind(_folder, "files", many=True, separator=os.pathsep)
STYLES = Kind(_folder, "files or folders", many=True, separator=os.pathsep)
LOGINS = Kind(_login, "user:password, both not empty", many=True)
ROOT_PATH = Kind(_root_path, "a path such as /sd, or a whole URL")
DEVICE = Kind(_device, f"one of {', '.join(DEVICES)}")
