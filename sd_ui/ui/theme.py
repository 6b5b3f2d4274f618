"""How the page looks, and what its document's head holds. Everything is served from here: no font or script from elsewhere."""

from typing import Any

import gradio as gr

from sd_ui.ui.components.component import static

STYLES = (
    "page.css", "viewer.css", "pictures.css", "panels.css", "foreseen.css", "system.css", "loras.css", "library.css", "fetches.css", "prompting.css",
)  # fmt: skip
SCRIPTS = ("page.js", "keys.js", "marks.js", "suggest.js")  # one each: what is wrong with one keeps no other from running


def theme() -> gr.themes.Base:
    fonts = {"font": ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"], "font_mono": ["ui-monospace", "Consolas", "monospace"]}
    base = gr.themes.Base(
        primary_hue="violet", secondary_hue="violet", neutral_hue="zinc", radius_size="lg", spacing_size="md", text_size="md", **fonts
    )
    return base.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        body_background_fill="#fafafb",
        body_background_fill_dark="#121217",
        background_fill_primary_dark="#17171e",
        background_fill_secondary="#f1f1f4",
        background_fill_secondary_dark="#1d1d26",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1a1a22",
        block_border_color="*border_color_primary",
        border_color_primary="#e3e3e9",
        border_color_primary_dark="#2d2d38",
        block_label_background_fill="transparent",
        input_background_fill="#f6f6f8",
        input_background_fill_dark="#22222c",
        input_border_color="transparent",
        input_border_color_dark="transparent",
        input_border_color_focus="*primary_400",
        input_border_color_focus_dark="*primary_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="#ffffff",
        slider_color="*primary_500",
        slider_color_dark="*primary_500",
        color_accent="*primary_500",
    )


CSS = "\n".join(static(name) for name in STYLES)
HEAD = "\n".join(f"<script>\n{static(name)}\n</script>" for name in SCRIPTS)


def launch_options() -> dict[str, Any]:
    """What `Blocks.launch` needs for this page, besides host, port and routes."""
    return {
        "theme": theme(),
        "css": CSS,
        "head": HEAD,
        "footer_links": [],
        "run_history": False,  # on by default: the browser would keep every run's inputs and outputs
        "ssr_mode": False,
    }
