"""The tab PNG info: a picture from anywhere is read, and what it says can be sent to a tab."""

from typing import Any

import gradio as gr

from sd_ui.imaging import record
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import form, pictures, views
from sd_ui.ui.components.pictures import Given
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.quiet import HIDDEN
from sd_ui.ui.parts.sending import filled, said

Updates = dict[Any, Any]
NOTHING = "This picture does not say how it was made."


def wire(services: Services, layout: Layout) -> None:
    info = layout.png_info

    def read(given: Given | None, request: gr.Request) -> Updates:
        try:
            found = None if given is None else record.read(pictures.read(services, owner(request), "picture", given), "picture", services.limits)
        except BadRequest as wrong:
            return shown(None, "") | {info.message: views.wrong(wrong.field, wrong.why, {"picture": "Picture"})}
        if found is None:
            return shown(None, "") | {info.message: None}
        told = "" if found.record is None else record.to_json(found.record)
        message = found.fault or ("" if found.record or found.infotext else NOTHING)
        return shown(found, told) | {info.message: views.noted([message]) if message else None}

    def shown(found: record.Metadata | None, told: str) -> Updates:
        useful = found is not None and bool(found.record or found.infotext)
        buttons = {button: gr.Button(interactive=useful) for button in info.send.values()}
        return {info.text: found.infotext if found else "", info.record: told, info.found: found if useful else None} | buttons

    def send(mode: str, found: record.Metadata | None, given: dict[str, Any] | None, request: gr.Request) -> Any:
        if found is None:
            return gr.skip()
        own, values, notes = said(services, owner(request), found)
        if mode != own:
            values = {name: value for name, value in values.items() if name in form.SHARED}
            values |= {"init": given} if given and mode != "txt2img" else {}
        return filled(layout, mode, values) | {layout.message: views.noted(notes), layout.go: gr.Button(interactive=True)}

    info.picture.taken(read, info.picture, [info.text, info.record, info.found, info.message, *info.send.values()], **HIDDEN)
    outputs = [*layout.fields.values(), layout.tabs, layout.mode, layout.message, layout.go]
    for mode, button in info.send.items():

        def of_mode(found: record.Metadata | None, given: Given | None, request: gr.Request, mode: str = mode) -> Any:
            return send(mode, found, None if given is None else given.value, request)

        button.click(of_mode, [info.found, info.picture], outputs, **HIDDEN)
