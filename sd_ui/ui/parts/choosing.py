"""What one choice means for the others: a model brings its best settings, a sampler its schedules, a ratio its sizes."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.samplers import AUTOMATIC
from sd_ui.ui import form, views
from sd_ui.ui.layout import Layout, folder_of_models, models_listed
from sd_ui.ui.owner import owner
from sd_ui.ui.parts import wearing
from sd_ui.ui.parts.quiet import EACH, HIDDEN, LAST, QUIET

Updates = dict[Any, Any]
COLOURS = """() => {
    const dark = !document.body.classList.contains('dark');
    localStorage.setItem('sdui.colours', dark ? 'dark' : 'light');
    document.body.classList.toggle('dark', dark);
}"""
SWAP = "(width, height) => [height, width]"


def wire(services: Services, layout: Layout, page: gr.Blocks) -> None:
    shared = layout.shared
    models(services, layout, page)
    sizes(services, layout)
    seeds(services, layout)
    for mode, tab in layout.tab.items():
        tab.select(lambda mode=mode: (mode, gr.Button(interactive=mode in views.MODES)), None, [layout.mode, layout.go], **LAST)
    shared["sampler"].input(matching, [shared["sampler"], shared["schedule"]], shared["schedule"], **LAST)
    layout.about.example(example, None, shared["prompt"], **EACH)
    layout.buttons["colours"].click(None, None, None, js=COLOURS, api_visibility="private")


def example(event: gr.EventData) -> str:
    return str(event.text)


def matching(sampler: str, schedule: str) -> gr.Dropdown:
    choices = form.schedules(sampler)
    return gr.Dropdown(choices=choices, value=schedule if schedule in choices else AUTOMATIC)


# ---------------------------------------------------------------- models
def models(services: Services, layout: Layout, page: gr.Blocks) -> None:
    shared = layout.shared
    best = {name: shared[name] for name in form.best(Defaults())}

    def chosen(model: str, negative_prompt: str, vae: str) -> Any:
        cards = services.models.cards()
        card = cards.get(model)
        return gr.skip() if card is None or card.fault else best_of(layout, card, cards, negative_prompt, vae)

    def told(model: str) -> views.View:
        return views.about(services.models.cards().get(model), folder_of_models(services))

    def refreshed(model: str, vae: str, refiner: str) -> Updates:
        services.models.refresh()
        return models_listed(layout, services.models.cards(), model, vae, refiner)

    said = [shared[name] for name in ("model", "negative_prompt", "vae")]
    shared["model"].input(chosen, said, list(best.values()), **LAST)
    gr.on([page.load, shared["model"].change], told, shared["model"], layout.about, **LAST)
    listed = [shared[name] for name in ("model", "vae", "refiner")]
    looked = layout.buttons["refresh"].click(refreshed, listed, [*listed, shared["refiner_switch_at"]], **HIDDEN)
    wearing.wire(services, layout, page, looked)


def best_of(layout: Layout, card: ModelCard, cards: Mapping[str, ModelCard], negative_prompt: str, vae: str) -> Updates:
    """A model's own settings for the form. What a person wrote is theirs, and so is a VAE, unless it came with another model."""
    values = form.best(card.defaults)
    values["negative_prompt"] = negative_prompt or values["negative_prompt"]
    if not card.stock and not card.defaults.vae and vae not in {other.defaults.vae for other in cards.values()}:
        values["vae"] = vae
    sampler = gr.Dropdown(choices=form.samplers(card), value=values["sampler"])
    schedule = gr.Dropdown(choices=form.schedules(values["sampler"]), value=values["schedule"])
    offered = {layout.shared["sampler"]: sampler, layout.shared["schedule"]: schedule}
    return {layout.shared[name]: value for name, value in values.items()} | offered


# ---------------------------------------------------------------- size and seed
def sizes(services: Services, layout: Layout) -> None:
    width, height = layout.shared["width"], layout.shared["height"]

    def of_ratio(ratio: str, model: str) -> tuple[int, int]:
        card = services.models.cards().get(model)
        return form.shaped(ratio, card.defaults if card else Defaults())

    for ratio, button in layout.ratios.items():
        button.click(lambda model, ratio=ratio: of_ratio(ratio, model), layout.shared["model"], [width, height], **EACH)
    layout.buttons["swap"].click(None, [width, height], [width, height], js=SWAP, api_visibility="private")


def seeds(services: Services, layout: Layout) -> None:
    def reuse(chosen: str, seed: str, request: gr.Request) -> str:
        mine = owner(request)
        picture = services.gallery.get(chosen, mine) or next(iter(services.gallery.pictures(mine, 1)), None)
        return seed if picture is None else str(picture.seed)

    seed = layout.shared["seed"]
    layout.buttons["random"].click(None, None, seed, js="() => '-1'", api_visibility="private")
    layout.buttons["reuse"].click(reuse, [layout.chosen, seed], seed, **QUIET)
