"""Styles: texts under a name that are joined to a prompt, from A1111's styles.csv and from TOML."""

import csv
import io
import logging
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACE = "{prompt}"
LARGEST = 10_000_000  # bytes of a file
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Style:
    name: str
    prompt: str = ""
    negative_prompt: str = ""


def merged(text: str, styles: Iterable[str]) -> str:
    """Each style in turn: around the text where it has {prompt}, else behind it after a comma. As in AUTOMATIC1111's `styles.py`."""
    for style in styles:
        text = style.replace(PLACE, text) if PLACE in style else ", ".join(part for part in (text.strip(), style.strip()) if part)
    return text


# ---------------------------------------------------------------- files
def read(places: Sequence[Path]) -> dict[str, Style]:
    """By name, the last of a name wins. places: files, or folders of them. A file that makes no sense is left out, and the log says why."""
    found: dict[str, Style] = {}
    for path in (path for place in places for path in files(place)):
        try:
            found |= {style.name: style for style in parsed(path)}
        except (OSError, ValueError, csv.Error) as error:
            log.warning("%s is not used: %s", path.name, error)
    return found


def parsed(path: Path) -> Iterable[Style]:
    """Those of one file. Raises OSError, ValueError and csv.Error."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
    return _READERS[path.suffix.lower()](path.read_text(encoding="utf-8-sig"))


def files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.suffix.lower() in _READERS and path.is_file())
    return [place] if place.suffix.lower() in _READERS and place.is_file() else []


def _of_csv(text: str) -> Iterable[Style]:
    """Columns name, prompt, negative_prompt; in the oldest files name and text."""
    for row in csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True):
        if name := (row.get("name") or "").strip():
            yield Style(name, row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or "")


def _of_toml(text: str) -> Iterable[Style]:
    """A table for each style: [Name] with prompt and negative_prompt."""
    for name, said in tomllib.loads(text).items():
        yield Style(name, **_checked(name, said))


def _checked(name: str, said: Any) -> Mapping[str, str]:
    if not isinstance(said, dict) or said.keys() - {"prompt", "negative_prompt"} or not all(isinstance(value, str) for value in said.values()):
        raise ValueError(f"[{name}] is not a table of prompt and negative_prompt, both texts")
    return said


_READERS = {".csv": _of_csv, ".toml": _of_toml}
