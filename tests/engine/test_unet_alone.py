"""A U-Net of Stable Diffusion 1.x or XL alone, in GGUF or safetensors: it is given its text encoders and VAE from files of their own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_ui.engine import sidecar
from sd_ui.engine.load import load
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models.index import ModelIndex
from tests import gguf_files
from tests.checkpoints import original_tensors, original_vae, tiny_parts
from tests.engine.test_load import CPU, EMBEDDED, loaded, same
from tests.families import sdxl_original
from tests.flow_files import UNET, save, text_tensors


def sd1():
    unet, vae, text = tiny_parts()
    return original_tensors(unet, vae, text), vae, {"clip_l": text}


def sdxl():
    made = sdxl_original()
    return made.tensors(), made.vae, dict(zip(("clip_l", "clip_g"), made.texts.values(), strict=True))


def quantised(name, tensor):
    return "Q8_0" if "attn1.to_" in name and tensor.ndim == 2 else "F32"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_u_net_alone_is_the_one_of_the_whole_checkpoint(tmp_path, family):
    tensors, vae, texts = {"sd1": sd1, "sdxl": sdxl}[family]()
    alone = {name.removeprefix(UNET): tensor for name, tensor in tensors.items() if name.startswith(UNET)}
    models = tmp_path / "models"
    numbers = gguf_files.write(models / "unet" / "quantised.gguf", alone, quantised, {"general.architecture": family})
    save({UNET + name: tensor for name, tensor in alone.items()}, models / "unet" / "plain.safetensors")
    whole = loaded(save(tensors | {UNET + name: tensor for name, tensor in numbers.items()}, tmp_path / "whole.safetensors"))
    assert "put clip_l.safetensors" in cards_of(models)["quantised"].fault

    for part, encoder in texts.items():
        save(text_tensors(encoder), models / "text_encoders" / f"{part}.safetensors")
    save_file(original_vae(vae), models / "lent.vae.safetensors")
    cards = cards_of(models)
    found = cards["quantised"]
    assert (found.family, found.fault) == (family, "") and found.modes == cards["plain"].modes != ()
    ours = load(found, cards["lent.vae"], CPU)
    mine, its = gguf_files.numbers(ours.denoiser), whole.denoiser.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in its)
    assert same(ours.vae, whole.vae) and ours.family is whole.family
    assert all(same(mine.encoder, theirs.encoder) for mine, theirs in zip(ours.texts, whole.texts, strict=True))
    assert all(mine.tokenizer("a cat").input_ids == theirs.tokenizer("a cat").input_ids for mine, theirs in zip(ours.texts, whole.texts, strict=True))
    if family == "sd1":
        assert torch.equal(load(cards["plain"], cards["lent.vae"], CPU).denoiser.state_dict()["conv_in.weight"], alone["input_blocks.0.0.weight"])


def test_text_encoders_of_their_own_are_read_and_never_mapped(tmp_path):
    """The copy that loads faster is ours; they are files of the user's, who may overwrite them while the model is in memory."""
    tensors, vae, texts = sd1()
    models, kept = tmp_path / "models", Sidecars(tmp_path / "copies", 10**9, least=0, spare=0)
    save({name: tensor for name, tensor in tensors.items() if name.startswith(UNET)}, models / "plain.safetensors")
    lent = models / "text_encoders" / "clip_l.safetensors"
    sidecar.write(save(text_tensors(texts["clip_l"]), tmp_path / "clip_l.safetensors"), lent, CPU.dtype, "", lambda: None)  # where mapping would do
    save_file(original_vae(vae), models / "lent.vae.safetensors")
    cards = cards_of(models)
    assert kept.make(cards["plain"], CPU, lambda: None)
    fast = load(cards["plain"], cards["lent.vae"], CPU, sidecars=kept)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(kept.find(cards["plain"], CPU)) in maps.read_text() and str(lent) not in maps.read_text()
    assert same(fast.text_encoder, texts["clip_l"])


def cards_of(folder):
    found = ModelIndex([folder], EMBEDDED, folder / "none").cards()
    return {name.rsplit("/", 1)[-1]: card for name, card in found.items()}
