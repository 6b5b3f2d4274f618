"""The tab that reads what a picture remembers of how it was made."""

from dataclasses import dataclass

import gradio as gr

from sd_ui.ui import views
from sd_ui.ui.components.component import Message
from sd_ui.ui.components.pictures import PictureInput


@dataclass(frozen=True)
class PngInfo:
    """found: the values that were read and their mode, for the buttons that send them on."""

    picture: PictureInput
    message: Message
    text: gr.Textbox
    record: gr.Code
    found: gr.State
    send: dict[str, gr.Button]


def png_info() -> PngInfo:
    gr.HTML("<p class='tab-note'>Drop a picture made here or elsewhere: its parameters can be read, and sent to a tab.</p>")
    picture = PictureInput(elem_id="png-info")
    message = Message(elem_id="png-info-message")
    with gr.Row():
        send = {
            mode: gr.Button(f"To {title}", size="sm", min_width=70, interactive=False, elem_id=f"info-to-{mode}")
            for mode, title in views.MODES.items()
        }
    text = gr.Textbox(
        label="Parameters",
        info="As most programs of this kind read and write them.",
        lines=5,
        max_lines=16,
        interactive=False,
        buttons=["copy"],
        elem_id="png-info-text",
    )
    with gr.Accordion("Complete record", open=False):
        record = gr.Code(language="json", show_label=False, interactive=False, max_lines=24, elem_id="png-info-record")
    return PngInfo(picture, message, text, record, gr.State(), send)
