"""Folders of families that run by diffusers' own pipelines come from the hub whole: each part, its tokenizer's files and its chat template."""

import json
import threading

import pytest

from sd_ui.hub import plan
from sd_ui.hub.fetch import Fetcher
from sd_ui.hub.hub import Hub
from sd_ui.hub.names import parsed
from sd_ui.models import folders
from sd_ui.spec.errors import BadRequest
from tests import stock_models
from tests.hub.fakehub import FakeHub, serving

NAME = "maker/z-image"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = stock_models.save("z-image", tmp_path_factory.mktemp("hub") / "z-image")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_such_a_folder_is_fetched_with_all_that_it_needs(files, tmp_path):
    extra = {"README.md": b"x", "transformer/diffusion_pytorch_model.bin": b"\x80", "assets/picture.png": b"png"}
    with serving(FakeHub({NAME: files | extra})) as fake:
        fetcher = Fetcher(Hub(fake.endpoint), tmp_path / "models", lambda folder: 2**40, pause=0.001)
        wanted = plan.planned(fetcher.hub, parsed(NAME, fetcher.hub.hosts))
        target = fetcher.fetch(wanted, lambda count: None, threading.Event())
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == files.keys()
    assert folders.look(target).fault == "" and (target / "tokenizer" / "chat_template.jinja").is_file()


def test_one_that_asks_for_another_class_is_refused_before_gigabytes_come(files, tmp_path):
    index = json.loads(files["model_index.json"]) | {"transformer": ["z_image_code", "Evil"]}
    with serving(FakeHub({NAME: files | {"model_index.json": json.dumps(index).encode()}})) as fake:
        hub = Hub(fake.endpoint)
        with pytest.raises(BadRequest) as refused:
            plan.planned(hub, parsed(NAME, hub.hosts))
    assert "Evil" in refused.value.why and not any("safetensors" in asked for asked, *_ in fake.asked)
