"""The tab PNG info: a picture from anywhere, or a pasted text, is read, and what it says can be sent to a tab."""

from typing import Any

import gradio as gr

from sd_ui.imaging import record
from sd_ui.imaging.record import Metadata
from sd_ui.recipes.recipe import left_over, understood
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import form, pictures, views
from sd_ui.ui.components.pictures import Given
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.quiet import HIDDEN, LAST
from sd_ui.ui.parts.sending import filled, recipe_of, said

Updates = dict[Any, Any]
NOTHING = "This picture does not say how it was made."
NO_RECIPE = "Nothing is known here that writes its recipes like this."
LONGEST_SHOWN = 50_000  # characters of a text in the page


def wire(services: Services, layout: Layout) -> None:
    info = layout.png_info

    def read(given: Given | None, request: gr.Request) -> Updates:
        try:
            found = None if given is None else record.read(pictures.read(services, owner(request), "picture", given), "picture", services.limits)
        except BadRequest as wrong:
            return shown(None) | {info.message: views.wrong(wrong.field, wrong.why, {"picture": "Picture"})}
        message = found and (found.fault or ("" if found.record or recipe_of(services, found) else NOTHING))
        return shown(found) | {info.message: views.noted([message]) if message else None}

    def read_text(pasted: str) -> Updates:
        found = Metadata(texts={"pasted": pasted}) if pasted.strip() else None
        strange = found and not recipe_of(services, found)
        return shown(found) | {info.message: views.noted([NO_RECIPE]) if strange else None}

    def shown(found: Metadata | None) -> Updates:
        recipe = found and recipe_of(services, found)
        lines = {info.understood: understood(recipe) if recipe else "", info.left_over: left_over(recipe) if recipe else ""}
        useful = bool(recipe or (found and found.record))
        text = (found.infotext or (recipe.text if recipe else ""))[:LONGEST_SHOWN] if found else ""
        told = record.to_json(found.record) if found and found.record else ""
        boxes = {box: gr.Textbox(value=value, visible=bool(value)) for box, value in lines.items()}
        buttons = {button: gr.Button(interactive=useful) for button in info.send.values()}
        return {info.text: text, info.record: told, info.found: found if useful else None} | boxes | buttons

    def send(mode: str, found: Metadata | None, given: dict[str, Any] | None, request: gr.Request) -> Any:
        if found is None:
            return gr.skip()
        own, values, notes = said(services, owner(request), found)
        if mode != own:
            values = {name: value for name, value in values.items() if name in form.SHARED}
            values |= {"init": given} if given and mode != "txt2img" else {}
        return filled(services, layout, mode, values) | {layout.message: views.noted(notes), layout.go: gr.Button(interactive=True)}

    shown_in = [info.text, info.understood, info.left_over, info.record, info.found, info.message, *info.send.values()]
    info.picture.taken(read, info.picture, shown_in, **HIDDEN)
    info.pasted.change(read_text, info.pasted, shown_in, **LAST)
    outputs = [*layout.fields.values(), layout.tabs, layout.mode, layout.message, layout.go]
    for mode, button in info.send.items():

        def of_mode(found: Metadata | None, given: Given | None, request: gr.Request, mode: str = mode) -> Any:
            return send(mode, found, None if given is None else given.value, request)

        button.click(of_mode, [info.found, info.picture], outputs, **HIDDEN)
