"""The prompts that a person wrote before: searched as they type, and one of them back in the form. Everybody has a history of their own."""

from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.quiet import EACH, LAST

MOST = 60  # that are shown; a search finds the others
LONGEST = 200  # characters of a search
SHOWN = 600  # characters of a prompt in the list


def wire(services: Services, layout: Layout) -> None:
    shared = layout.shared

    def find(event: gr.EventData, request: gr.Request) -> views.View:
        return found(services, owner(request), str(getattr(event, "text", None) or "")[:LONGEST])

    def take(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        asked = services.writing.history.get(owner(request), str(getattr(event, "job", None) or ""))
        return {shared["prompt"]: gr.skip()} if asked is None else filled(services, layout, asked)

    layout.history.find(find, None, layout.history, **LAST)
    layout.history.take(take, None, [shared[name] for name in ("prompt", "negative_prompt", "styles")], **EACH)


def found(services: Services, mine: str, text: str) -> views.View:
    return {"text": text, "asked": [view(services, mine, asked) for asked in services.writing.history.find(mine, text, MOST)]}


def view(services: Services, mine: str, asked: Any) -> views.View:
    picture = next(iter(services.gallery.of_job(asked.job, mine)), None)
    return {
        "job": asked.job,
        "prompt": asked.prompt[:SHOWN],
        "negative": asked.negative_prompt[:SHOWN],
        "styles": list(asked.styles),
        "when": asked.created,
        "picture": f"pictures/{picture.id}/thumb" if picture else "",
    }


def filled(services: Services, layout: Layout, asked: Any) -> dict[Any, Any]:
    """Styles that are gone stay out: nothing could be generated with them."""
    known = services.wording.styles()
    styles = gr.Dropdown(choices=list(known), multiselect=True, value=[name for name in asked.styles if name in known])
    return {layout.shared["prompt"]: asked.prompt, layout.shared["negative_prompt"]: asked.negative_prompt, layout.shared["styles"]: styles}
