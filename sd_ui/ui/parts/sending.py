"""A result's parameters go back into the form, and the result itself to another tab."""

from typing import Any

import gradio as gr

from sd_ui.imaging.record import Metadata
from sd_ui.recipes import finding
from sd_ui.recipes.read import read
from sd_ui.recipes.recipe import Recipe
from sd_ui.services import Services
from sd_ui.spec.fields import FIELDS, SEED
from sd_ui.spec.limits import Limits
from sd_ui.spec.made import Record
from sd_ui.ui import form, pictures, views
from sd_ui.ui.components.pictures import result_of
from sd_ui.ui.layout import Layout

Updates = dict[Any, Any]


def sent(services: Services, layout: Layout, mine: str, picture: str, target: str | None) -> Updates:
    """target: the tab that gets the picture itself as its start; None: everything goes back to where it came from."""
    found = pictures.metadata(services, mine, picture)
    if found is None:
        return {layout.message: {"kind": "error", "field": "", "text": "This picture is no longer there."}}
    mode, values, notes = said(services, mine, found)
    if target in views.MODES and target is not None:
        kept, shown = {name: value for name, value in values.items() if name in form.SHARED}, services.gallery.get(picture, mine)
        values, mode = kept | (size_of(shown.width, shown.height, services.limits) if shown else {}) | {"init": result_of(picture)}, target
    return filled(services, layout, mode, values) | {layout.message: views.noted(notes)}


def size_of(across: int, down: int, limits: Limits) -> dict[str, int]:
    """Width and height at which a picture stays as large as it is: a second pass or a window made it larger than its request says.

    Nothing where the server allows no such size.
    """
    width, height = (max(64, round(side / 8) * 8) for side in (across, down))
    allowed = width * height <= limits.pixels and max(width, height) <= (FIELDS["width"].high or 0)
    return {"width": width, "height": height} if allowed else {}


def said(services: Services, mine: str, found: Metadata) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Mode, values by field, and notes: from our own record where there is one, else as far as the text tells."""
    if found.record is None:
        recipe = recipe_of(services, found) or Recipe("")
        values, notes = known(services, recipe.values)
        return recipe.mode, {name: str(value) if FIELDS[name].kind == SEED else value for name, value in values.items()}, (*recipe.notes, *notes)
    made = found.record
    written = form.written(made.request, made.seed, index=made.index)
    words = {name: value for name, value in written.items() if not form.is_picture(name)}
    recipe = named_here(services, Recipe("", made.request.mode, words, hashes=hashes_of(made)))
    values, notes = known(services, recipe.values)
    given = pictures.inputs(services, mine, made)
    if made.request.source is not None and "init" not in given:
        notes = (*notes, "Its input pictures are not on this server: open them again.")
    if made.made.economies:
        notes = (*notes, f"It was made with {' and '.join(made.made.economies)}, to save memory: without that, or with it, details may differ.")
    return made.request.mode, values | given, (*recipe.notes, *notes)


def hashes_of(record: Record) -> dict[str, str]:
    """Of the models that a record names."""
    request, made = record.request, record.made
    hashes = {"model": made.model_hash, "vae": made.vae_hash if request.model.vae else "", "refiner": made.refiner_hash if request.refiner else ""}
    hashes |= {f"lora:{lora.name}": lora.sha256 for lora in made.loras} | {f"embedding:{one.name}": one.sha256 for one in made.inversions}
    return {what: sha256 for what, sha256 in hashes.items() if sha256}


def recipe_of(services: Services, found: Metadata) -> Recipe | None:
    """What its texts say, with the names of this server's models; None where they say nothing of how it was made."""
    recipe = read(found.texts)
    return recipe and named_here(services, recipe)


def named_here(services: Services, recipe: Recipe) -> Recipe:
    hashes = services.models.hashes
    return finding.found(recipe, services.models.cards(), lambda card: (hashes.known(card.path), hashes.known_of_tensors(card.path)))


def known(services: Services, values: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values that this server can offer, and a word about the others."""
    offered = form.sane(values, services.models.cards())
    missing = [f"{FIELDS[name].label} {value} is not here, so yours stays." for name, value in values.items() if name not in offered and value]
    return offered, tuple(missing)


def filled(services: Services, layout: Layout, mode: str, values: dict[str, Any]) -> Updates:
    """Widgets that get these values, and the tab that is shown."""
    widgets = layout.shared | layout.own[mode]
    updates = {widgets[name]: value for name, value in values.items() if name in widgets}
    if "sampler" in values:
        updates |= form.sampling(layout.shared, values, services.models.cards())
    return updates | {layout.tabs: gr.Tabs(selected=mode), layout.mode: mode}
