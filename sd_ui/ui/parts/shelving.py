"""The tab Models: a question brings cards, a card brings everything that is known of it, and what people say of a model is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sd_ui.prompt import coined
from sd_ui.services import Services
from sd_ui.spec.cards import INVERSION, LORA, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.ui import shelf, views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts import choosing, wearing
from sd_ui.ui.parts.quiet import EACH, LAST

Updates = dict[Any, Any]
LABELS = {name: field.label for name, field in FIELDS.items()} | {"notes": "Notes"}
NOT_YOURS = "On a server that everybody may use, only whoever runs it can change what is said of its models."


@dataclass(frozen=True)
class Asked:
    """What the component says with every event; all of it comes from a browser. name: of the card that is open."""

    text: str
    kind: str
    family: str
    starred: bool
    count: int
    name: str

    @classmethod
    def of(cls, event: gr.EventData) -> "Asked":
        said = {name: str(getattr(event, name, None) or "")[:200] for name in ("text", "kind", "family")}
        count = getattr(event, "count", 0)
        most = min(max(count, shelf.PAGE), shelf.MOST) if type(count) is int else shelf.PAGE
        return cls(**said, starred=getattr(event, "starred", False) is True, count=most, name=str(getattr(event, "name", None) or ""))


def wire(services: Services, layout: Layout) -> None:
    library, shared, models = layout.library, layout.shared, services.models

    def look(event: gr.EventData) -> views.View:
        return seen(services, Asked.of(event))

    def star(event: gr.EventData) -> views.View:
        asked = Asked.of(event)
        return changed(services, asked, lambda: models.star(asked.name, getattr(event, "to", False) is True))

    def keep(event: gr.EventData) -> views.View:
        asked, values = Asked.of(event), getattr(event, "values", None)
        given = values if isinstance(values, dict) else {}
        return changed(services, asked, lambda: models.settle(asked.name, given, getattr(event, "notes", ""), services.limits), "Saved.")

    def again(event: gr.EventData) -> views.View:
        """The component presses the form's own button for this, too: that one brings the lists of the form up to date."""
        models.refresh()
        return seen(services, Asked.of(event))

    def use(prompt: str, negative_prompt: str, vae: str, event: gr.EventData) -> Updates:
        return used(services, layout, str(event.name), prompt, negative_prompt, vae)

    for asking, answer in ((library.look, look), (library.keep, keep), (library.star, star), (library.again, again)):
        asking(answer, None, library, **LAST)
    library.word(wearing.worded, shared["prompt"], shared["prompt"], **EACH)
    library.use(use, [shared["prompt"], shared["negative_prompt"], shared["vae"]], [*shared.values(), layout.tabs, layout.mode, layout.go], **EACH)


def seen(services: Services, asked: Asked, message: views.View | None = None) -> views.View:
    models, every = services.models, services.models.cards()
    found = models.find(asked.text, asked.kind, asked.family, asked.starred)
    hashes = {card.name: models.hashes.known(card.path) for card in found[: asked.count]}
    view = shelf.shelf(found, every, hashes, asked.count, not services.settings.open_to_all) | {"message": message}
    card = every.get(asked.name)
    if card is None:
        return view
    vaes = [other.name for other in every.values() if other.kind == "vae" and not other.fault]
    return view | {"detail": shelf.detail(card, models.usual(card.name).defaults, models.hashes.known(card.path), vaes)}


def changed(services: Services, asked: Asked, change: Callable[[], ModelCard], said: str = "") -> views.View:
    try:
        if services.settings.open_to_all:
            raise BadRequest("model", NOT_YOURS)
        change()
    except BadRequest as wrong:
        return seen(services, asked, views.wrong(wrong.field, wrong.why, LABELS))
    return seen(services, asked, {"kind": "note", "field": "", "text": said} if said else None)


def used(services: Services, layout: Layout, name: str, prompt: str, negative_prompt: str, vae: str) -> Updates:
    """The card is chosen in the form: a checkpoint with its settings, a VAE, or a LoRA or an embedding in the prompt."""
    cards = services.models.cards()
    card = cards.get(name)
    if card is None or card.fault:
        return {layout.go: gr.skip()}
    mode = next((mode for mode in card.modes if mode in views.MODES), "txt2img")
    shown: Updates = {layout.tabs: gr.Tabs(selected=mode), layout.mode: mode, layout.go: gr.Button(interactive=True)}
    if card.kind == LORA:
        return shown | {layout.shared["prompt"]: f"{prompt.rstrip()} {tag(card, cards.values())}".lstrip()}
    if card.kind == INVERSION:
        return shown | {layout.shared["prompt"]: wearing.with_word(prompt, coined.escaped(card.name))}
    if card.kind == "vae":
        return shown | {layout.shared["vae"]: name}
    return shown | {layout.shared["model"]: name} | choosing.best_of(layout, card, cards, negative_prompt, vae)


def tag(card: ModelCard, cards: Any) -> str:
    """The name is the shortest that means this LoRA alone."""
    stem = card.path.stem
    alone = sum(other.kind == LORA and other.path.stem.casefold() == stem.casefold() for other in cards) == 1
    return f"<lora:{stem if alone else card.name}:{card.beside.weight or 1:g}>"
