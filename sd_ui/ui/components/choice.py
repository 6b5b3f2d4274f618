"""A dropdown that leaves judging to the door."""

from typing import Any

import gradio as gr


class FieldChoice(gr.Dropdown):
    """What is offered depends on other choices and may change while an answer is on its way. What is chosen, `spec.limits` judges, in its words."""

    is_template = True  # a gr.Dropdown to the browser

    def preprocess(self, payload: Any) -> Any:
        return payload
