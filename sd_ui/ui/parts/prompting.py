"""While a prompt is written: how many tokens it has in how many chunks, and what in it may not mean what its writer has in mind."""

import gradio as gr

from sd_ui.prompt import chunks, language, problems
from sd_ui.prompt.language import Timed
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import Sampling
from sd_ui.spec.samplers import SAMPLERS
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts import wearing
from sd_ui.ui.parts.quiet import LAST

PAUSE = "async (...values) => { await new Promise((done) => setTimeout(done, 250)); return values; }"  # of typing


def wire(services: Services, layout: Layout) -> None:
    shared = layout.shared
    others = [shared["model"], shared["emphasis"], shared["sampler"], shared["steps"]]
    for name, shown in layout.token_counts.items():

        def told(text: str, model: str, emphasis: str, sampler: str, steps: float | None, name: str = name) -> tuple[str, str]:
            calls = language.calls_of(Sampling(sampler, steps=int(steps))) if sampler in SAMPLERS and steps else 0
            return said(services, name, text, model, emphasis, calls)

        changes = [widget.change for widget in (shared[name], *others)]
        gr.on(changes, told, [shared[name], *others], [shown, layout.problems[name]], js=PAUSE, **LAST)


def said(services: Services, name: str, text: str, model: str, emphasis: str, calls: int) -> tuple[str, str]:
    """As markup: the count, and the problems. name: "prompt" or "negative_prompt". calls: of the model in a run, 0 where they are not known."""
    if not text:
        return "", ""
    negative = name == "negative_prompt"
    found = problems.found(text, calls, negative, emphasis, services.wording.wildcards)
    more = (*(() if negative else wearing.problems(services, model, text)), *wearing.misread(services, model, text))
    found = tuple(sorted((*found, *more), key=lambda problem: problem.start))
    try:
        return counted(services, model, text, negative, emphasis), views.problems(text, found)
    except BadRequest:  # a model that cannot count: Generate says what is wrong with it
        return "", views.problems(text, found)


def counted(services: Services, model: str, text: str, negative: bool, emphasis: str) -> str:
    """Of the longest of its texts: AND and schedules make several."""
    reader = services.models.reader(model)
    parts: tuple[Timed, ...] = language.negative(text, 1) if negative else language.positive(text, 1)
    words = wearing.vocabulary(services, model)
    cut = [language.chunked(each, words.within(each, reader.ids), reader.size, reader.comma, emphasis) for each in language.texts(parts)]
    longest = max(cut, key=lambda found: (len(found), chunks.used(found, reader.size)))
    return views.tokens(chunks.used(longest, reader.size), len(longest), reader.size, len(parts))
