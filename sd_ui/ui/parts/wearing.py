"""The panel of LoRAs and embeddings: those that go with the chosen model, which a press puts into a prompt; and what is wrong with them in it."""

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from sd_ui.prompt import coined, networks
from sd_ui.prompt.coined import Vocabulary
from sd_ui.prompt.problems import Problem
from sd_ui.services import Services
from sd_ui.spec.cards import INVERSION, LORA
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import EACH, LAST, QUIET


def wire(services: Services, layout: Layout, page: gr.Blocks, refreshed: Any) -> None:
    """refreshed: the event of a look for new models."""
    prompt, model = layout.shared["prompt"], layout.shared["model"]

    def listed(model: str) -> views.View:
        cards = services.models.cards().values()
        worn = views.loras(services.models.loras(model), [card for card in cards if card.kind == LORA])
        return worn | views.embeddings([card for card in cards if card.kind == INVERSION and not card.fault], vocabulary(services, model))

    gr.on([page.load, model.change], listed, model, layout.loras, **LAST)
    refreshed.then(listed, model, layout.loras, **QUIET)
    layout.loras.tag(tagged, prompt, prompt, **EACH)
    layout.loras.word(worded, prompt, prompt, **EACH)
    negative = layout.shared["negative_prompt"]
    layout.loras.coin(coined_in, prompt, prompt, **EACH)
    layout.loras.coin_negative(coined_in, negative, negative, **EACH)


def tagged(prompt: str, event: gr.EventData) -> str:
    return f"{prompt.rstrip()} <lora:{event.name}:{float(event.weight):g}>".lstrip()


def coined_in(prompt: str, event: gr.EventData) -> str:
    """An embedding's name, with its weight in brackets where it has one."""
    name, weight = coined.escaped(str(event.name)), float(event.weight)
    return with_word(prompt, name if weight == 1 else f"({name}:{weight:g})")


def worded(prompt: str, event: gr.EventData) -> str:
    return with_word(prompt, str(event.text))


def with_word(prompt: str, word: str) -> str:
    """Before tags that stand at the end, where a person would write it."""
    before, mark, tags = prompt.rstrip().partition(" <lora:") if prompt.rstrip().endswith(">") else (prompt.rstrip(), "", "")
    return f"{before}, {word}".removeprefix(", ") + mark + tags


def vocabulary(services: Services, model: str) -> Vocabulary:
    """The embeddings that there are, for one model; none where its tokens cannot be counted."""
    try:
        return coined.vocabulary(services.models.cards().values(), services.models.text_widths(model), services.models.reader(model).size)
    except BadRequest:
        return Vocabulary()


def misread(services: Services, model: str, prompt: str) -> Iterator[Problem]:
    """Names of embeddings that are read as plain words. What a wildcard or a choice still has to make is left alone."""
    known = vocabulary(services, model)
    if not known.entries and coined.PREFIX not in prompt.lower():
        return
    for start, end, name in known.unknown(prompt):
        if "__" not in name and "$" not in name:
            yield Problem(start, end, f"the embedding {name} is not here; it is read as plain words")
    for entry in known.strangers(prompt, services.models.reader(model).ids):
        start, end = place_of(entry.names, prompt)
        yield Problem(start, end, f"the embedding {entry.word.name} is read as plain words: {entry.misfit}")


def place_of(names: Sequence[str], prompt: str) -> tuple[int, int]:
    """Of the first of the names that stands there as it is; else the whole prompt."""
    text = prompt.lower()
    return next(((at, at + len(name)) for name in names if (at := text.find(name.lower())) >= 0), (0, len(prompt)))


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
