"""The styles that the people of this server write on the page: one TOML file of their own. What comes with the program is never written to."""

import json
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from sd_ui import durable
from sd_ui.prompt import styles
from sd_ui.prompt.styles import Style
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS

LONGEST_NAME = 80  # characters
MOST = 2000  # styles
HEAD = "# Styles of your own. The page writes this file whole: comments in it are lost when a style is changed there.\n"
TEXTS = ("prompt", "negative_prompt")


class OwnStyles:
    """path: of the file, which is made when the first style is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()  # of two people who keep a style, neither loses the other's

    def read(self) -> dict[str, Style]:
        """By name. Raises BadRequest for a file that somebody damaged: whoever writes must not take what is in it away."""
        try:
            return {style.name: style for style in styles.parsed(self.path)} if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise BadRequest("styles", f"{self.path.name} cannot be read ({error}); mend it or take it away, it lies in {self.path.parent}") from None

    def keep(self, style: Style, was: str = "") -> None:
        """was: the name that it had; "" for a new one. Raises BadRequest, and changes nothing then."""
        style = checked(style)
        with self._lock:
            known = self.read()
            if style.name != was and style.name in known:
                raise BadRequest("name", f"{style.name!r} is the name of another style of yours; choose another one")
            if was not in known and len(known) >= MOST:
                raise BadRequest("name", f"{len(known)} styles are enough (at most {MOST}); delete one first")
            kept = {style.name if name == was else name: style if name == was else each for name, each in known.items()}
            self._write(kept | {style.name: style})

    def delete(self, name: str) -> None:
        """Raises BadRequest."""
        with self._lock:
            known = self.read()
            if name not in known:
                raise BadRequest("name", f"{name!r} is no style of yours")
            self._write({each: style for each, style in known.items() if each != name})

    def _write(self, kept: Mapping[str, Style]) -> None:
        data = written(kept).encode()
        if len(data) > styles.LARGEST:
            raise BadRequest("prompt", f"{len(kept)} styles are too long together (at most {styles.LARGEST // 1_000_000} MB); shorten or delete some")
        try:
            durable.write(self.path, data)
        except OSError as error:
            raise BadRequest("styles", f"cannot be kept: {self.path.name} cannot be written ({error.strerror})") from error


def checked(style: Style) -> Style:
    """Without spaces around it. Raises BadRequest that names the entry: "name", "prompt" or "negative_prompt"."""
    name = " ".join(style.name.split())
    if not name or len(name) > LONGEST_NAME:
        raise BadRequest("name", f"{name[:20]!r}{'...' * (len(name) > 20)} cannot be a name (1 to {LONGEST_NAME} characters)")
    if "," in name or not name.isprintable():
        raise BadRequest("name", f"{name!r} cannot be a name: it may hold no comma, which stands between styles, and nothing unprintable")
    texts = {each: getattr(style, each).strip() for each in TEXTS}
    for each, text in texts.items():
        most = int(FIELDS[each].high or 0)
        if len(text) > most:
            raise BadRequest(each, f"{len(text)} characters are too many (at most {most})")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise BadRequest(each, "has half of a character in it (a lone surrogate), which cannot be saved")
    if not any(texts.values()):
        raise BadRequest("prompt", "is empty, and so is the negative prompt: a style says something in at least one of them")
    return Style(name, **texts)


def written(kept: Mapping[str, Style]) -> str:
    """As TOML, which `styles` reads. TOML's texts are JSON's, but for one character."""
    tables = (f"\n[{_value(name)}]\n" + "".join(_row(each, getattr(style, each)) for each in TEXTS) for name, style in kept.items())
    return HEAD + "".join(tables)


def _row(name: str, text: str) -> str:
    return f"{name} = {_value(text)}\n" if text else ""


def _value(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
