"""What lies beside a model's file: a picture, and what other programs wrote down about it. Read as data; nothing is fetched."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sd_ui.models.kept import Kept
from sd_ui.spec.cards import Beside
from sd_ui.spec.codec import dump, load

PICTURES = (".preview.png", ".png", ".preview.jpg", ".jpg", ".preview.jpeg", ".jpeg", ".preview.webp", ".webp")
NOTES = (".json", ".metadata.json", ".civitai.info", ".cm-info.json")  # A1111's own, LoRA Manager's, Civitai Helper's, Stability Matrix's
LONGEST = 2**20  # bytes of notes
KEYS = {  # places in any of them, as they are met; the first that says something counts
    "title": ("model.name", "model_name", "ModelName"),
    "base": ("baseModel", "civitai.baseModel", "base_model", "BaseModel", "sd version"),
    "triggers": ("activation text", "trainedWords", "civitai.trainedWords", "TrainedWords"),
    "about": ("model.description", "description", "civitai.model.description", "modelDescription", "ModelDescription"),
    "notes": ("notes",),
    "weight": ("preferred weight",),
}
LENGTHS = {"title": 200, "base": 60, "triggers": 300, "about": 6000, "notes": 4000}  # characters
MOST_WORDS = 24
STRONGEST = 10.0  # of a weight
KEEP = ("\n", "\u200d")


class Surroundings:
    """Each folder is listed once. kept: what was read before."""

    def __init__(self, kept: Kept[Beside]) -> None:
        self._kept = kept
        self._folders: dict[Path, dict[str, os.DirEntry[str]]] = {}

    def of(self, path: Path) -> Beside:
        files = self._listed(path.parent)
        stem = (path.stem if path.suffix and not path.is_dir() else path.name).casefold()
        notes = [entry for end in NOTES if (entry := files.get(stem + end))]
        picture = next((entry.path for end in PICTURES if (entry := files.get(stem + end))), None)
        return Beside(**(vars(self._read(path, notes)) | {"preview": picture and Path(picture)}))

    def _read(self, path: Path, notes: list["os.DirEntry[str]"]) -> Beside:
        if not notes:
            return Beside()
        try:
            stamp = tuple((entry.path, status.st_size, status.st_mtime_ns) for entry in notes for status in (entry.stat(),))
            found = self._kept.get(path, stamp)
            if found is None:
                found = told([Path(entry.path).read_bytes() for entry in notes if entry.stat().st_size <= LONGEST])
                self._kept.put(path, stamp, found)
        except OSError:  # gone meanwhile
            return Beside()
        return found

    def _listed(self, folder: Path) -> dict[str, "os.DirEntry[str]"]:
        """Only what is really there: a link may lead anywhere."""
        if folder not in self._folders:
            try:
                with os.scandir(folder) as entries:
                    self._folders[folder] = {entry.name.casefold(): entry for entry in entries if entry.is_file(follow_symlinks=False)}
            except OSError:
                self._folders[folder] = {}
        return self._folders[folder]


def kept(file: Path | None) -> Kept[Beside]:
    return Kept(file, "beside, 1", dump, lambda path, raw: load(Beside, raw, "beside"))


def told(notes: list[bytes]) -> Beside:
    """Of the files' contents, the most important first. What is damaged says nothing."""
    said = [data for text in notes if isinstance(data := _parsed(text), dict)]
    found: dict[str, Any] = {field: next(filter(None, (_value(field, data, key) for data in said for key in KEYS[field])), None) for field in KEYS}
    return Beside(**{field: value for field, value in found.items() if value is not None})


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _value(field: str, data: Mapping[str, Any], key: str) -> Any:
    value = _at(data, key)
    if field == "triggers":
        return _words(value)
    if field == "weight":
        return float(value) if type(value) in (int, float) and 0 < abs(value) <= STRONGEST else None
    return _text(value, LENGTHS[field], markup=field == "about") if value != "Unknown" else ""


def _at(data: Any, key: str) -> Any:
    for name in key.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _words(value: Any) -> tuple[str, ...]:
    said = value if isinstance(value, list) else [value]
    words = [_text(word, LENGTHS["triggers"]).strip(" ,") for word in said]
    return tuple(dict.fromkeys(word for word in words if word))[:MOST_WORDS]


def _text(value: Any, most: int, markup: bool = False) -> str:
    """Without characters that turn, hide or break text. markup: it may have been written for a web page."""
    if not isinstance(value, str):
        return ""
    plain = "".join(_Plain.of(value[: 20 * most])) if markup and ("<" in value or "&" in value) else value
    safe = "".join(c if c.isprintable() or c in KEEP else " " for c in plain)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+", " ", safe)).strip()[:most]


class _Plain(HTMLParser):
    """The words of a description that was written for a web page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    @classmethod
    def of(cls, markup: str) -> Iterator[str]:
        parser = cls()
        with suppress(AssertionError):  # what Python's parser says of declarations that make no sense
            parser.feed(markup)
            parser.close()
        yield from parser.words

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.words += {"br": ["\n"], "p": ["\n\n"], "li": ["\n- "], "h1": ["\n\n"], "h2": ["\n\n"], "h3": ["\n\n"]}.get(tag, [])

    def handle_data(self, data: str) -> None:
        self.words.append(data)
