"""Generate and Cancel. A form becomes a job here; from then on it belongs to the worker, and this page only watches."""

from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.ui import follow, form, pictures, views
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.queueing import jobs_shown
from sd_ui.ui.parts.quiet import EACH

LABELS = {name: field.label for name, field in FIELDS.items()}


def wire(services: Services, layout: Layout) -> None:
    def generate(mode: str, request: gr.Request, **said: Any) -> dict[Any, Any]:
        mine = owner(request)
        try:
            values = pictures.taken(services, mine, form.values_of(mode, said))
            _, notes = services.intake.submit(mode, values, mine, form.delivery_of(said))
        except BadRequest as wrong:
            return {layout.message: views.wrong(wrong.field, wrong.why, LABELS)}
        return {layout.message: views.noted(notes), layout.queue: jobs_shown(services, mine), layout.cancel: gr.Button(interactive=True)}

    def cancel(request: gr.Request) -> dict[str, Any]:
        mine = owner(request)
        if job := follow.active(services, mine):
            services.queue.cancel(job.id, mine)
        return jobs_shown(services, mine)

    layout.cancel.click(cancel, None, layout.queue, **EACH)
    inputs: dict[str, Any] = {"mode": layout.mode} | layout.kept
    layout.go.click(generate, inputs_kwargs=inputs, outputs=[layout.message, layout.queue, layout.cancel], **EACH)
