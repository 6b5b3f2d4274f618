"""A checkpoint whose file has no VAE borrows one: by name, from beside it, or its family's usual one. What is missing is said with the way out."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_ui.engine.load import load
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import fitted
from sd_ui.spec.request import ModelChoice
from tests.checkpoints import tiny_folder, tiny_single_file
from tests.engine.tiny import CPU
from tests.models.library import index

FIRST_STAGE = "first_stage_model."


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """The tensors of a whole checkpoint: all but its VAE, and its VAE."""
    tensors = load_file(tiny_single_file(tmp_path_factory.mktemp("whole") / "whole.safetensors"))
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(FIRST_STAGE)}
    return rest, {name.removeprefix(FIRST_STAGE): tensor for name, tensor in tensors.items() if name.startswith(FIRST_STAGE)}


@pytest.fixture
def models(tmp_path, split):
    folder = tmp_path / "models"
    folder.mkdir()
    save_file(split[0], folder / "anime.safetensors")
    return folder


def asked(found, **values):
    return fitted("txt2img", {"model": "anime", "seed": 1, **values}, found.cards()).request.model


def weights_of(module):
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


@pytest.mark.parametrize("name", ["anime.vae.safetensors", "VAE/anime.vae.safetensors", "VAE/vae-ft-mse-840000-ema-pruned.safetensors"])
def test_it_borrows_the_vae_that_goes_with_it_and_says_which(models, split, name):
    (models / name).parent.mkdir(exist_ok=True)
    save_file(split[1], models / name)
    found = index(models)
    card, choice = found.card("anime"), asked(found)
    assert (card.fault, card.lacks) == ("", ("vae",)) and choice.vae == asked(found, vae="Automatic").vae == card.defaults.vae != ""
    with PipelineManager(found.cards, CPU).lease(choice) as loaded:
        whole = {FIRST_STAGE + name: tensor for name, tensor in split[1].items()} | split[0]
        save_file(whole, models / "whole.safetensors")
        wanted = load(index(models).card("whole"), None, CPU)
        for ours, theirs in ((loaded.vae, wanted.vae), (loaded.denoiser, wanted.denoiser), (loaded.text_encoder, wanted.text_encoder)):
            assert torch.equal(weights_of(ours), weights_of(theirs))
        assert loaded.vae.config.scaling_factor == wanted.vae.config.scaling_factor
        assert loaded.vae_card.name == choice.vae and loaded.vae_hash not in ("", loaded.model_hash)


def test_what_lies_beside_it_goes_before_what_is_usual_and_a_choice_before_both(models, split):
    for name in ("vae-ft-mse-840000", "other/anime.vae", "anime.vae", "mine"):
        (models / "other").mkdir(exist_ok=True)
        save_file(split[1], models / f"{name}.safetensors")
    found = index(models)
    assert asked(found).vae == "anime.vae" and asked(found, vae="mine").vae == "mine"
    (models / "anime.vae.safetensors").unlink()
    (models / "other" / "anime.vae.safetensors").unlink()
    assert asked(index(models)).vae == "vae-ft-mse-840000"


def test_a_folder_of_diffusers_lends_its_vae_too(models):
    (tiny_folder(models.parent / "whole") / "vae").rename(models / "kl")
    found = index(models)
    assert asked(found).vae == "kl"
    with PipelineManager(found.cards, CPU).lease(asked(found)) as loaded:
        assert loaded.vae_card.name == "kl"


def test_without_one_it_says_which_file_helps_and_where_it_goes(models):
    found = index(models)
    for vae in (None, "Automatic"):
        with pytest.raises(BadRequest) as wrong:
            asked(found, vae=vae)
        assert wrong.value.field == "vae" and "anime.vae.safetensors" in wrong.value.why and "vae-ft-mse-840000" in wrong.value.why
    with pytest.raises(BadRequest, match="comes without a VAE"), PipelineManager(found.cards, CPU).lease(ModelChoice("anime")):
        pass


def test_several_vaes_take_turns_and_share_the_rest(models, split):
    for name, change in (("a", 0.0), ("b", 1.0)):
        save_file({key: tensor + change for key, tensor in split[1].items()}, models / f"{name}.safetensors")
    found = index(models)
    manager = PipelineManager(found.cards, CPU)
    with manager.lease(ModelChoice("anime", "a")) as first, manager.lease(ModelChoice("anime", "b")) as second:
        assert first.denoiser is second.denoiser and not torch.equal(weights_of(first.vae), weights_of(second.vae))


def test_a_vae_that_is_gone_or_another_one_is_blamed_itself(models, split):
    save_file(split[1], models / "anime.vae.safetensors")
    found = index(models)
    (models / "anime.vae.safetensors").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadRequest) as wrong, PipelineManager(found.cards, CPU).lease(asked(found)):
        pass
    assert wrong.value.field == "vae" and "anime.vae cannot be used" in wrong.value.why
