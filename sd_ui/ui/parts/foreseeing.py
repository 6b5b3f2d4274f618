"""Below Generate, while the form is being filled in: how long it would take, what it needs, and what would go wrong."""

from typing import Any

import gradio as gr

from sd_ui.jobs import foretold
from sd_ui.services import Services
from sd_ui.ui import form, views
from sd_ui.ui.components.pictures import PictureInput
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import LAST

PAUSE = "async (...values) => { await new Promise((done) => setTimeout(done, 300)); return values; }"  # of typing and sliding


def wire(services: Services, layout: Layout, page: gr.Blocks) -> None:
    asked = {name: widget for name, widget in layout.kept.items() if not isinstance(widget, PictureInput)}

    def foresee(mode: str, **said: Any) -> views.View | None:
        if mode not in views.MODES:
            return None
        report = services.foresight.preflight.of_form(mode, form.values_of(mode, said), form.delivery_of(said))
        return views.foreseen(foretold.plain(report))

    inputs: dict[str, Any] = {"mode": layout.mode} | asked
    changes = [page.load, layout.mode.change, layout.queue.change, layout.engine.change, *(widget.change for widget in asked.values())]
    gr.on(changes, foresee, inputs_kwargs=inputs, outputs=layout.foreseen, js=PAUSE, **LAST)
