"""The editor of styles: all that there are, and those of one's own, which can be made, renamed, changed and deleted."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from sd_ui.prompt import styles
from sd_ui.prompt.styles import Style
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import EACH, LAST

NOT_YOURS = "On a server that everybody may use, only whoever runs it can write styles."
LABELS = {name: field.label for name, field in FIELDS.items()} | {"name": "Name"}
Updates = dict[Any, Any]


def wire(services: Services, layout: Layout) -> None:
    editor, chosen = layout.styles_editor, layout.shared["styles"]

    def look() -> views.View:
        return view(services)

    def keep(selected: Any, event: gr.EventData) -> Updates:
        name, prompt, negative, was = (text(event, part) for part in ("name", "prompt", "negative_prompt", "was"))
        style = Style(" ".join(name.split()), prompt, negative)
        said = f"{style.name} is kept."
        return changed(services, layout, selected, lambda: services.writing.styles.keep(style, was), said, {was: style.name}, style.name)

    def delete(selected: Any, event: gr.EventData) -> Updates:
        name = text(event, "name")
        return changed(services, layout, selected, lambda: services.writing.styles.delete(name), f"{name} is deleted.", {}, name)

    def use(selected: Any, event: gr.EventData) -> Any:
        known = list(services.wording.styles())
        return gr.Dropdown(choices=known, multiselect=True, value=still(services, [*(selected or []), text(event, "name")], {}))

    editor.look(look, None, editor, **LAST)
    editor.keep(keep, chosen, [editor, chosen], **EACH)
    editor.delete(delete, chosen, [editor, chosen], **EACH)
    editor.use(use, chosen, chosen, **EACH)


def text(event: gr.EventData, part: str) -> str:
    """What a browser says, whatever it is."""
    said = getattr(event, part, None)
    return said if isinstance(said, str) else ""


def view(services: Services, open_: str = "", message: views.View | None = None) -> views.View:
    """open_: the style that is shown."""
    every, own, why = services.wording.styles(), dict[str, Style](), NOT_YOURS if services.settings.open_to_all else ""
    try:
        own = services.writing.styles.read()
    except BadRequest as wrong:
        why = f"{LABELS[wrong.field]}: {wrong.why}"
    elsewhere = styles.read(tuple(place for place in services.wording.style_places if place != services.writing.styles.path))
    shown = [
        {
            "name": name,
            "prompt": style.prompt,
            "negative_prompt": style.negative_prompt,
            "own": name in own,
            "over": name in own and name in elsewhere,
        }
        for name, style in sorted(every.items(), key=lambda item: item[0] not in own)
    ]
    return {"styles": shown, "editable": not why, "why": why, "open": open_, "message": message}


def changed(services: Services, layout: Layout, selected: Any, change: Callable[[], None], said: str, renamed: dict[str, str], open_: str) -> Updates:
    """The editor and the form's list, after a change or its refusal."""
    try:
        if services.settings.open_to_all:
            raise BadRequest("styles", NOT_YOURS)
        change()
    except BadRequest as wrong:
        return {layout.styles_editor: view(services, open_, views.wrong(wrong.field, wrong.why, LABELS))}
    listed = gr.Dropdown(choices=list(services.wording.styles()), multiselect=True, value=still(services, selected or [], renamed))
    return {layout.styles_editor: view(services, open_, {"kind": "note", "field": "", "text": said}), layout.shared["styles"]: listed}


def still(services: Services, selected: list[str], renamed: dict[str, str]) -> list[str]:
    """What is selected, each once, under its present name, as far as it is there."""
    known = services.wording.styles()
    return [name for name in dict.fromkeys(renamed.get(name, name) for name in selected) if name in known]
