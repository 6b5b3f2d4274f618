"""The LoRA panel: those that go with the chosen model, whose tags and words go into the prompt; and what is wrong with tags in it."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from sd_ui.prompt import networks
from sd_ui.prompt.problems import Problem
from sd_ui.services import Services
from sd_ui.spec.cards import LORA
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import EACH, LAST, QUIET


def wire(services: Services, layout: Layout, page: gr.Blocks, refreshed: Any) -> None:
    """refreshed: the event of a look for new models."""
    prompt, model = layout.shared["prompt"], layout.shared["model"]

    def listed(model: str) -> views.View:
        every = [card for card in services.models.cards().values() if card.kind == LORA]
        return views.loras(services.models.loras(model), every)

    gr.on([page.load, model.change], listed, model, layout.loras, **LAST)
    refreshed.then(listed, model, layout.loras, **QUIET)
    layout.loras.tag(tagged, prompt, prompt, **EACH)
    layout.loras.word(worded, prompt, prompt, **EACH)


def tagged(prompt: str, event: gr.EventData) -> str:
    return f"{prompt.rstrip()} <lora:{event.name}:{float(event.weight):g}>".lstrip()


def worded(prompt: str, event: gr.EventData) -> str:
    """Before tags that stand at the end, where a person would write it."""
    before, mark, tags = prompt.rstrip().partition(" <lora:") if prompt.rstrip().endswith(">") else (prompt.rstrip(), "", "")
    return f"{before}, {event.text}".removeprefix(", ") + mark + tags


def problems(services: Services, model: str, prompt: str) -> Iterator[Problem]:
    """Of the tags, before Generate refuses them. A name that a wildcard or a choice still has to make is left alone."""
    for tag in networks.asked(prompt):
        why = tag.fault
        if not why and not any(mark in tag.name for mark in ("{", "}", "__", "$")):
            try:
                why = services.models.misfit(model, networks.named(tag.name, services.models.cards()).name)
            except BadRequest as wrong:
                why = wrong.why
        if why:
            yield Problem(tag.start, tag.end, why, fatal=True)
