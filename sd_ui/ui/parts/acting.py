"""What the buttons under a result do: its parameters or it itself go somewhere, the next pictures are made of it, or it goes."""

from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts import varying
from sd_ui.ui.parts.quiet import EACH
from sd_ui.ui.parts.sending import sent
from sd_ui.ui.watching import Watcher

Updates = dict[Any, Any]


def wire(services: Services, layout: Layout) -> None:
    def act(asked: int, event: gr.EventData, request: gr.Request) -> Updates:
        mine, picture = owner(request), str(event.id)
        if event.act == "delete":
            services.gallery.delete(picture, mine)
            return Watcher(services, layout, mine, asked).opened()
        if event.act in varying.ACTS:
            return varying.act(services, layout, mine, picture, str(event.act))
        return sent(services, layout, mine, picture, None if event.act == "use" else str(event.act))

    outputs = [*layout.fields.values(), layout.tabs, layout.mode, layout.message, layout.viewer, layout.text, layout.results, layout.queue]
    layout.viewer.act(act, layout.asked, [*outputs, layout.chosen, layout.cancel, layout.engine, layout.seen], **EACH)
