"""A slider that leaves judging to the door."""

import gradio as gr


class FieldSlider(gr.Slider):
    """Offers the usual part of a range. What lies outside, such as an earlier picture's value, `spec.limits` judges, in its words."""

    is_template = True  # a gr.Slider to the browser

    def preprocess(self, payload: float) -> float:
        return payload
