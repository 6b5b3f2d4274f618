"""The four ways to start a picture, a tab each. A tab holds only what its mode needs besides the shared settings."""

from collections.abc import Callable

import gradio as gr

from sd_ui.ui.components.pictures import MaskCanvas, PictureInput
from sd_ui.ui.form import Widgets, of_mode


def txt2img() -> Widgets:
    gr.HTML("<p class='tab-note'>A picture from words alone: noise becomes what the prompt says.</p>")
    sizes, words = ("hires_width", "hires_height"), ("hires_prompt", "hires_negative_prompt")
    rows = ("hires_upscaler", "hires_scale"), ("hires_strength", "hires_steps"), ("hires_sampler",), sizes, *words
    return folded("txt2img", "Hires fix: draw small, enlarge, redo", "hires", *rows)


def img2img() -> Widgets:
    gr.HTML("<p class='tab-note'>Your picture, redone after the prompt. Denoising strength says how much of it changes.</p>")
    init = PictureInput(elem_id="img2img-init")
    return {"init": init} | settings("img2img", "strength", ("resize", "resize_by")) | redoing("img2img")


def inpaint() -> Widgets:
    gr.HTML("<p class='tab-note'>Paint over what should change. Everything else stays, pixel for pixel.</p>")
    init = MaskCanvas(elem_id="inpaint-init")
    widgets = settings("inpaint", "strength", ("masked_content", "inpaint_area"), ("mask_blur", "mask_padding"))
    sides = (("outpaint_left", "outpaint_right"), ("outpaint_top", "outpaint_bottom"))
    widgets |= folded("inpaint", "Outpaint: grow the picture", "outpaint", *sides)
    return (
        {"init": init}
        | widgets
        | folded("inpaint", "More about the mask", "mask-more", ("mask_mode", "mask_edge"), ("resize", "resize_by"))
        | redoing("inpaint")
    )


def depth2img() -> Widgets:
    gr.HTML("<p class='tab-note'>A new picture with the depth of yours: what was near stays near.</p>")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=160):
            gr.HTML("<p class='tab-label'>Picture</p>")
            init = PictureInput(elem_id="depth2img-init")
        with gr.Column(min_width=160):
            gr.HTML("<p class='tab-label'>Depth map of your own <small>optional; bright is near</small></p>")
            depth = PictureInput(elem_id="depth2img-depth")
    return {"init": init, "depth": depth} | settings("depth2img", "strength", ("resize", "resize_by")) | redoing("depth2img")


def redoing(mode: str) -> Widgets:
    return folded(mode, "More about redoing", f"{mode}-redo", ("redo_steps", "redo_colours"), ("noise_multiplier", "extra_noise"))


def settings(mode: str, *rows: str | tuple[str, ...]) -> Widgets:
    """A row is one field, or several that stand beside each other."""
    with gr.Group(elem_classes="settings"):
        return in_rows(mode, rows)


def folded(mode: str, title: str, name: str, *rows: str | tuple[str, ...]) -> Widgets:
    with gr.Group(elem_classes="settings"), gr.Accordion(title, open=False, elem_id=name):
        return in_rows(mode, rows)


def in_rows(mode: str, rows: tuple[str | tuple[str, ...], ...]) -> Widgets:
    widgets: Widgets = {}
    for row in rows:
        if isinstance(row, str):
            widgets[row] = of_mode(mode, row)
            continue
        with gr.Row(equal_height=False):
            widgets |= {name: of_mode(mode, name, min_width=140) for name in row}
    return widgets


TABS: dict[str, Callable[[], Widgets]] = {"txt2img": txt2img, "img2img": img2img, "inpaint": inpaint, "depth2img": depth2img}
