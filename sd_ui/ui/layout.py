"""What stands where on the page. It makes widgets and hands them on by name; what they do is `page`'s business."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.fields import NONE
from sd_ui.spec.request import EMBEDDED
from sd_ui.spec.samplers import AUTOMATIC
from sd_ui.ui import form, views
from sd_ui.ui.components.component import (
    About,
    DepthMap,
    EngineLine,
    Fetches,
    Foreseen,
    History,
    Library,
    LoraPicker,
    Message,
    QueuePanel,
    Results,
    StylesEditor,
    SystemPanel,
    Viewer,
)
from sd_ui.ui.form import Widgets, widget
from sd_ui.ui.tabs import modes
from sd_ui.ui.tabs.png_info import PngInfo, png_info

TITLE = "<h1 class='brand'><span class='brand-mark' aria-hidden='true'></span>SD UI</h1>"
PAGE = 24  # thumbnails at first, and further ones at a time

SEED_EXTRA = (("variation_seed", "variation_strength"), ("seed_resize_width", "seed_resize_height"), ("noise_source", "eta_seed_delta"))
ADVANCED = (("guidance", "cfg_rescale"), ("guidance_start", "guidance_stop"), ("apg_threshold", "apg_momentum"), ("apg_parallel", "emphasis"),
            ("pag_scale", "pag_layers"), ("pag_adaptive_scale", "distilled_cfg_scale"))  # fmt: skip

Parts = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """shared: widgets by the names of `spec.fields`; own: those of each mode; delivery: how a result is saved and previewed."""

    shared: Widgets
    own: dict[str, Widgets]
    delivery: Widgets
    tabs: gr.Tabs
    tab: dict[str, gr.Tab]
    mode: gr.Textbox
    chosen: gr.State
    asked: gr.State
    seen: gr.State
    go: gr.Button
    cancel: gr.Button
    foreseen: Foreseen
    message: Message
    engine: EngineLine
    about: About
    loras: LoraPicker
    history: History
    styles_editor: StylesEditor
    token_counts: dict[str, gr.HTML]
    problems: dict[str, gr.HTML]
    buttons: dict[str, gr.Button]
    ratios: dict[str, gr.Button]
    viewer: Viewer
    text: gr.Textbox
    queue: QueuePanel
    results: Results
    depth_map: DepthMap
    png_info: PngInfo
    library: Library
    system: SystemPanel
    fetches: Fetches

    @property
    def fields(self) -> Widgets:
        """Every widget whose value is part of a request, as a handler's arguments: a mode's own are called <mode>_<name>."""
        own = {f"{mode}_{name}": widget for mode, widgets in self.own.items() for name, widget in widgets.items()}
        return self.shared | own

    @property
    def page(self) -> int:
        """How many further thumbnails are shown at a time."""
        return PAGE

    @property
    def kept(self) -> Widgets:
        return self.fields | self.delivery


def lay_out(services: Services) -> Layout:
    buttons: dict[str, gr.Button] = {}
    with gr.Row(elem_id="top"):
        parts = top(services, buttons)
    with gr.Row(elem_id="main", equal_height=False):
        with gr.Column(scale=5, elem_id="left", min_width=330):
            parts |= left(services, buttons)
        with gr.Column(scale=7, elem_id="right", min_width=330):
            parts |= right()
    ratios = {ratio: buttons[ratio] for ratio in form.RATIOS}
    mode = gr.Textbox("txt2img", visible="hidden", show_label=False)  # no gr.State: the browser keeps it with the form
    return Layout(**parts, buttons=buttons, ratios=ratios, mode=mode, chosen=gr.State(""), asked=gr.State(PAGE), seen=gr.State(""))


def top(services: Services, buttons: dict[str, gr.Button]) -> Parts:
    gr.HTML(TITLE, elem_id="brand")
    engine = EngineLine(views.engine(services.worker.state), elem_id="engine")
    buttons["colours"] = gr.Button("Light / dark", size="sm", elem_id="colours", elem_classes="quiet", min_width=90)
    return {"engine": engine, "system": SystemPanel(elem_id="system")}


def left(services: Services, buttons: dict[str, gr.Button]) -> Parts:
    """What is asked for."""
    shared, token_counts, problems, helpers = prompts(services)
    loras = LoraPicker(elem_id="loras")
    with gr.Row(elem_id="actions"):
        go = gr.Button("Generate", variant="primary", elem_id="generate", scale=3, min_width=140)
        cancel = gr.Button("Cancel", elem_id="cancel", interactive=False, scale=1, min_width=80)
    parts: Parts = {"go": go, "cancel": cancel, "token_counts": token_counts, "problems": problems}
    parts |= helpers | {"foreseen": Foreseen(elem_id="foreseen"), "message": Message(elem_id="message")}
    parts |= mode_tabs() | {"loras": loras}
    parts["shared"] = shared | settings(services, buttons)
    with gr.Accordion("Saving and preview", open=False, elem_id="saving"):
        parts["delivery"] = form.delivery_widgets(services.settings)
    return parts


def right() -> Parts:
    """What comes of it."""
    parts: Parts = {"viewer": Viewer(elem_id="viewer"), "queue": QueuePanel(elem_id="queue"), "results": Results(elem_id="results")}
    with gr.Accordion("Parameters of this picture", open=False, elem_id="parameters"):
        text = gr.Textbox(show_label=False, lines=4, max_lines=14, interactive=False, buttons=["copy"], elem_id="infotext")
    return parts | {"text": text}


def prompts(services: Services) -> tuple[Widgets, dict[str, gr.HTML], dict[str, gr.HTML], Parts]:
    """Their widgets, below each one what is said of it, and what helps to write them."""
    widgets: Widgets = {}
    helpers: Parts = {}
    counts, problems = {}, {}
    for name, lines, hint in (("prompt", 3, "What should the picture show?"), ("negative_prompt", 1, "What should it not show?")):
        with gr.Group(elem_classes="prompt-group"):
            counts[name] = gr.HTML("", elem_id=f"tokens-{name}", elem_classes="token-count")
            widgets[name] = widget(name, lines=lines, max_lines=12, placeholder=hint, autofocus=name == "prompt")
            problems[name] = gr.HTML("", elem_id=f"problems-{name}", elem_classes="problems")
            if name == "prompt":
                helpers["history"] = History(elem_id="history")
    with gr.Group(elem_classes="settings", elem_id="styles-row"):
        widgets["styles"] = widget("styles", choices=list(services.wording.styles()))
        helpers["styles_editor"] = StylesEditor(elem_id="styles-editor")
    return widgets, counts, problems, helpers


def mode_tabs() -> Parts:
    tab, own = {}, {}
    with gr.Tabs(selected="txt2img", elem_id="modes") as tabs:
        for mode, title in views.MODES.items():
            with gr.Tab(title, id=mode) as tab[mode]:
                own[mode] = modes.TABS[mode]()
                if mode == "txt2img":  # the others need the room for their pictures
                    about = About(elem_id="about")
                if mode == "depth2img":
                    depth_map = DepthMap(elem_id="depth-map")
        with gr.Tab("PNG info", id="png_info") as tab["png_info"]:
            info = png_info()
        with gr.Tab("Models", id="models") as tab["models"]:
            fetches = Fetches(elem_id="fetches")
            library = Library(elem_id="library")
    return {"tabs": tabs, "tab": tab, "own": own, "about": about, "depth_map": depth_map, "png_info": info, "library": library, "fetches": fetches}


def settings(services: Services, buttons: dict[str, gr.Button]) -> Widgets:
    cards = services.models.cards()
    best = form.best(cards[EMBEDDED].defaults) if EMBEDDED in cards else {}
    widgets: Widgets = {}

    def add(name: str, **more: object) -> None:
        widgets[name] = widget(name, **({"value": best[name]} if name in best else {}) | more)

    with gr.Group(elem_classes="settings"):
        with gr.Row(elem_id="model-row", equal_height=False):
            add("model", choices=form.names(cards, "checkpoint"), value=EMBEDDED, scale=5)
            buttons["refresh"] = gr.Button("⟳", size="sm", elem_id="refresh", elem_classes="icon", min_width=42, scale=0)
        vaes = form.names(cards, "vae")
        add("vae", choices=[AUTOMATIC, *vaes], value=AUTOMATIC, visible=bool(vaes))
        refiners = form.refiners(cards)
        with gr.Row(equal_height=False):
            add("refiner", choices=refiners, value=NONE, visible=len(refiners) > 2, min_width=140)
            add("refiner_switch_at", visible=len(refiners) > 2, min_width=140)
        with gr.Row(equal_height=False):
            add("sampler", min_width=140)
            add("schedule", choices=form.schedules(best.get("sampler", "")), min_width=140)
        with gr.Row(equal_height=False):
            add("steps", min_width=140)
            add("cfg_scale", min_width=140)
    with gr.Group(elem_classes="settings"):
        with gr.Row(elem_id="ratios", equal_height=True):
            for ratio in form.RATIOS:
                buttons[ratio] = gr.Button(ratio, size="sm", elem_classes="quiet", min_width=44)
            buttons["swap"] = gr.Button("⇄ Swap", size="sm", elem_id="swap", elem_classes="quiet", min_width=64)
        with gr.Row(equal_height=False):
            add("width", min_width=140)
            add("height", min_width=140)
    with gr.Group(elem_classes="settings"):
        with gr.Row(elem_id="seed-row", equal_height=False):
            add("seed", scale=5, min_width=150)
            buttons["random"] = gr.Button("Random", size="sm", elem_id="random", elem_classes="quiet", min_width=72, scale=0)
            buttons["reuse"] = gr.Button("Reuse", size="sm", elem_id="reuse", elem_classes="quiet", min_width=72, scale=0)
        with gr.Row(equal_height=False):
            add("batch_count", min_width=140)
            add("clip_skip", min_width=140)
        folded("Extra", "seed-extra", SEED_EXTRA, add)
    with gr.Group(elem_classes="settings"):
        folded("Advanced", "guidance-advanced", ADVANCED, add)
    return widgets


def folded(title: str, name: str, rows: tuple[tuple[str, ...], ...], add: Callable[..., None]) -> None:
    with gr.Accordion(title, open=False, elem_id=name):
        for row in rows:
            with gr.Row(equal_height=False):
                for field in row:
                    add(field, min_width=140)


def folder_of_models(services: Services) -> str:
    return str(Path(services.settings.models_dir[0]))


def models_listed(layout: Layout, cards: Mapping[str, ModelCard], model: str, vae: str, refiner: str) -> dict[Any, Any]:
    """The lists as they are now. VAE and refiner are questions only where there is a choice; the model in the box takes no refiner."""
    refiners = form.refiners(cards)
    vaes = [(AUTOMATIC, AUTOMATIC), *form.names(cards, "vae")]
    return {
        layout.shared["model"]: gr.Dropdown(choices=form.names(cards, "checkpoint"), value=model),
        layout.shared["vae"]: gr.Dropdown(choices=vaes, value=vae, visible=len(vaes) > 1),
        layout.shared["refiner"]: gr.Dropdown(choices=refiners, value=refiner, visible=len(refiners) > 2),
        layout.shared["refiner_switch_at"]: gr.update(visible=len(refiners) > 2),
    }
