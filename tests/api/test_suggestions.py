"""Suggestions over HTTP: the page's own questions are answered, and nothing else."""

import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette

from sd_ui.api import suggestions
from sd_ui.api.guard import Guard, Rules
from sd_ui.api.hosts import Hosts
from sd_ui.services import open_services
from sd_ui.settings import Settings

HERE = {"Origin": "http://localhost"}


@pytest.fixture
def ask(tmp_path):
    tags = tmp_path / "tags.csv"
    tags.write_text("red_panda,0,12000,\n")
    services = open_services(
        Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",), tags_file=(tags,)), open_driver=lambda tell: None
    )
    app = Guard(Starlette(routes=suggestions.routes(services)), Rules(Hosts("127.0.0.1")))

    async def sent(body, headers):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
            return await http.post("/suggestions", content=body, headers=headers)

    yield lambda body, headers=HERE: asyncio.run(sent(body, headers))
    services.close()


def question(text, model="embedded", box="prompt"):
    return json.dumps({"text": text, "model": model, "box": box})


def names(answer):
    return [(item["kind"], item["insert"]) for item in answer.json()["found"]]


def test_models_styles_wildcards_and_tags_are_named(ask):
    answer = ask(question("a cube <lora:da"))
    assert names(answer) == [("LoRA", "<lora:dawn:1>")] and answer.json()["length"] == 8 and answer.json()["sure"]
    assert answer.headers["cache-control"] == "no-store"
    assert names(ask(question("<da", box="negative_prompt"))) == [] and names(ask(question("<dawn", model="not there"))) == []
    assert names(ask(question("__colo"))) == [("wildcard", "__colour__")]
    assert names(ask(question("a red pa"))) == [("tag", "red panda")]
    assert ("style", "") in names(ask(question("<oil")))
    assert names(ask(question("\ud800 <lora:da"))) == [("LoRA", "<lora:dawn:1>")]


@pytest.mark.parametrize("body", ["", "[]", "{", '{"text": 1, "model": "", "box": ""}', '{"text": "<"}', question("x" * 3000), b"\xff", "[" * 1900])
def test_what_is_no_question_is_refused(ask, body):
    assert ask(body).status_code == 400


def test_other_pages_cannot_ask(ask):
    assert ask(question("<"), {"Origin": "http://elsewhere.example"}).status_code == 403
