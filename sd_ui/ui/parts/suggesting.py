"""What the list of suggestions needs from the page: the name of the chosen model. What it suggests, `api.suggestions` answers."""

import gradio as gr

from sd_ui.ui.layout import Layout

TOLD = "(model) => { document.body.dataset.model = model; }"


def wire(layout: Layout, page: gr.Blocks) -> None:
    model = layout.shared["model"]
    gr.on([page.load, model.change], None, model, None, js=TOLD, api_visibility="private")
