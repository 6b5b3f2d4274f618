"""The queue panel: one's own jobs, each with its buttons."""

import gradio as gr

from sd_ui.services import Services
from sd_ui.ui import follow, views
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.quiet import EACH

PLACES = {"up": -1, "down": 1}


def jobs_shown(services: Services, mine: str) -> views.View:
    return views.queue(services.queue.jobs(mine, follow.ACTIVE), services.foresight.waits.of_each())


def wire(services: Services, layout: Layout) -> None:
    def act(event: gr.EventData, request: gr.Request) -> views.View:
        mine, job = owner(request), str(event.id)
        if event.act == "cancel":
            services.queue.cancel(job, mine)
        elif event.act in PLACES:
            services.queue.move(job, mine, PLACES[event.act])
        return jobs_shown(services, mine)

    layout.queue.act(act, None, layout.queue, **EACH)
