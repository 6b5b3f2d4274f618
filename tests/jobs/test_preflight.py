"""Told before Generate is pressed: what it would answer, what it would cost, and what is probably not meant."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sd_ui.forecast.forecast import Forecast
from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs import foretold
from sd_ui.jobs.advice import NOTE, REFUSE, WARN
from sd_ui.jobs.intake import Intake, Reader
from sd_ui.jobs.preflight import Preflight
from sd_ui.jobs.waits import Ahead, Waits
from sd_ui.models import tokens
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Stepped
from sd_ui.spec.measured import Room
from sd_ui.spec.request import MODES
from tests.forecast.machine import Machine, asked, without
from tests.jobs.fakes import ALICE, BOB, house

PLAIN = ("txt2img", "img2img", "inpaint")
CARDS = [
    ModelCard("embedded", "checkpoint", "sd1", Path(), "folder", 1, MODES, defaults=Defaults(128, 128, 20, 3.0)),
    ModelCard("one", "checkpoint", "sd1", Path(), "file", 1, PLAIN),
    ModelCard("large", "checkpoint", "sdxl", Path(), "file", 1, PLAIN, defaults=Defaults(1024, 1024)),
    ModelCard("turbo", "checkpoint", "sd1", Path(), "file", 1, PLAIN, defaults=Defaults(steps=2, cfg_scale=1.0, sampler="Euler a")),
    ModelCard("broken", "checkpoint", "sd1", Path(), "file", 1, fault="the file is damaged: it is empty"),
    ModelCard("painter", "checkpoint", "sd1", Path(), "file", 1, ("inpaint",)),
    ModelCard("large vae", "vae", "sdxl", Path(), "file", 1),
    ModelCard("pixel", "lora", "sd1", Path("pixel"), "file", 1),
]
NUMBERS = {"embedded": 9_000_000, "one": 1_070_000_000, "large": 3_470_000_000}


class Models:
    def cards(self):
        return {card.name: card for card in CARDS}

    def misfit(self, checkpoint, lora):
        return "" if checkpoint != "large" else f"{lora} does not go with {checkpoint}: it is for Stable Diffusion 1.x, and {checkpoint} is SDXL"

    def text_widths(self, checkpoint):
        return ()

    def reader(self, checkpoint):
        if checkpoint == "turbo":
            raise BadRequest("model", "turbo counts its tokens itself")
        return tokens.Reader(tokens.tokenizer(tokens.CLIP_L), 75)

    def tokens(self, checkpoint, text):
        return SimpleNamespace(used=len(text))

    def numbers(self, checkpoint):
        return NUMBERS.get(checkpoint, 0)

    def weights(self, checkpoint, itemsize):
        return self.numbers(checkpoint) * itemsize

    def text_layers(self, checkpoint):
        return 3 if checkpoint == "embedded" else 12


def told(tmp_path, mode="txt2img", measured=(), room=None, ahead=None, engine=None, **values):
    reader = Reader(Blobs(tmp_path), Models())
    flight = Preflight(reader, Models(), lambda: tuple(measured), lambda: engine or {}, lambda: room, lambda: ahead or Ahead(0, 0.0))
    return flight.of_form(mode, values, Delivery())


def said(report):
    return [(line.severity, line.field) for line in report.lines]


# ---------------------------------------------------------------- what Generate would answer
@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("txt2img", {"width": -8}),
        ("txt2img", {"model": "broken"}),
        ("txt2img", {"model": "nothing"}),
        ("depth2img", {"model": "one"}),
        ("txt2img", {"model": "painter"}),
        ("txt2img", {"model": "one", "vae": "large vae"}),
        ("txt2img", {"model": "one", "refiner": "large"}),
        ("txt2img", {"sampler": "LMS", "schedule": "nonsense"}),
        ("txt2img", {"sampler": "DDIM", "schedule": "Karras"}),
        ("txt2img", {"model": "large", "prompt": "a <lora:pixel:1>"}),
        ("txt2img", {"prompt": "a <lora:missing:1>"}),
        ("txt2img", {"prompt": "((a cat"}),
        ("txt2img", {"prompt": "x" * 20_000}),
        ("txt2img", {"steps": 100_000}),
    ],
    ids=str,
)
def test_what_generate_would_refuse_is_refused_in_the_same_words(tmp_path, mode, values):
    report = told(tmp_path, mode, **values)
    with house(tmp_path / "outputs", start=False) as home:
        try:
            Intake(home.queue, Blobs(tmp_path), Models()).submit(mode, values, ALICE)
        except BadRequest as wrong:
            assert [(line.severity, line.field, line.text) for line in report.lines] == [(REFUSE, wrong.field, wrong.why)] and report.refused
        else:
            assert not report.refused
        assert home.queue.jobs(ALICE) == [] or not report.refused


def test_pictures_are_taken_to_be_there_until_generate_is_pressed(tmp_path):
    for mode in ("img2img", "inpaint"):
        assert not told(tmp_path, mode, init="data:of megabytes", mask=object()).refused
    assert not list(tmp_path.iterdir()), "nothing is kept"


# ---------------------------------------------------------------- what it costs
def test_nothing_is_claimed_before_the_first_picture(tmp_path):
    report = told(tmp_path)
    assert report.forecast is not None and report.forecast.runs == 0 and not report.refused


def test_time_follows_the_form(tmp_path):
    seen = [Machine().ran(asked("one"), seed) for seed in range(3)]
    few, many = (told(tmp_path, measured=seen, model="one", steps=steps).forecast.seconds for steps in (10, 30))
    assert 2.5 < many / few < 3


def test_only_what_the_engine_runs_on_now_counts(tmp_path):
    seen = [Machine().ran(asked("one"))]
    assert told(tmp_path, measured=seen, model="one", engine={"device": "H200", "dtype": "float16"}).forecast.runs == 0
    assert told(tmp_path, measured=seen, model="one", engine={"device": "CPU", "dtype": "float32"}).forecast.runs == 1


def test_too_little_memory_is_foretold_and_not_refused(tmp_path):
    seen = [Machine().ran(asked("one"))]
    tight, ample = (told(tmp_path, measured=seen, model="one", room=Room(free)) for free in (2_000_000_000, 90_000_000_000))
    assert said(tight) == [(WARN, "model")] and "GB are free" in tight.lines[0].text and not tight.refused and said(ample) == []
    assert tight.weights == 4_280_000_000 and tight.needs > tight.weights


def test_models_that_nobody_uses_make_room(tmp_path):
    seen = [Machine().ran(asked("one"))]
    room = Room(2_000_000_000, ("large",), held=7_000_000_000)
    assert said(told(tmp_path, measured=seen, model="one", room=room)) == []
    assert said(told(tmp_path, measured=seen, model="one", room=Room(1_000_000, ("one",), held=7_000_000_000))) == [(WARN, "width")]


def test_a_model_in_memory_needs_no_room_and_no_time_to_load(tmp_path):
    seen = [Machine().ran(asked("one"), cold=True)]
    here, elsewhere = (told(tmp_path, measured=seen, model="one", room=Room(10**12, names)) for names in (("one with soft vae",), ("ones",)))
    assert here.weights == here.forecast.loading == 0 < elsewhere.forecast.loading and elsewhere.weights > 0


def test_a_model_that_never_ran_is_weighed_by_its_headers(tmp_path):
    assert told(tmp_path, model="large", engine={"device": "x", "dtype": "float16"}, room=Room(1)).weights == 2 * NUMBERS["large"]


# ---------------------------------------------------------------- what is probably not meant
@pytest.mark.parametrize(
    ("values", "severity", "field", "words"),
    [
        ({"clip_skip": 5}, NOTE, "clip_skip", "taken as 3"),
        ({"model": "one", "width": 1024, "height": 1024}, WARN, "width", "made for about 512x512"),
        ({"model": "large", "width": 512, "height": 512}, WARN, "width", "made for about 1024x1024"),
        ({"model": "turbo", "steps": 30, "cfg_scale": 7}, WARN, "steps", "2 at CFG scale 1 with Euler a"),
        ({"sampler": "LCM", "cfg_scale": 2}, WARN, "sampler", "distilled"),
        ({"sampler": "DPM adaptive"}, NOTE, "steps", "no notice of Steps"),
        ({"sampler": "Restart", "steps": 10}, NOTE, "steps", "from 20 steps on"),
        ({"cfg_scale": 1, "negative_prompt": "blurred"}, NOTE, "negative_prompt", "no effect"),
        ({"model": "one", "refiner": "turbo", "refiner_switch_at": 1}, NOTE, "refiner_switch_at", "never takes over"),
        ({"width": 130}, NOTE, "", "multiple of 8"),
    ],
    ids=str,
)
def test_advice(tmp_path, values, severity, field, words):
    report = told(tmp_path, **values)
    assert any((line.severity, line.field) == (severity, field) and words in line.text for line in report.lines), report.lines
    assert not report.refused


def test_a_form_at_a_models_best_needs_no_advice(tmp_path):
    assert [told(tmp_path, model=name).lines for name in ("embedded", "one", "large", "turbo")] == [()] * 4


def test_what_falls_into_another_chunk_is_quoted(tmp_path):
    (line,) = told(tmp_path, prompt="red " * 70 + ", and a Green Dog in the rain, with an Umbrella of silk").lines
    assert (line.severity, line.field) == (NOTE, "prompt") and "2 chunks of 75" in line.text and "“and a green dog in the…”" in line.text
    assert told(tmp_path, prompt="red " * 75).lines == () and said(told(tmp_path, negative_prompt="red " * 80)) == [(NOTE, "negative_prompt")]
    (line,) = told(tmp_path, prompt="BREAK ".join(["ein Bär, Größe 5 "] * 6)).lines
    assert line.text.count("“ein bär , gr") == 2 and "…” and 3 more" in line.text


# ---------------------------------------------------------------- the queue
def test_the_wait_is_the_sum_of_those_before(tmp_path):
    with house(tmp_path, start=False) as home:
        flight = Preflight(Reader(Blobs(tmp_path), Models()), Models(), lambda: (Machine().ran(asked("one")),))
        waits = Waits(home.queue, home.bus, flight.of_job, fresh=0)
        assert waits.ahead() == Ahead(0, 0.0)
        jobs = [home.queue.submit(asked("one", steps=steps), owner) for steps, owner in ((20, BOB), (10, ALICE), (20, BOB))]
        each = flight.of_job(jobs[0]).seconds
        assert waits.ahead().jobs == 3 and waits.ahead().seconds == pytest.approx(sum(flight.of_job(job).seconds for job in jobs))
        assert waits.of_each()[jobs[0].id] == 0 and waits.of_each()[jobs[1].id] == pytest.approx(each)
        running = home.queue.claim(0)
        home.bus.publish(running.id, Stepped(1, 2, remaining=7.5))
        assert waits.of_each()[jobs[1].id] == 7.5 and jobs[0].id not in waits.of_each()


def test_one_job_that_nothing_is_known_of_makes_the_wait_unknown(tmp_path):
    with house(tmp_path, start=False) as home:
        waits = Waits(home.queue, home.bus, Preflight(Reader(Blobs(tmp_path), Models()), Models(), lambda: ()).of_job, fresh=0)
        job = home.submit()
        assert waits.ahead() == Ahead(1, None) and waits.of_each() == {job.id: 0.0}


def test_who_resizes_by_a_factor_is_told_of_a_picture_like_the_result(tmp_path):
    plain, larger = (told(tmp_path, "img2img", [Machine().ran(asked("one"))], model="one", width=128, height=128, resize_by=by) for by in (0, 2))
    assert plain.forecast.seconds < larger.forecast.seconds < 8 * plain.forecast.seconds
    assert not told(tmp_path, "img2img", model="one", width=2048, height=2048, resize_by=4).refused


def test_a_new_measurement_is_heard_at_once(tmp_path):
    seen = [Machine().ran(asked("one"))]
    flight = Preflight(Reader(Blobs(tmp_path), Models()), Models(), lambda: tuple(seen))
    before = flight.of_form("txt2img", {"model": "one"}).forecast
    seen.append(without(replace(seen[0]), cold=False))
    assert (before.runs, flight.of_form("txt2img", {"model": "one"}).forecast.runs) == (1, 2)


def test_however_many_pages_ask_the_queue_is_looked_at_once_a_second(tmp_path):
    with house(tmp_path, start=False) as home:
        looks = []
        waits = Waits(home.queue, home.bus, lambda job: looks.append(job) or Forecast(), fresh=3600)
        home.submit()
        home.bus.latest = lambda job: Stepped(1, 2, remaining=1.0)
        home.queue.claim(0)
        assert [waits.ahead().jobs for _ in range(50)] == [1] * 50 and not looks
        job = home.submit()
        assert waits.ahead().jobs == 2, "a job more is seen at once"
        home.queue.cancel(job.id)
        assert waits.ahead().jobs == 1


# ---------------------------------------------------------------- in words
@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "half a second"), (0.8, "a second"), (12.4, "12 s"), (99, "99 s"), (119, "2 min"), (5900, "98 min"), (7500, "2 h 5 min")],
)
def test_a_duration_is_said_no_more_precisely_than_it_is_known(seconds, words):
    assert foretold.duration(seconds) == words


def test_what_it_rests_on_is_said(tmp_path):
    ran = Machine().ran(asked("one"))
    own = told(tmp_path, measured=[ran, ran], model="one", room=Room(8_000_000_000))
    assert foretold.headline(own).startswith("About ") and "4.3 GB" not in foretold.headline(own) and "8.0 GB free" in foretold.headline(own)
    assert foretold.headline(told(tmp_path, measured=[ran], model="large")).startswith("Very roughly ")
    assert foretold.headline(told(tmp_path)).startswith(foretold.UNKNOWN) and foretold.headline(told(tmp_path, width=-1)) == ""
    queued = foretold.headline(told(tmp_path, measured=[ran], model="one", ahead=Ahead(2, 600.0)))
    assert "2 jobs before it: ready in about " in queued
    assert "2 jobs before it" in foretold.headline(told(tmp_path, model="one", ahead=Ahead(2, None)))
    cold = Machine().ran(asked("one", steps=1, size=256), cold=True)
    assert "of it to load the model" in foretold.headline(told(tmp_path, measured=[cold], model="one", steps=1, width=256, height=256))


def test_a_report_is_plain_values(tmp_path):
    report = json.loads(json.dumps(foretold.plain(told(tmp_path, measured=[Machine().ran(asked("one"))], model="one"))))
    assert report["seconds"] > 0 and report["runs"] == 1 and report["basis"] == "own" and report["refused"] is False
    wrong = foretold.plain(told(tmp_path, steps=0))
    assert wrong["refused"] and wrong["seconds"] is None and wrong["lines"][0]["field"] == "steps"
