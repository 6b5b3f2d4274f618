"""What a file is that should be a model and is none: what servers send instead of one, what is still on its way, and what broke off."""

import html
import os
import re
import string
from collections.abc import Collection
from pathlib import Path

LOOK = 2048  # bytes from the beginning, about
SMALL = 64 * 1024  # bytes of a text that some server sent
QUOTED = 80  # characters of what such a text says
CONVERT = "loading it could run any program. Only safetensors are read; convert it"
BLANK = b"\xef\xbb\xbf \t\r\n"
MAGIC = (  # by their first bytes, since a name says nothing
    (b"PK\x03\x04", f"a pickle in a ZIP archive, as PyTorch saves them: {CONVERT}"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself: run git lfs pull, or download the file alone"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras saves them: only safetensors are read"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
MARKS = (".aria2", ".part", ".partial", ".crdownload", ".download", ".opdownload", ".incomplete", ".tmp", ".!qb")  # beside a file on its way
HUB = Path(".cache") / "huggingface" / "download"  # where huggingface_hub keeps what is on its way into a folder
HOLES = 0.02  # part of a file from which on what was never written is no chance


def said(start: bytes, size: int) -> str:
    """In words that follow on "the file is". start: the first bytes. size: of the whole."""
    if size == 0:
        return "empty: its download did not begin, or was broken off"
    for magic, what in MAGIC:
        if start.startswith(magic):
            return what
    if start[:1] == b"\x80" and start[1:2] in b"\x01\x02\x03\x04\x05":
        return f"a pickle: {CONVERT}"
    if not any(start):
        return "damaged: it begins with nothing but zeros (a download that was broken off, or still runs)"
    return message(start, size) or "damaged: it does not begin as a safetensors file does"


def message(start: bytes, size: int) -> str:
    """What a server sent that wanted a login, or did not have the file; "" where it is no text."""
    text = start.lstrip(BLANK)
    if text.startswith(b"<"):
        title = TITLE.search(text.decode("utf-8", "replace"))
        called = f" (“{quoted(html.unescape(title[1]))}”)" if title else ""
        return f"a web page instead of a model{called}: the download went wrong, perhaps it needs a login"
    if size > SMALL or not text:
        return ""
    try:
        words = text.decode("utf-8", "strict" if len(start) == size else "ignore")  # a character may be cut in two
    except UnicodeDecodeError:
        return ""
    if not all(c.isprintable() or c in string.whitespace for c in words):
        return ""
    return f"a text instead of a model (“{quoted(words)}”): the download went wrong, perhaps it needs a login"


def quoted(text: str) -> str:
    """Short, on one line, and without what turns or hides text."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= QUOTED else plain[: QUOTED - 1] + "…"


def arriving(path: Path, names: Collection[str]) -> str:
    """Whether something is still on its way, in words; "" where nothing tells so. names: of what lies in its folder."""
    mark = next((path.name + end for end in MARKS if path.name + end in names), "")
    if not mark and (path / HUB).is_dir():
        mark = next((f"{HUB.as_posix()}/{each.name}" for each in (path / HUB).rglob("*.incomplete")), "")
    return f"is still being downloaded, or that was broken off: {mark} is there" if mark else ""


def unwritten(path: Path) -> float:
    """Which part of a file was never written, 0 to 1: a download that was given its room at once, and was broken off. 0 where that cannot be told."""
    if not hasattr(os, "SEEK_HOLE"):
        return 0.0
    size, hole, holes = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        try:
            while hole < size:
                hole = os.lseek(file.fileno(), hole, os.SEEK_HOLE)
                if hole >= size:
                    break
                try:
                    data = os.lseek(file.fileno(), hole, os.SEEK_DATA)
                except OSError:  # ENXIO: nothing but a hole up to the end
                    data = size
                holes, hole = holes + data - hole, data
        except OSError:  # a file system that does not know
            return 0.0
    return holes / size if size else 0.0
