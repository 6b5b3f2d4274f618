"""Wherever weights wait, the picture is the same bit for bit; only what the policy allows is on the device; models in LoRAs keep their own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sd_ui.engine import load, memory, offload, pixels
from sd_ui.engine.adapters import Worn, dressed
from sd_ui.engine.arrangement import Arrangement, once
from sd_ui.engine.device import choose
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.layerwise import STORAGE, Casting
from sd_ui.engine.policy import COMPONENTS, GROUPS, RESIDENT, SEQUENTIAL, UNITS, Policy
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, Sampling
from tests.checkpoints import tiny_folder
from tests.engine.tiny import DEPTH, MASK, PICTURE, REF, SEED, SIZE, latents_of, run_of
from tests.families import sdxl_folder
from tests.loras import kohya, write

MOVING = (COMPONENTS, GROUPS, SEQUENTIAL)
BASE = GenerationRequest("a red cat", "dog", sampling=Sampling("DPM++ 2M", steps=3, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)
SOURCES = {None: BASE, "img2img": ImageToImage(REF, 0.7), "inpaint": Inpaint(REF, REF, 0.7), "depth": DepthToImage(REF, None, 0.7)}
INPUTS = Inputs(PICTURE, MASK, DEPTH)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card: weights that wait in main memory come to it on a stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder):
    """With a second module tree for depth, which shares all tensors but one."""
    return read(tiny_folder(folder / "depth", depth=True))


def read(path: Path, family: str = "sd1", place=None):
    with torch.inference_mode():  # as in the driver
        return load.load(ModelCard(path.name, "checkpoint", family, path, "folder", 1), None, place or choose("cpu"))


def arranged(model, weights: str, small: int = 0, **more) -> Arrangement:
    arrangement = Arrangement(small=small)
    with torch.inference_mode():
        arrangement.make(Policy(weights, **more), once(model.components.items()), model.place, model.attention)
    return arrangement


def picture(model, request=BASE, inputs: Inputs = Inputs()) -> tuple[torch.Tensor, bytes]:
    with torch.inference_mode():
        latents = latents_of(run_of(model, request, inputs))
        return latents, pixels.decoded(model, latents).tobytes()


def asked(source) -> tuple[GenerationRequest, Inputs]:
    return (BASE, Inputs()) if source is None else (GenerationRequest(**{**vars(BASE), "source": SOURCES[source]}), INPUTS)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("weights", MOVING)
def test_every_policy_gives_the_picture_of_a_resident_model(model, weights, source):
    request, inputs = asked(source)
    arranged(model, RESIDENT)
    latents, drawn = picture(model, request, inputs)
    arranged(model, weights)
    again, redrawn = picture(model, request, inputs)
    assert torch.equal(latents, again) and drawn == redrawn


@pytest.mark.parametrize("weights", MOVING)
def test_two_text_encoders_and_their_projection_follow_too(folder, weights):
    xl = read(sdxl_folder(folder / f"xl-{weights}"), "sdxl")
    latents, _ = picture(xl)
    arranged(xl, weights)
    assert torch.equal(latents, picture(xl)[0])


@pytest.mark.parametrize("weights", MOVING)
def test_no_more_is_on_the_device_than_the_policy_says_and_nothing_afterwards(model, weights):
    arrangement, most = arranged(model, weights), 0
    shuttle = arrangement._shuttle

    class Watching(nn.Module):
        def __call__(self, module, args):
            nonlocal most
            most = max(most, shuttle.here)

    hooks = [part.register_forward_pre_hook(Watching()) for tree in model.components.values() for part in tree.modules()]
    picture(model)
    for hook in hooks:
        hook.remove()
    parts = [unit for tree in model.components.values() for unit in offload.units(tree, UNITS[weights])]
    whole = memory.size(model.components.values())
    assert 0 < most <= max(memory.size([part]) for part in parts) < whole
    arrangement.rest()
    assert shuttle.here == 0


def test_what_is_moved_as_one_is_as_large_as_allowed_and_covers_every_layer(model):
    unet = model.denoiser
    for most in (0, 20_000, 10**9):
        units = list(offload.units(unet, most))
        assert all(memory.size([unit]) <= most or not list(unit.children()) for unit in units)
        moved = {id(tensor) for unit in units for tensor in offload.tensors(unit)}
        assert moved == {id(tensor) for tensor in offload.tensors(unet)}
    assert list(offload.units(unet, 10**9)) == [unet]
    assert model.vae not in offload.units(model.vae, 10**9)  # it is never called, but its two halves are


def test_views_move_the_very_tensors_that_they_share(model):
    one, other = model.denoiser, model.depth_unet
    shared = {id(tensor) for tensor in one.parameters()} & {id(tensor) for tensor in other.parameters()}
    assert len(shared) == len(list(one.parameters())) - 1


@pytest.mark.parametrize("weights", MOVING)
def test_a_model_in_a_lora_moves_its_own_weights(model, folder, weights):
    path = write(folder / f"ink-{weights}.safetensors", kohya(model.denoiser, model.text_encoder, seed=1))
    outfit = [Worn(path, WornLora("ink", 1.0, 0.5))]
    arranged(model, RESIDENT)
    plain, _ = picture(model)
    before = dressed(model, outfit)
    inked, _ = picture(before)
    arrangement = arranged(model, weights)
    arrangement.rest()
    after = dressed(model, outfit)  # a copy of trees that have hooks on
    for _ in range(2):
        assert torch.equal(picture(after)[0], inked) and torch.equal(picture(model)[0], plain)
    arrangement.make(Policy(weights), once([*model.components.items(), *after.components.items()]), model.place, model.attention)
    assert torch.equal(picture(after)[0], inked) and torch.equal(picture(model)[0], plain)
    arrangement.make(Policy(), once([*model.components.items(), *after.components.items()]), model.place, model.attention)
    assert torch.equal(picture(after)[0], inked) and torch.equal(picture(model)[0], plain) and not hooks_of(model) | hooks_of(after)


def hooks_of(model) -> set:
    parts = (part for tree in model.components.values() for part in tree.modules())
    return {
        hook
        for part in parts
        for hooks in (part._forward_pre_hooks, part._forward_hooks)
        for hook in hooks.values()
        if isinstance(hook, offload.HOOKS)
    }


def test_what_came_after_what_is_learned_and_keeps_no_model_alive(model):
    shuttle, one, other = offload.Shuttle(choose("cpu").device), nn.Linear(1, 1), nn.Linear(1, 1)
    for unit in (one, other, one):
        shuttle.enter(unit, foresees=True)
        shuttle.leave(unit)
    assert shuttle._following(one) is other and shuttle._following(other) is one and shuttle.here == 0
    del other, unit
    assert shuttle._following(one) is None


def test_small_components_are_never_moved(model):
    arrangement = arranged(model, SEQUENTIAL, small=10**9)
    picture(model)
    assert not hooks_of(model) and arrangement._shuttle.here == 0


def test_a_call_that_fails_half_way_leaves_nothing_that_the_next_does_not_put_in_order(model):
    arranged(model, RESIDENT)
    latents, _ = picture(model)
    for weights in MOVING:
        arrangement = arranged(model, weights)

        def fail(module, args):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        hook = model.denoiser.up_blocks[0].register_forward_pre_hook(fail)
        with pytest.raises(torch.OutOfMemoryError):
            picture(model)
        hook.remove()
        assert torch.equal(picture(model)[0], latents)
        arrangement.rest()
        assert arrangement._shuttle.here == 0


def test_a_half_precision_vae_that_overflows_is_still_decoded_in_full(folder):
    """`pixels.decoded` makes it float32 for a while, wherever its weights wait."""
    model = read(tiny_folder(folder / "half"), place=choose("cpu", "bf16"))
    arranged(model, SEQUENTIAL)
    with torch.inference_mode():
        latents = torch.full((1, 4, 8, 8), 0.5)
        expected = pixels.decoded(model, latents)
        model.vae.float()
        model.vae.to(torch.bfloat16)
        assert pixels.decoded(model, latents).tobytes() == expected.tobytes()


@pytest.mark.parametrize("weights", [RESIDENT, *MOVING])
def test_a_vae_that_overflows_on_its_way_through_the_device_is_decoded_in_float32(folder, weights):
    """What is on the device then was brought there in half precision, and its home is of that precision, too."""
    model = read(tiny_folder(folder / f"overflow-{weights}"), place=choose("cpu", "bf16"))
    latents = torch.full((1, 4, 8, 8), 0.5)

    def overflow(module, args, said):
        return said if said.dtype == torch.float32 else said * torch.inf

    exact = read(tiny_folder(folder / f"exact-{weights}"), place=choose("cpu", "bf16"))
    model.vae.decoder.register_forward_hook(overflow)
    arrangement = arranged(model, weights)
    with torch.inference_mode():
        exact.vae.float()
        expected = pixels.decoded(exact, latents).tobytes()
        assert pixels.decoded(model, latents).tobytes() == expected
        arrangement.rest()
        assert {weight.dtype for weight in model.vae.parameters()} == {torch.bfloat16}
        assert pixels.decoded(model, latents).tobytes() == expected


# ---------------------------------------------------------------- what changes the picture, and says so
def test_weights_in_8_bits_take_a_quarter_give_nearly_the_picture_and_just_what_diffusers_gives(folder):
    from diffusers import UNet2DConditionModel

    path = tiny_folder(folder / "coarse")
    model = read(path)
    exact, _ = picture(model)
    before = memory.size([model.denoiser])
    arranged(model, RESIDENT, fp8=True)
    coarse, _ = picture(model)
    assert memory.size([model.denoiser]) < 0.45 * before and model.denoiser.mid_block.resnets[0].conv1.weight.dtype == STORAGE
    assert not torch.equal(exact, coarse) and (exact - coarse).norm() < 0.2 * exact.norm()
    theirs = UNet2DConditionModel.from_pretrained(path / "unet").eval()
    theirs.enable_layerwise_casting(STORAGE, torch.float32, ["embed", "norm", "conv_in", "conv_out", "^proj_in$", "^proj_out$"])
    assert torch.equal(coarse, picture(replace(model, denoiser=theirs))[0])


@pytest.mark.parametrize("weights", MOVING)
def test_weights_in_8_bits_wait_elsewhere_and_wear_loras_too(folder, weights):
    path = tiny_folder(folder / f"coarse-{weights}")
    model = read(path)
    arranged(model, RESIDENT, fp8=True)
    coarse, _ = picture(model)
    lora = write(folder / f"coarse-{weights}.safetensors", kohya(model.denoiser, seed=2))
    inked, _ = picture(dressed(model, outfit := [Worn(lora, WornLora("ink", 1.0, 1.0))]))
    arrangement = arranged(model, weights, fp8=True)
    assert torch.equal(picture(model)[0], coarse)
    arrangement.rest()
    assert torch.equal(picture(dressed(model, outfit))[0], inked) and not torch.equal(inked, coarse)


def test_weights_in_8_bits_are_those_of_every_tree_that_shares_them(folder):
    """Also of a model that wore a LoRA, or has a second tree for depth, before its weights were put into 8 bits."""
    model = read(tiny_folder(folder / "coarse-depth", depth=True))
    lora = write(folder / "coarse-before.safetensors", kohya(model.denoiser, seed=2))
    worn = dressed(model, [Worn(lora, WornLora("ink", 1.0, 1.0))])
    trees = once([*model.components.items(), *worn.components.items()])
    with torch.inference_mode():
        Arrangement().make(Policy(fp8=True), trees, model.place, model.attention)
    for _ in range(2):
        for one in (model, worn):
            assert picture(one)[0].isfinite().all() and picture(one, *asked("depth"))[0].isfinite().all()
    assert worn.denoiser.mid_block.resnets[0].conv1.weight.dtype == STORAGE
    with torch.inference_mode():
        Arrangement().make(Policy(COMPONENTS, fp8=True), trees, model.place, model.attention)
    layer = worn.depth_unet.mid_block.resnets[0].conv1
    assert sum(isinstance(hook, Casting) for hook in layer._forward_pre_hooks.values()) == 1


def test_attention_in_slices_is_the_same_but_for_the_last_bits_and_goes_back(model):
    arranged(model, RESIDENT)
    latents, _ = picture(model)
    arranged(model, RESIDENT, sliced=True)
    sliced, _ = picture(model)
    assert (
        torch.allclose(latents, sliced, atol=1e-4)
        and "Sliced" in type(model.denoiser.mid_block.attentions[0].transformer_blocks[0].attn1.processor).__name__
    )
    arranged(model, RESIDENT)
    assert torch.equal(latents, picture(model)[0])


@gpu
@pytest.mark.parametrize("weights", MOVING)
def test_on_a_card_weights_that_wait_give_the_picture_of_weights_that_lie_there(folder, weights):
    model = read(tiny_folder(folder / f"card-{weights}"), place=choose("cuda", "fp16"))
    resident, _ = picture(model)
    arranged(model, weights)
    for _ in range(2):  # the second time, what comes next is foreseen
        assert torch.equal(resident, picture(model)[0])
