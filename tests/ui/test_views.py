"""What the components show, as plain values."""

import base64
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from PIL import Image

from sd_ui.jobs.worker import EngineState
from sd_ui.models.index import ModelIndex
from sd_ui.spec.events import Eased
from sd_ui.spec.request import EMBEDDED
from sd_ui.ui import views

ROOT = Path(__file__).parents[2]


def embedded():
    return ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models").card(EMBEDDED)


def test_the_page_shows_a_picture_for_each_example_of_the_model_in_the_box():
    card = embedded()
    told = views.about(card, "models")
    kind, _, data = told["strip"].partition(",")
    assert kind == "data:image/webp;base64" and base64.b64decode(data) == card.samples.read_bytes()
    with Image.open(card.samples) as strip:
        assert strip.width == strip.height * len(told["examples"])


def test_a_strip_that_is_gone_or_huge_is_left_out(tmp_path):
    huge = tmp_path / "huge.webp"
    huge.write_bytes(bytes(views.LARGEST_STRIP + 1))
    for samples in (tmp_path / "gone.webp", huge, None):
        assert views.about(replace(embedded(), samples=samples), "models")["strip"] == ""


def test_a_job_that_goes_on_with_less_memory_says_so():
    text = "Out of memory at step 12: continued with the denoiser in graphics memory block by block."
    assert views.of_event(SimpleNamespace(id="job"), Eased(text)) == {"state": "loading", "job": "job", "text": text}


def test_a_job_that_waits_says_how_long_where_that_is_known():
    state = EngineState("ready", "")
    job = SimpleNamespace(id="1")
    assert views.waiting(job, 2, state, 40.0)["text"] == "Waiting for 2 jobs before this one, about 40 s"
    assert views.waiting(job, 1, state)["text"] == "Waiting for 1 job before this one" and views.waiting(job, 0, state)["text"] == "Next in line"
    assert views.starts(125) == " · starts in 2 min" and views.starts(None) == views.starts(0) == ""


def test_a_foreseen_refusal_is_said_as_generate_would_say_it():
    lines = [{"severity": "refuse", "field": "width", "text": "-1 is out of range"}, {"severity": "note", "field": "prompt", "text": "Prompt: long."}]
    shown = views.foreseen({"text": "", "lines": lines})
    assert [line["text"] for line in shown["lines"]] == ["Width: -1 is out of range", "Prompt: long."]
    assert shown["lines"][0]["text"] == views.wrong("width", "-1 is out of range", {"width": "Width"})["text"]
