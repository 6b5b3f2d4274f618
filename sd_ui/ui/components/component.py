"""How our own components are made: markup from static/<name>.html, behaviour from static/<name>.js, a JSON value between them and Python."""

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

STATIC = Path(__file__).parent.parent / "static"


def static(name: str) -> str:
    return (STATIC / name).read_text("utf-8")


class Component(gr.HTML):
    """Whatever a user wrote reaches the document by textContent only: the markup is fixed, and the value is never put into it."""

    files: ClassVar[str]

    def __init__(self, value: Any = None, **kwargs: Any) -> None:
        markup, script = static(f"{self.files}.html"), static(f"{self.files}.js")
        super().__init__(value=value, html_template=markup, js_on_load=script, apply_default_css=False, **kwargs)

    def preprocess(self, payload: Any) -> Any:
        return payload

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}


class Viewer(Component):
    """The large picture: every step of a running job, its progress, and the picture that a person chose. Values: `ui.views`."""

    files = "viewer"


class Results(Component):
    """Thumbnails of one's own pictures. {"pictures": [{id, seed, width, height}], "more": bool}"""

    files = "results"


class QueuePanel(Component):
    """One's own jobs that wait or run. {"jobs": [{id, number, state, text, note}]}"""

    files = "queue"


class Message(Component):
    """What was wrong with what was asked, or what was changed on the way in. {"kind": "error" | "note", "field", "text"} or None."""

    files = "message"


class Foreseen(Component):
    """What Generate would bring. {"text", "lines": [{"severity": "note" | "warn" | "refuse", "field", "text"}]} or None."""

    files = "foreseen"


class EngineLine(Component):
    """{"phase": "starting" | "ready" | "failed", "text", "facts": {name: text}}"""

    files = "engine"


class About(Component):
    """What a model is and can draw. {"title", "text", "examples": [text], "strip": data-URI of a picture for each example or "", "hint"}"""

    files = "about"


class LoraPicker(Component):
    """LoRAs and embeddings to choose from. {"loras": [{name, facts, words: [text], weight, preview: URL}], "others": how many are for other models,
    "embeddings": likewise, "other_embeddings"}
    """

    files = "loras"


class History(Component):
    """Prompts that one wrote before. {"asked": [{job, prompt, negative, styles: [name], when, picture: URL}], "text": that was searched for}"""

    files = "history"


class StylesEditor(Component):
    """Styles to look at, and to write. {"styles": [{name, prompt, negative_prompt, own, over}], "editable", "why", "open": name, "message"}"""

    files = "styles"


class Library(Component):
    """Models: a searchable shelf of cards, and everything that is known of one of them. Values: `ui.shelf`."""

    files = "library"


class Fetches(Component):
    """Models that come from a hub. Values: `ui.parts.fetching.seen`."""

    files = "fetches"


class SystemPanel(Component):
    """The machine: what is missing, what was measured, and facts in sections. Values: `ui.parts.overseeing`."""

    files = "system"


class DepthMap(Component):
    """The depth map that the last run used. {"src": data-URI} or None."""

    files = "depth_map"
