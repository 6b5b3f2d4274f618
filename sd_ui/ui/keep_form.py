"""What a person has entered survives a reload: the browser keeps it, and gives it back when the page opens."""

from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.spec.fields import NONE
from sd_ui.spec.request import EMBEDDED
from sd_ui.spec.samplers import AUTOMATIC
from sd_ui.ui import form, views
from sd_ui.ui.components.pictures import PictureInput, is_uploaded
from sd_ui.ui.layout import Layout, models_listed
from sd_ui.ui.parts.quiet import LAST, QUIET

# The secret must be the same after a restart, or what was kept cannot be read. It keeps nothing from the browser's own user.
KEY, SECRET = "sdui.form", "sdui form 1"
SAVE = "(...values) => window.sduiRestored ? [Object.fromEntries(NAMES.map((name, i) => [name, values[i]]))] : [values.at(-1)]"
RESTORED = "() => { setTimeout(() => { window.sduiRestored = true; }, 300); }"  # what changes until then is the page coming up, not a person


def wire(services: Services, layout: Layout, page: gr.Blocks) -> None:
    kept = gr.BrowserState(None, storage_key=KEY, secret=SECRET)
    widgets = layout.kept | {"mode": layout.mode}

    def restore(said: dict[str, Any] | None) -> dict[Any, Any]:
        cards = services.models.cards()
        styles = list(services.wording.styles())
        values = form.sane(said or {}, cards, styles)
        mode = values.pop("mode", None)
        updates: dict[Any, Any] = {widgets[name]: value for name, value in values.items() if name in widgets and usable(widgets[name], value)}
        if "sampler" in values:
            updates |= form.sampling(layout.shared, values, cards)
        updates[layout.shared["styles"]] = gr.Dropdown(choices=styles, multiselect=True, value=values.get("styles") or [])
        updates |= models_listed(layout, cards, values.get("model", EMBEDDED), values.get("vae", AUTOMATIC), values.get("refiner", NONE))
        return updates | ({layout.tabs: gr.Tabs(selected=mode), layout.mode: mode} if mode in views.MODES else {})

    loaded = page.load(restore, kept, [*widgets.values(), layout.tabs], **QUIET)
    loaded.then(None, None, None, js=RESTORED, api_visibility="private")
    names = [*widgets]
    changes = [widget.change for widget in widgets.values()]
    gr.on(changes, None, [*widgets.values(), kept], kept, js=SAVE.replace("NAMES", repr(names)), **LAST)


def usable(widget: Any, value: Any) -> bool:
    """An upload may be gone from the server by now."""
    return not (isinstance(widget, PictureInput) and isinstance(value, dict) and value.get("path") and not is_uploaded(str(value["path"])))
