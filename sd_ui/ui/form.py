"""Widgets by the names of `spec.fields`, and the way between their values and a request. It knows nothing of jobs."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import gradio as gr

from sd_ui.settings import Settings
from sd_ui.spec import extras, families, fields, hires
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.delivery import FORMATS, PREVIEWS, Delivery
from sd_ui.spec.fields import CHOICE, FIELDS, IMAGE, INTEGER, NAMES, NONE, NUMBER, SEED, TEXT, Field
from sd_ui.spec.request import EMBEDDED, GenerationRequest
from sd_ui.spec.samplers import AUTOMATIC, MODELS_OWN, SAMPLERS
from sd_ui.ui.components.choice import FieldChoice
from sd_ui.ui.components.slider import FieldSlider

Widgets = dict[str, Any]  # components; their events, such as .change, exist only at run time

SHARED = tuple(field.name for field in FIELDS.values() if field.modes == FIELDS["prompt"].modes)
RATIOS = {"1:1": (1, 1), "2:3": (2, 3), "3:2": (3, 2), "9:16": (9, 16), "16:9": (16, 9)}


# ---------------------------------------------------------------- widgets
def widget(name: str, **more: Any) -> gr.components.Component:
    """The widget of a field, with its help. more: what the page says differently, such as choices known at run time."""
    field = FIELDS[name]
    said = {"label": field.label, "info": field.help, "elem_id": f"field-{name}", "value": fields.default(name)} | more
    return MAKERS[field.kind](field, said)


def of_mode(mode: str, name: str, **more: Any) -> gr.components.Component:
    """A widget that each picture tab has for itself."""
    return widget(name, elem_id=f"{mode}-{name}", **more)


def text(field: Field, said: dict[str, Any]) -> gr.Textbox:
    return gr.Textbox(**said)


def choice(field: Field, said: dict[str, Any]) -> FieldChoice:
    offered: dict[str, Any] = {"choices": list(field.choices), "filterable": len(field.choices) > 8}
    return FieldChoice(**offered | said)


def several(field: Field, said: dict[str, Any]) -> gr.Dropdown:
    offered: dict[str, Any] = {"choices": list(field.choices), "multiselect": True, "max_choices": int(field.high or 0)}
    return FieldChoice(**offered | said | {"value": list(said["value"])})


def slider(field: Field, said: dict[str, Any]) -> FieldSlider:
    low, high = field.slider or (field.low or 0, field.high or 0)
    return FieldSlider(low, high, step=field.step, **said)


def seed(field: Field, said: dict[str, Any]) -> gr.Textbox:
    return gr.Textbox(**said | {"value": str(said["value"]), "max_lines": 1})  # text, because a browser's numbers are exact only up to 2^53


MAKERS: dict[str, Callable[[Field, dict[str, Any]], gr.components.Component]] = {
    TEXT: text,
    CHOICE: choice,
    NAMES: several,
    INTEGER: slider,
    NUMBER: slider,
    SEED: seed,
}


def samplers(card: ModelCard) -> list[str]:
    """Those that go with a model, as far as that can be told by its kind."""
    if card.family in families.FLOWS:
        return list(families.SAMPLERS)
    return [name for name in SAMPLERS if (name == MODELS_OWN) == bool(card.stock)]


def sampling(shared: Mapping[str, Any], values: Mapping[str, Any], cards: Mapping[str, ModelCard]) -> dict[Any, gr.Dropdown]:
    """Sampler and schedule of values from elsewhere, with what goes with their model. A sampler that does not is listed, too: the door says why."""
    card, sampler = cards.get(str(values.get("model", ""))), str(values["sampler"])
    offered = samplers(card) if card else list(SAMPLERS)
    return {
        shared["sampler"]: gr.Dropdown(choices=list(dict.fromkeys((*offered, sampler))), value=sampler),
        shared["schedule"]: gr.Dropdown(choices=schedules(sampler), value=values.get("schedule")),
    }


def schedules(sampler: str) -> list[str]:
    return [AUTOMATIC, *SAMPLERS[sampler].schedules] if sampler in SAMPLERS else [AUTOMATIC]


def delivery_widgets(settings: Settings) -> Widgets:
    previews = [("Predicted picture", "predicted"), ("Noisy latent", "noisy"), ("Off", "off")]
    return {
        "format": gr.Dropdown(
            [(name.upper(), name) for name in FORMATS],
            value=settings.format,
            label="File format",
            info="PNG loses nothing. Each of them carries the parameters.",
            elem_id="field-format",
            filterable=False,
        ),
        "quality": gr.Slider(1, 100, Delivery.quality, step=1, label="Quality", info="Of JPEG and WEBP files.", elem_id="field-quality"),
        "preview": gr.Dropdown(
            previews,
            value=settings.preview,
            label="Live preview",
            info="What a step shows: the picture that the model has in mind, or the noisy latent it works on.",
            elem_id="field-preview",
            filterable=False,
        ),
        "preview_every": gr.Slider(
            1,
            max(20, settings.preview_every),
            settings.preview_every,
            step=1,
            label="Preview every n-th step",
            info="1 shows every step.",
            elem_id="field-preview_every",
        ),
    }


# ---------------------------------------------------------------- values
def values_of(mode: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one mode out of all the page's values: a mode's own widgets are called <mode>_<name>."""
    own = {field.name: said[f"{mode}_{field.name}"] for field in fields.of_mode(mode) if field.name not in SHARED and f"{mode}_{field.name}" in said}
    if own.get("hires_upscaler") == hires.OFF:  # who switches the second pass off keeps its settings for the next time, and need not be told so
        own = {name: value for name, value in own.items() if name not in hires.OWN}
    return {name: said[name] for name in SHARED} | own


def delivery_of(said: Mapping[str, Any]) -> Delivery:
    return Delivery(said["format"], int(said["quality"]), said["preview"], int(said["preview_every"]))


def written(request: GenerationRequest, seed: int, count: int = 1, index: int = 0) -> dict[str, Any]:
    """A request as the values of its fields, pictures as ImageRef: the way back of `spec.limits.fitted`. index: of the picture that it is for."""
    source, said = request.source, request.words_of(index)
    values: dict[str, Any] = {
        "prompt": said.prompt,
        "negative_prompt": said.negative_prompt,
        "styles": [] if request.words else list(request.styles),
        "model": request.model.checkpoint,
        "vae": request.model.vae or AUTOMATIC,
        "refiner": request.refiner.checkpoint if request.refiner else NONE,
        "refiner_switch_at": request.refiner.switch_at if request.refiner else fields.default("refiner_switch_at"),
        "sampler": request.sampling.sampler,
        "schedule": request.sampling.schedule,
        "steps": request.sampling.steps,
        "cfg_scale": request.sampling.cfg_scale,
        "width": request.width,
        "height": request.height,
        "seed": str(seed),
        "batch_count": count,
        "clip_skip": request.model.clip_skip,
        "emphasis": request.emphasis,
        **extras.written(request, index),
    }
    if request.source is None:
        values |= hires.written(request)
    if source is not None:
        values |= {"redo_steps": source.redo.steps, "redo_colours": source.redo.colours}
        values |= {"noise_multiplier": source.redo.noise_multiplier, "extra_noise": source.redo.extra_noise}
    renamed = {"init": "image"}
    own = [field.name for field in fields.of_mode(request.mode) if field.name not in values]
    return values | {name: getattr(source, renamed.get(name, name), fields.default(name)) for name in own}  # a picture that grew has grown already


def best(defaults: Defaults) -> dict[str, Any]:
    """What a model is at its best with, by field."""
    return vars(defaults) | {"vae": defaults.vae or AUTOMATIC}


def shaped(ratio: str, defaults: Defaults) -> tuple[int, int]:
    """Width and height of a ratio, with about as many pixels as the model was trained at, in multiples of 8."""
    across, down = RATIOS[ratio]
    unit = (defaults.width * defaults.height / (across * down)) ** 0.5
    return max(64, round(unit * across / 8) * 8), max(64, round(unit * down / 8) * 8)


def names(cards: Mapping[str, ModelCard], kind: str) -> list[tuple[str, str]]:
    """Label and name of each model of a kind. One that cannot be used is listed too, and says why when it is chosen."""
    return [
        (card.title or card.name if not card.fault else f"{card.name} (cannot be used)", card.name) for card in cards.values() if card.kind == kind
    ]


def refiners(cards: Mapping[str, ModelCard]) -> list[tuple[str, str]]:
    """Those that can go on from another model's latents; whether from the chosen one's, the door says."""
    able = [card.name for card in cards.values() if "img2img" in card.modes and card.name != EMBEDDED and not card.stock]
    return [(NONE, NONE), *((label, name) for label, name in names(cards, "checkpoint") if name in able)]


def sane(kept: Mapping[str, Any], cards: Mapping[str, ModelCard], styles: Collection[str] = ()) -> dict[str, Any]:
    """What a browser kept, without what is not there any more: a model, a style, a sampler, or a schedule that does not go with it."""
    if isinstance(kept.get("styles"), list):
        kept = {**kept, "styles": [name for name in kept["styles"] if name in styles]}
    known = {
        "model": [name for _, name in names(cards, "checkpoint")],
        "vae": [AUTOMATIC, *(name for _, name in names(cards, "vae"))],
        "refiner": [name for _, name in refiners(cards)],
        "sampler": list(SAMPLERS),
        "schedule": schedules(str(kept.get("sampler", ""))),
        "format": list(FORMATS),
        "preview": list(PREVIEWS),
    }
    return {name: value for name, value in kept.items() if value is not None and value in known.get(name, [value])}


def is_picture(name: str) -> bool:
    return FIELDS[name].kind == IMAGE
