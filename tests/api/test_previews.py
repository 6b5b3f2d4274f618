"""Pictures beside models over HTTP: by the models' names alone, small, and nothing else of the disk."""

import asyncio
import io

import httpx
import pytest
import torch
from PIL import Image
from starlette.applications import Starlette

from sd_ui.api import previews
from sd_ui.api.guard import Guard, Rules
from sd_ui.api.hosts import Hosts
from sd_ui.services import open_services
from sd_ui.settings import Settings
from tests.loras import write

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    for name in ("ink", "style/pen", "bare"):
        write(folder / f"{name}.safetensors", {f"{LAYER}.lora_down.weight": torch.zeros(2, 768), f"{LAYER}.lora_up.weight": torch.zeros(320, 2)})
    return folder


@pytest.fixture
def get(tmp_path, models):
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=(models,)), open_driver=lambda tell: None)
    app = Guard(Starlette(routes=previews.routes(services)), Rules(Hosts("127.0.0.1")))

    async def sent(path):
        services.models.refresh()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
            return await http.get(path)

    yield lambda path: asyncio.run(sent(path))
    services.close()


@pytest.mark.parametrize("name", ["ink", "style/pen"])
def test_a_preview_is_a_small_jpeg(get, models, name):
    Image.new("RGB", (1200, 800), "teal").save(models / f"{name}.png")
    answer = get(f"/previews/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.content)).size == (256, 171)


@pytest.mark.parametrize("name", ["bare", "embedded", "nobody", "../models/ink.safetensors", "%2e%2e/outputs/sd_ui.db", ""])
def test_whatever_is_no_model_with_a_picture_is_not_there(get, models, name):
    Image.new("RGB", (8, 8)).save(models / "ink.png")
    assert get(f"/previews/{name}").status_code == 404


def test_a_file_that_is_no_picture_is_not_shown(get, models):
    (models / "ink.png").write_bytes(b"GIF89a" + bytes(40))
    assert get("/previews/ink").status_code == 404
