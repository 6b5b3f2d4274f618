"""Memory: what is shared counts once, and a large picture borrows the VAE's economy without keeping it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sd_ui.engine import memory
from sd_ui.engine.device import choose
from sd_ui.engine.load import load
from sd_ui.spec.cards import ModelCard
from tests.checkpoints import tiny_folder

CPU = torch.device("cpu")


def tiny_vae(path: Path, kind: str):
    card = ModelCard("model", "checkpoint", "sd1", tiny_folder(path / "model", vae=kind), "folder", 1)
    return load(card, None, choose("cpu")).vae


def test_what_several_modules_share_counts_once():
    one, two = nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False)
    assert memory.size([one]) == 400 and memory.size([one, two]) == 800
    two.weight = one.weight
    assert memory.size([one, two, one]) == 400
    assert memory.size([]) == 0


def test_a_depth_view_costs_one_convolution(tmp_path):
    card = ModelCard("model", "checkpoint", "sd1", tiny_folder(tmp_path / "model", depth=True), "folder", 1)
    loaded = load(card, None, choose("cpu"))
    assert memory.size([loaded.denoiser, loaded.depth_unet]) - memory.size([loaded.denoiser]) == loaded.depth_unet.conv_in.weight.nbytes


def test_there_is_memory_and_models_get_a_part_of_it():
    assert memory.free(CPU) > 0 and memory.budget(CPU) > 0
    memory.tidy(CPU)


def test_a_container_has_what_it_was_given(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (tmp_path / "missing", limit))
    assert memory.budget(CPU) == 500_000 and memory.free(CPU) <= 1_000_000
    limit.write_text("max\n")
    assert memory.budget(CPU) > 500_000


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_only_a_large_picture_goes_in_tiles_and_the_flags_come_back(tmp_path, kind):
    vae = tiny_vae(tmp_path, kind)
    with memory.economical(vae, 1024, 1024):
        assert not vae.use_tiling and not vae.use_slicing
    with pytest.raises(ZeroDivisionError), memory.economical(vae, 1032, 1024):
        assert vae.use_tiling and vae.use_slicing
        raise ZeroDivisionError
    assert not vae.use_tiling and not vae.use_slicing
    vae.enable_tiling()
    with memory.economical(vae, 64, 64):
        assert vae.use_tiling
    assert vae.use_tiling


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_tiles_give_a_picture_of_the_same_size(tmp_path, kind):
    vae = tiny_vae(tmp_path, kind)
    with torch.inference_mode(), memory.economical(vae, 2048, 1024):
        assert vae.decode(torch.randn(1, 4, 16, 24)).sample.shape == (1, 3, 128, 192)
