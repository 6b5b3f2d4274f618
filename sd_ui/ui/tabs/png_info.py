"""The tab that reads what a picture remembers of how it was made."""

from dataclasses import dataclass

import gradio as gr

from sd_ui.recipes.data import LONGEST
from sd_ui.ui import views
from sd_ui.ui.components.component import Message
from sd_ui.ui.components.pictures import PictureInput


@dataclass(frozen=True)
class PngInfo:
    """found: what was read, for the buttons that send it on. pasted: a text instead of a picture. understood, left_over: lines for people."""

    picture: PictureInput
    pasted: gr.Textbox
    message: Message
    understood: gr.Textbox
    left_over: gr.Textbox
    text: gr.Textbox
    record: gr.Code
    found: gr.State
    send: dict[str, gr.Button]


def png_info() -> PngInfo:
    gr.HTML("<p class='tab-note'>Drop a picture made here or elsewhere, or paste a text: its parameters can be read, and sent to a tab.</p>")
    picture = PictureInput(elem_id="png-info")
    pasted = gr.Textbox(
        label="Text",
        info="Parameters of A1111, Civitai and others, or a ComfyUI graph, InvokeAI, Fooocus, NovelAI, SwarmUI or Draw Things JSON.",
        lines=2,
        max_lines=4,
        max_length=LONGEST,
        elem_id="png-info-pasted",
    )
    message = Message(elem_id="png-info-message")
    with gr.Row():
        send = {
            mode: gr.Button(f"To {title}", size="sm", min_width=70, interactive=False, elem_id=f"info-to-{mode}")
            for mode, title in views.MODES.items()
        }
    understood = listed("Understood", "What a tab gets.", "png-info-understood", visible=False)
    left_over = listed("Not taken over", "What has nothing like it here, or was not understood.", "png-info-left-over", visible=False)
    text = listed("Parameters", "As they stand in the file.", "png-info-text")
    with gr.Accordion("Complete record", open=False):
        record = gr.Code(language="json", show_label=False, interactive=False, max_lines=24, elem_id="png-info-record")
    return PngInfo(picture, pasted, message, understood, left_over, text, record, gr.State(), send)


def listed(label: str, info: str, elem_id: str, visible: bool = True) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, lines=3, max_lines=16, interactive=False, buttons=["copy"], elem_id=elem_id, visible=visible)
