"""The page: what happens when something is pressed. It knows requests, events and widgets; it has never heard of torch."""

import gradio as gr

from sd_ui.services import Services
from sd_ui.ui import endpoints, keep_form, watching
from sd_ui.ui.layout import Layout, lay_out
from sd_ui.ui.parts import (
    acting,
    choosing,
    fetching,
    foreseeing,
    overseeing,
    prompting,
    queueing,
    reading,
    remembering,
    shelving,
    styling,
    submitting,
    suggesting,
)

TITLE = "SD UI"


def build(services: Services) -> gr.Blocks:
    """launch it with `theme.launch_options()`."""
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as page:
        layout = lay_out(services)
        wire(services, layout, page)
        endpoints.offer(services)
    page.queue(default_concurrency_limit=None)
    return page


def wire(services: Services, layout: Layout, page: gr.Blocks) -> None:
    submitting.wire(services, layout)
    watching.wire(services, layout, page)
    choosing.wire(services, layout, page)
    foreseeing.wire(services, layout, page)
    prompting.wire(services, layout)
    queueing.wire(services, layout)
    acting.wire(services, layout)
    reading.wire(services, layout)
    shelving.wire(services, layout)
    overseeing.wire(services, layout)
    remembering.wire(services, layout)
    styling.wire(services, layout)
    suggesting.wire(layout, page)
    fetching.wire(services, layout)
    keep_form.wire(services, layout, page)
