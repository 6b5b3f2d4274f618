"""Models from a hub, in the tab Models: what a name would bring, and the fetching of it. Only for whom the settings let fill the disk."""

from typing import Any

import gradio as gr

from sd_ui.hub.console import described
from sd_ui.hub.downloads import Fetch
from sd_ui.hub.fetch import size
from sd_ui.hub.plan import Plan, Several
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import EACH, LAST

LABELS = {"hub": "Hugging Face"}
NOT_HERE = (
    "Others can reach this server, so nothing is fetched from the page. Start it with --allow-downloads to let everybody who may open it do so, "
    "or run on its machine: python -m sd_ui models get owner/name"
)
STATES = {"waiting": "Waits for the one before", "stopped": "Stopped", "done": "Here: it is among the models below"}


def wire(services: Services, layout: Layout) -> None:
    fetches, downloads = layout.fetches, services.downloads

    def look(event: gr.EventData) -> views.View:
        return seen(services)

    def plan(event: gr.EventData) -> views.View:
        return planned(services, getattr(event, "text", ""))

    def begin(event: gr.EventData) -> views.View:
        return done(services, lambda: downloads.begin(getattr(event, "text", "")))

    def act(event: gr.EventData) -> views.View:
        acts = {"stop": downloads.stop, "resume": downloads.resume, "discard": downloads.discard}
        chosen, key = acts.get(str(getattr(event, "act", ""))), str(getattr(event, "key", ""))
        return done(services, lambda: chosen(key) if chosen else None)

    fetches.look(look, None, fetches, **LAST)
    fetches.plan(plan, None, fetches, **LAST)
    for pressing, answer in ((fetches.begin, begin), (fetches.act, act)):
        pressing(answer, None, fetches, **EACH)


def seen(services: Services) -> views.View:
    """hidden: where there is nothing to be got, for anybody. why: it must not be got here, in words. answer: whether the rest answers a question."""
    settings = services.settings
    fetches = [fetch_view(one) for one in services.downloads.view()] if settings.may_download else []
    return {
        "hidden": bool(settings.space and not settings.may_download),
        "why": "" if settings.may_download else NOT_HERE,
        "hub": services.downloads.fetcher.hub.host,
        "fetches": fetches,
        "answer": False,
        "message": None,
        "plan": None,
        "choices": [],
    }


def planned(services: Services, text: Any) -> views.View:
    """What would be fetched, or which files there are to choose from, or why nothing can be."""
    try:
        if not services.settings.may_download:
            raise BadRequest("hub", NOT_HERE)
        found = services.downloads.plan(text)
    except Several as several:
        choices = [{"name": file.name, "size": size(file.size), "text": f"{several.id}/{file.name}"} for file in several.choices]
        said = {"kind": "note", "field": "", "text": f"{several.id} has {len(choices)} models; choose one:"}
        return seen(services) | {"answer": True, "message": said, "choices": choices}
    except BadRequest as wrong:
        return seen(services) | {"answer": True, "message": views.wrong(wrong.field, wrong.why, LABELS)}
    return seen(services) | {"answer": True, "plan": {"name": found.name, "said": offered(services, found)}}


def offered(services: Services, found: Plan) -> str:
    fetcher = services.downloads.fetcher
    there = fetcher.present(found)
    return described(found, fetcher.free(fetcher.models)) + (f"; {size(there)} of it are here already" if there else "")


def done(services: Services, what: Any) -> views.View:
    try:
        if not services.settings.may_download:
            raise BadRequest("hub", NOT_HERE)
        what()
    except BadRequest as wrong:
        return seen(services) | {"answer": True, "message": views.wrong(wrong.field, wrong.why, LABELS)}
    return seen(services)


def fetch_view(one: Fetch) -> views.View:
    share = one.done / one.total if one.total else 0.0
    return {"key": one.key, "name": one.name, "state": one.state, "share": share, "said": told(one, share)}


def told(one: Fetch, share: float) -> str:
    if one.state == "done":
        return f"{STATES['done']} ({size(one.total)})"
    facts = [STATES.get(one.state, ""), f"{size(one.done)} of {size(one.total)} ({share:.0%})"]
    if one.state == "running" and one.rate > 0:
        facts += [f"{size(int(one.rate))}/s", f"{left((one.total - one.done) / one.rate)} left"]
    return one.text if one.state == "failed" else " · ".join(filter(None, facts))


def left(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
