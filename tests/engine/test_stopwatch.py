"""What a job is said to have taken."""

import time
from dataclasses import replace

import pytest
import torch

from sd_ui.engine.generate import Engine
from sd_ui.engine.policy import GROUPS, Policy
from sd_ui.engine.stopwatch import Stopwatch, watched
from sd_ui.imaging.blobs import Blobs
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.measured import Measured
from sd_ui.spec.request import Guidance, ImageToImage, Sampling
from tests.engine.test_generate import BASE, OneModel
from tests.engine.tiny import PICTURE, loaded

CPU = torch.device("cpu")


def measured(tmp_path, request, delivery=Delivery(), resident=("tiny",)) -> Measured:
    engine = Engine(OneModel(loaded()), Blobs(tmp_path / "inputs"))
    engine.manager.resident = resident
    *_, said = engine.generate(request, delivery)
    return said


def test_the_last_word_of_a_job_is_what_it_took(tmp_path):
    said = measured(tmp_path, replace(BASE, model=replace(BASE.model, checkpoint="tiny"), count=2), Delivery(preview_every=2))
    assert (said.pictures, said.calls, said.previews, said.cold) == (2, 10, 6, False)  # every second step, and the last one
    assert (said.dtype, said.attention) == ("float32", "sdpa") and said.device.startswith("CPU") and said.weights > 100_000
    spent = said.seconds
    assert spent.sampling > 0 and spent.decoding > 0 and spent.text > 0
    assert spent.loading + spent.text + spent.start + spent.sampling + spent.decoding <= spent.whole + 0.001


def test_how_memory_was_saved_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(OneModel, "policy", lambda self, loaded: Policy(GROUPS, tiles=True))
    assert measured(tmp_path, BASE).policy == "groups, VAE in tiles"


def test_a_model_that_was_not_there_makes_the_job_a_cold_one(tmp_path):
    assert measured(tmp_path, BASE, resident=("another",)).cold


@pytest.mark.parametrize(("sampler", "calls"), [("Euler", 5), ("Heun", 9), ("DPM++ 2M", 5)])
def test_calls_are_counted_as_they_are_made(tmp_path, sampler, calls):
    assert measured(tmp_path, replace(BASE, sampling=Sampling(sampler, "Karras", 5, 4.0))).calls == calls


def test_less_denoising_is_fewer_calls(tmp_path):
    source = ImageToImage(Blobs(tmp_path / "inputs").put(PICTURE), 0.4)
    assert measured(tmp_path, replace(BASE, source=source)).calls == 2
    assert measured(tmp_path, replace(BASE, sampling=replace(BASE.sampling, guidance=Guidance(stop=0.5)))).calls == 5


def test_memory_that_came_and_went_is_seen():
    with watched(CPU) as peak:
        ballast = torch.ones(20_000_000)
        time.sleep(0.2)
        del ballast
    assert peak.beyond > 60_000_000


def test_a_job_that_ends_badly_stops_its_watch():
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch.watches_memory(CPU):
        raise ZeroDivisionError
    assert watch.measured() is None
