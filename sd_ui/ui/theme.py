"""How the page looks, and what its document's head holds. Everything is served from here: no font or script from elsewhere."""

from typing import Any

import gradio as gr

from sd_ui.ui.components.component import static

STYLES = ("page.css", "viewer.css", "pictures.css", "panels.css")


def theme() -> gr.themes.Base:
    fonts = {"font": ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"], "font_mono": ["ui-monospace", "Consolas", "monospace"]}
    return gr.themes.Soft(primary_hue="violet", secondary_hue="violet", neutral_hue="slate", radius_size="md", spacing_size="sm", text_size="md", **fonts)


CSS = "\n".join(static(name) for name in STYLES)
HEAD = f"<script>\n{static('page.js')}\n</script>"


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
