"""The panel System: what a server computes with, what it measured, and what helps where something is missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sd_ui import system
from sd_ui.jobs.queue import Job
from sd_ui.jobs.worker import EngineState
from sd_ui.services import open_services
from sd_ui.settings import Settings
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.measured import Measured, Room, Seconds
from sd_ui.spec.request import GenerationRequest
from sd_ui.system import ago
from sd_ui.ui.parts import overseeing
from tests.models.library import checkpoint


@pytest.fixture
def services(tmp_path, monkeypatch):
    monkeypatch.setattr(system.doctor, "xformers", lambda settings: iter(()))  # what they find out is tested beside doctor
    monkeypatch.setattr(system.doctor, "controlnet_aux", lambda settings: iter(()))
    (tmp_path / "models").mkdir()
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",)), lambda tell: None)
    yield services
    services.close()


def rows(found):
    return {name: says for part in overseeing.shown(found)["sections"] for name, says, _ in part["rows"]}


def test_what_the_engine_runs_on_is_said_in_words(services):
    facts = {"device": "NVIDIA H200", "dtype": "float16", "attention": "sdpa", "new": "fact"}
    services.worker._state = EngineState("ready", "The engine is ready.", facts)
    said = rows(system.system(services))
    assert said["Computes on"] == "NVIDIA H200" and "2 bytes" in said["Number type"] and said["Attention"].startswith("PyTorch's own")
    assert said["New"] == "fact", "what the engine will tell one day is shown, too"
    assert said["Free"] == "known when the engine is ready" and said["Usable"] == "1 checkpoint, 1 LoRA"
    assert "torch" in said and "GB free" in said["Outputs"]


def test_what_is_wrong_comes_first_with_what_helps(services, tmp_path):
    services.worker._state = EngineState("failed", "The engine could not be started: no torch")
    checkpoint(tmp_path / "models" / "good.safetensors")
    (tmp_path / "models" / "page.safetensors").write_text("<!doctype html><title>Log in</title>")
    (tmp_path / "models" / "old.ckpt").write_bytes(b"\x80\x02}q\x00.")
    services.models.refresh()
    missing = overseeing.shown(system.system(services))["missing"]
    assert missing[0]["name"] == "State" and missing[0]["fault"] and "doctor" in missing[0]["remedy"]
    helps = {one["name"]: one["remedy"] for one in missing}
    assert helps["page"] == "Download it again." and helps["old"] == "Get it as .safetensors."


def test_memory_is_that_of_the_device(services, monkeypatch):
    object.__setattr__(services.foresight, "room", lambda: Room(12_300_000_000, ("embedded",)))
    assert rows(system.system(services))["Free on the device"] == "12.3 GB"


def test_strangers_are_not_told_where_files_lie(services, tmp_path):
    public = replace(services, settings=replace(services.settings, no_auth=True, host="0.0.0.0"))
    assert public.settings.open_to_all and str(tmp_path) not in str(system.system(public)) and str(tmp_path) in str(system.system(services))


def test_speeds_are_those_of_the_last_jobs(services):
    job = Job("1", 1, "a", GenerationRequest("a cat", width=512, height=640), Delivery(), "done", "", "")
    for seconds, cold in ((9.0, True), (5.0, False), (5.0, False), (90.0, False), (5.0, False), (5.0, False)):
        spent = Seconds(loading=2.5 if cold else 0.0, sampling=seconds, decoding=1.0, whole=seconds + 4)
        services.foresight.measurements.add(job, Measured("NVIDIA H200", "float16", calls=20, cold=cold, seconds=spent, policy="groups"))
    (shown,) = overseeing.shown(system.system(services))["speeds"]
    assert (shown["model"], shown["size"], shown["rate"]) == ("embedded", "512×640", "4.0 it/s")
    for fact in ("6.0 s a picture of 20 calls", "2.5 s to load", "float16, groups", "NVIDIA H200", "6 jobs", "just now"):
        assert fact in shown["facts"]


def test_slow_machines_are_told_seconds_for_a_step(services):
    job = Job("1", 1, "a", GenerationRequest("a cat"), Delivery(), "done", "", "")
    services.foresight.measurements.add(job, Measured("CPU", "float32", calls=10, seconds=Seconds(sampling=30.0, whole=31.0)))
    assert overseeing.shown(system.system(services))["speeds"][0]["rate"] == "3.0 s/it"


@pytest.mark.parametrize(("seconds", "words"), [(3, "just now"), (61, "1 minute ago"), (7300, "2 hours ago"), (200_000, "2 days ago")])
def test_how_long_ago(seconds, words):
    now = datetime.now(UTC)
    assert ago((now - timedelta(seconds=seconds)).isoformat(), now) == words and ago("yesterday") == ""
