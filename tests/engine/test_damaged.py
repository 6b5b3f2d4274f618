"""What only shows when a model is loaded or drawn with: numbers that are none, files that broke off, changed or went meanwhile. Nothing is lost."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_ui.engine import pixels
from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.load import load
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.services import PACKAGE, PRESETS
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Drawn
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling
from tests.checkpoints import tiny_folder, tiny_vae_file
from tests.engine.tiny import CPU
from tests.families import sdxl_folder

UNET = Path("unet") / "diffusion_pytorch_model.safetensors"
ASKED = GenerationRequest("a cat", model=ModelChoice("model"), sampling=Sampling("Euler", steps=2), width=64, height=64)


def index(tmp_path):
    return ModelIndex([tmp_path], PACKAGE / "embedded", PRESETS)


def engine(found, tmp_path):
    return Engine(PipelineManager(found.cards, choose("cpu"), None), Blobs(tmp_path / "inputs"))


def drawn(run, request=ASKED):
    return [event for event in run.generate(request) if isinstance(event, Drawn)]


def changed(file: Path, change) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    name = next(name for name in sorted(tensors) if tensors[name].ndim > 1)
    tensors[name] = change(tensors[name])
    save_file(tensors, file)


def test_weights_that_are_no_numbers_fail_the_job_and_name_the_part(tmp_path):
    changed(tiny_folder(tmp_path / "model") / UNET, lambda tensor: tensor * torch.nan)
    run = engine(index(tmp_path), tmp_path)
    with pytest.raises(pixels.NotFinite, match=r"weights of the denoiser are not finite in float32: the model's file is damaged$"):
        drawn(run)
    assert drawn(run, replace(ASKED, model=ModelChoice())), "the next job runs"


def test_weights_too_large_for_half_precision_are_told_from_damage():
    assert str(pixels.NotFinite(torch.float16, ["denoiser"])).endswith("or needs --dtype float32")
    assert "lower CFG scale" in str(pixels.NotFinite(torch.float16))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_weights_of_a_type_that_holds_no_weights_are_named(tmp_path, dtype):
    changed(tiny_folder(tmp_path / "model") / UNET, lambda tensor: tensor.to(dtype))
    with pytest.raises(
        BadRequest, match=rf"model cannot be used: the U-Net cannot be loaded: .* holds {str(dtype).removeprefix('torch.')}, which are"
    ):
        load(index(tmp_path).card("model"), None, CPU)


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="holes cannot be seen here")
def test_a_file_that_got_its_room_and_not_its_content_is_refused(tmp_path):
    file = tiny_folder(tmp_path / "model", block_out_channels=[32, 128]) / UNET
    size = file.stat().st_size
    with file.open("r+b") as out:
        out.truncate(size // 2)
        out.truncate(size)
    card = index(tmp_path).card("model")
    assert card.fault == "", "its header is whole"
    with pytest.raises(BadRequest, match=r"diffusion_pytorch_model.safetensors is damaged: (49|50)% of it was never written"):
        load(card, None, CPU)


@pytest.mark.parametrize("how", ["gone", "cut short", "a web page"])
def test_what_happens_to_a_file_after_the_scan_fails_the_job_in_words(tmp_path, how):
    file = tiny_folder(tmp_path / "model") / UNET
    found = index(tmp_path)
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-100] if how == "cut short" else b"<html>")
    run = engine(found, tmp_path)
    with pytest.raises(BadRequest, match=r"model: model cannot be used: .*(weights|interrupted|web page)") as error:
        drawn(run)
    assert str(tmp_path) not in str(error.value), "a stranger is not told where it lies"
    assert drawn(run, replace(ASKED, model=ModelChoice()))


def test_a_file_that_is_replaced_is_used_from_the_next_job_on_and_its_hash_follows(tmp_path):
    file = tiny_folder(tmp_path / "model") / UNET
    found = index(tmp_path)
    run = engine(found, tmp_path)
    events = run.generate(replace(ASKED, count=2))
    first = next(event for event in events if isinstance(event, Drawn))
    other = tmp_path / "other.safetensors"
    other.write_bytes(file.read_bytes())
    changed(other, lambda tensor: tensor * 1.5)
    os.replace(other, file)
    (second,) = [event for event in events if isinstance(event, Drawn)]
    assert first.made.model_hash == second.made.model_hash, "the job ends on what it began with"
    (again,) = drawn(run)
    assert again.made.model_hash != first.made.model_hash and again.rgb != first.rgb


def test_a_vae_of_another_family_is_refused_where_only_loading_shows_it(tmp_path):
    """Its folder says nothing of its family; its shapes do."""
    sdxl_folder(tmp_path / "large")
    tiny_folder(tmp_path / "model")
    tiny_vae_file(tmp_path / "vae" / "odd.safetensors")
    found = index(tmp_path)
    run = engine(found, tmp_path)
    before = drawn(run)[0].rgb
    tensors = load_file(tmp_path / "vae" / "odd.safetensors")
    tensors["decoder.conv_in.weight"] = torch.zeros(96, 16, 3, 3)
    save_file(tensors, tmp_path / "vae" / "odd.safetensors")
    name = next(card.name for card in found.cards().values() if card.kind == "vae" and card.layout == "file")
    with pytest.raises(BadRequest, match="odd cannot be used: ") as error:
        drawn(run, replace(ASKED, model=ModelChoice("model", vae=name)))
    assert error.value.field == "vae" and drawn(run)[0].rgb == before, "the model is as it was"
