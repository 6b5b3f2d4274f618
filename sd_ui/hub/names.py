"""What people write to name a model of a hub: owner/name, a file in it, or the address of its page."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sd_ui.spec.errors import BadRequest
from sd_ui.spec.values import given, shown

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,98}[A-Za-z0-9])?")
PAGES = ("tree", "blob", "resolve", "raw")  # what stands between a repository and a revision in an address
OTHERS = ("datasets", "spaces", "papers", "docs", "collections", "models", "api")
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # that Windows takes for something else than a file
LONGEST = 200  # characters of a file's name with its folders


@dataclass(frozen=True)
class Wanted:
    """id: owner/name. revision: a branch, a tag or a commit; "" for what is there now. file: one of its files, "" for the model as a whole."""

    id: str
    revision: str = ""
    file: str = ""


def parsed(text: Any, hosts: Iterable[str] = HOSTS, revision: str = "") -> Wanted:
    """owner/name, owner/name@revision, owner/name/file.safetensors, or an address on one of the hosts. Raises BadRequest("hub")."""
    if not isinstance(text, str) or not given(text):
        raise BadRequest("hub", "is empty; write owner/name, as on the page of the model")
    said = text.strip().removeprefix("hf://")
    if "://" in said or said.split("/")[0].casefold() in hosts:
        said = _path(said, tuple(hosts))
    elif said.startswith("/"):
        raise BadRequest("hub", f"{shown(said)} is a place on this machine; put models into the models folder yourself")
    path, _, at = said.partition("@")
    owner, name, *rest = [*path.strip("/").split("/"), ""][: max(2, path.strip("/").count("/") + 1)]
    if len(rest) > 1 and rest[0] in PAGES:
        at, rest = at or rest[1], rest[2:]
    wanted = Wanted(f"{owner}/{name}", revision or at, "/".join(rest).strip("/"))
    return _checked(wanted, text)


def safe(name: str) -> bool:
    """Whether a file of a repository stays in the folder where it is put, on every system, and is seen there."""
    parts = name.split("/")
    plain = name.isprintable() and not any(c in '\\:*?"<>|' for c in name) and 0 < len(name) <= LONGEST and len(parts) <= 4
    return plain and all(
        part and not part.startswith((".", " ", "~")) and part == part.rstrip(". ") and not DEVICES.fullmatch(part) for part in parts
    )


def _path(said: str, hosts: tuple[str, ...]) -> str:
    try:
        url = urlsplit(said if "://" in said else f"https://{said}")
        known = url.scheme in ("http", "https") and (url.hostname or "") in hosts
    except ValueError:
        known = False
    if not known:
        raise BadRequest("hub", f"{shown(said)} is not an address of {hosts[0]}; nothing is fetched from elsewhere")
    path = unquote(url.path).strip("/")
    if path.split("/")[0] in OTHERS:
        raise BadRequest("hub", f"{shown(said)} is not the address of a model")
    return path


def _checked(wanted: Wanted, text: str) -> Wanted:
    if not all(PART.fullmatch(part) for part in wanted.id.split("/")):
        raise BadRequest("hub", f"{shown(text)} does not name a model; write owner/name, owner/name/file.safetensors, or the address of its page")
    if wanted.revision and (not REVISION.fullmatch(wanted.revision) or ".." in wanted.revision):
        raise BadRequest("hub", f"{shown(wanted.revision)} is not a revision: a branch, a tag or a commit")
    if wanted.file and not safe(wanted.file):
        raise BadRequest("hub", f"{shown(wanted.file)} is not the name of a file that may be fetched")
    return wanted
