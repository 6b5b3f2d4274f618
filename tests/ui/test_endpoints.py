"""The page as scripts see it: named endpoints with the fields' names, progress as it comes, files at the end."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from sd_ui.imaging import record
from sd_ui.services import Services
from sd_ui.spec import fields
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import MODES
from sd_ui.ui.endpoints import endpoint
from tests.ui.fakes import Painter
from tests.ui.serving import SERVED, forget, serving

pytestmark = SERVED


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with serving(tmp_path_factory.mktemp("endpoints"), lambda tell: Painter(pace=0.01)) as services:
        yield services


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[Client]:
    client = Client(f"http://127.0.0.1:{services.settings.port}/", verbose=False)
    yield client
    client.close()
    del client
    forget()


def test_the_four_modes_and_what_they_would_cost_are_offered_with_the_names_of_the_fields(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert sorted(offered) == sorted([*(f"/{mode}" for mode in MODES), "/preflight"])
    for mode in MODES:
        names = [parameter["parameter_name"] for parameter in offered[f"/{mode}"]["parameters"]]
        assert names == [field.name for field in fields.of_mode(mode)]


def test_what_a_job_would_cost_is_told_without_making_one(client, services):
    jobs = len(services.queue.upcoming())
    said = client.predict(mode="img2img", prompt="a hill", steps=6, api_name="/preflight")
    assert said["refused"] is False and said["seconds"] is None and said["text"].startswith("Nothing has been measured here yet")
    wrong = client.predict(steps=0, api_name="/preflight")
    assert wrong["refused"] and wrong["lines"] == [{"severity": "refuse", "field": "steps", "text": "0 is out of range (1 to 150)"}]
    assert len(services.queue.upcoming()) == jobs


def test_a_picture_comes_with_its_record_seed_and_text(client, services):
    seed = 2**64 - 1
    job = client.submit(prompt="a hill", steps=6, seed=str(seed), api_name="/txt2img")
    made = job.result(timeout=60)
    assert made["state"] == "done" and made["seed"] == [str(seed)]
    assert made["infotext"][0].startswith("a hill\n") and made["record"][0]["request"]["seed"] == seed
    assert record.read(Path(made["files"][0]).read_bytes()).record.seed == seed
    steps = [said["index"] for said in job.outputs() if said["state"] == "running"]
    assert steps == sorted(steps) and len(steps) >= 3


def test_pictures_go_in_as_files(client, services, tmp_path):
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "init.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    init, mask = handle_file(tmp_path / "init.png"), handle_file(tmp_path / "mask.png")
    for mode, given in (("img2img", {"init": init}), ("inpaint", {"init": init, "mask": mask}), ("depth2img", {"init": init})):
        made = client.predict(prompt="x", steps=2, strength=0.5, **given, api_name=f"/{mode}")
        assert made["record"][0]["request"]["source"]["strength"] == 0.5


def test_what_is_wrong_is_said_with_field_value_and_range(client):
    with pytest.raises(Exception, match=r"steps: 0 is out of range \(1 to 150\)"):
        client.predict(prompt="x", steps=0, api_name="/txt2img")
    with pytest.raises(Exception, match="init: is missing"):
        client.predict(prompt="x", api_name="/img2img")


def test_a_file_of_the_server_is_not_read(client):
    with pytest.raises(Exception, match="init"):
        client.predict(prompt="x", init={"path": __file__, "meta": {"_type": "gradio.FileData"}}, api_name="/img2img")


def test_a_script_gets_the_format_of_the_settings(tmp_path, services):
    asked = []

    class Intake:
        def submit(self, mode, values, owner, delivery):
            asked.append(delivery)
            raise BadRequest("prompt", "that is enough")

    settings = replace(services.settings, format="jpeg", preview_every=4)
    generate = endpoint(replace(services, settings=settings, intake=Intake()), "txt2img")
    with pytest.raises(gr.Error, match="that is enough"):
        asyncio.run(anext(generate(*[None] * len(fields.of_mode("txt2img")), gr.Request(session_hash="me", cookies={}))))
    assert asked == [Delivery("jpeg", preview_every=4)]
