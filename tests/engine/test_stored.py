"""Weights in fewer bits: GGUF's blocks, float8 with and without scales. What comes out is what the file means, tensor by tensor."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sd_ui.engine import blocks, load, parts, stored
from sd_ui.engine import load_file as one_file
from sd_ui.engine.device import choose
from sd_ui.engine.packed import Packed
from sd_ui.models import gguf
from sd_ui.models.header import Unreadable
from sd_ui.spec.errors import BadRequest
from tests import gguf_files
from tests.checkpoints import tiny_folder, tiny_single_file
from tests.models import library

CPU = choose("cpu")
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A whole checkpoint of Stable Diffusion 1.x in one file, in single precision."""
    path = tmp_path_factory.mktemp("published") / "plain.safetensors"
    return load_file(tiny_single_file(path))


def quantised(kind):
    """As converters do: what is multiplied is quantised where its rows fill blocks, the rest is not."""
    return lambda name, tensor: kind if tensor.ndim == 2 and tensor.shape[-1] % 32 == 0 else "F16" if tensor.ndim > 1 else "F32"


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]


def state(found):
    modules = {"denoiser": found.denoiser, "vae": found.vae, "text": found.texts[0].encoder}
    return {f"{part}.{name}": tensor for part, module in modules.items() for name, tensor in gguf_files.numbers(module).items()}


# ---------------------------------------------------------------- GGUF
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "F16", "BF16"])
def test_a_whole_checkpoint_in_gguf_is_the_one_whose_numbers_it_stores(tmp_path, published, kind):
    numbers = gguf_files.write(tmp_path / "models" / "some.gguf", published, quantised(kind))
    save_file(numbers, tmp_path / "numbers.safetensors")
    (card,) = library.index(tmp_path / "models").find("some")
    assert (card.family, card.fault, card.layout) == ("sd1", "", "file") and card.modes
    same(state(load.load(card, None, CPU)), state(one_file.model(tmp_path / "numbers.safetensors", CPU)))


def test_a_file_says_how_it_stores_most_of_its_numbers(tmp_path, published):
    some = {name: tensor for name, tensor in published.items() if ".attn2." in name}
    for kind in ("Q8_0", "Q4_0"):
        gguf_files.write(tmp_path / f"{kind}.gguf", some, quantised(kind))
    save_file({"a": torch.zeros(9, dtype=torch.float8_e4m3fn), "b": torch.zeros(4)}, tmp_path / "eight.safetensors")
    assert {card.path.stem: card.stored for card in library.index(tmp_path).find()} == {
        "Q8_0": "Q8_0",
        "Q4_0": "Q4_0",
        "eight": "fp8",
        "embedded": "fp16",
    }


def test_a_denoiser_alone_has_the_names_that_it_has_in_a_whole_checkpoint(tmp_path):
    tensors = {"double_blocks.0.img_attn.qkv.weight": torch.randn(6, 32), "img_in.bias": torch.randn(5)}
    numbers = gguf_files.write(tmp_path / "flux.gguf", tensors, quantised("Q8_0"), {"general.architecture": "flux", "general.file_type": 7})
    found = parts.read(tmp_path / "flux.gguf")
    assert all(torch.equal(found[UNET + name].to(torch.float32), numbers[name]) for name in tensors) and len(found) == 2


def test_a_tensor_that_was_laid_out_anew_for_its_blocks_gets_its_shape_back(tmp_path):
    facts = {"general.architecture": "sdxl", "comfy.gguf.orig_shape.conv.weight": [4, 8, 3, 3]}
    numbers = gguf_files.write(tmp_path / "x.gguf", {"conv.weight": torch.randn(9, 32)}, quantised("Q4_0"), facts)
    found = parts.read(tmp_path / "x.gguf")[UNET + "conv.weight"]
    assert found.shape == (4, 8, 3, 3) and torch.equal(found.to(torch.float32), numbers["conv.weight"].reshape(4, 8, 3, 3))


@pytest.mark.parametrize("kind", gguf.UNPACKED)
def test_blocks_mean_what_the_gguf_package_says(kind):
    quants = pytest.importorskip("gguf.quants")
    import numpy as np

    _, _, size = next(known for known in gguf.KINDS.values() if known[0] == kind)
    raw = np.random.default_rng(0).integers(0, 256, (64, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        theirs = quants.dequantize(raw.copy(), quants.GGMLQuantizationType[kind])
    assert np.array_equal(blocks.UNPACK[kind](torch.from_numpy(raw)).numpy().ravel(), theirs.ravel(), equal_nan=True)


K_BLOCKS = {  # blocks whose every number can be told by hand: scale 2, least value 1 where there is one; all quants the same
    "Q2_K": (bytes([0x31] * 16) + bytes([0b10101010] * 64), 2.0 * 1 * 2 - 1.0 * 3),
    "Q4_K": (bytes([3] * 4 + [1] * 4 + [0x13] * 4) + bytes([0x55] * 128), 2.0 * 3 * 5 - 1.0 * 1),
    "Q5_K": (bytes([3] * 4 + [1] * 4 + [0x13] * 4) + bytes([255] * 32) + bytes([0x55] * 128), 2.0 * 3 * (16 + 5) - 1.0 * 1),
    "Q6_K": (bytes([0x55] * 128) + bytes([0b10101010] * 64) + bytes([3] * 16), 2.0 * 3 * (5 + 32 - 32)),
    "Q3_K": (bytes([255] * 32) + bytes([0b10101010] * 64) + bytes([0x33] * 8 + [0b10101010] * 4), 2.0 * (3 + 32 - 32) * 2),
}


@pytest.mark.parametrize("kind", K_BLOCKS)
def test_a_block_of_256_numbers_means_what_one_reckons_by_hand(kind):
    body, number = K_BLOCKS[kind]
    two, one = torch.tensor([2.0, 1.0]).half().view(torch.uint8).tolist()[:2], torch.tensor([1.0]).half().view(torch.uint8).tolist()
    raw = {"Q2_K": body + bytes(two + one), "Q6_K": body + bytes(two), "Q3_K": body + bytes(two)}.get(kind, bytes(two + one) + body)
    assert torch.equal(blocks.UNPACK[kind](torch.tensor([list(raw)], dtype=torch.uint8)), torch.full((1, 256), number))


def test_both_layers_know_the_same_kinds_of_blocks():
    assert set(gguf.UNPACKED) == blocks.UNPACK.keys() and set(gguf.UNPACKED) | stored.PLAIN.keys() <= {name for name, _, _ in gguf.KINDS.values()}


# ---------------------------------------------------------------- float8
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16, "mixed"])
def test_every_precision_is_loaded_as_what_it_means(tmp_path, published, dtype):
    if dtype == "mixed":
        ways = (torch.float8_e4m3fn, torch.bfloat16, torch.float16, torch.float32, torch.float8_e5m2)
        told = {name: tensor.to(ways[i % len(ways)]) for i, (name, tensor) in enumerate(published.items())}
    else:
        told = {name: tensor.to(dtype) for name, tensor in published.items()}
    save_file(told, tmp_path / "told.safetensors")
    save_file({name: tensor.float() for name, tensor in told.items()}, tmp_path / "numbers.safetensors")
    same(state(one_file.model(tmp_path / "told.safetensors", CPU)), state(one_file.model(tmp_path / "numbers.safetensors", CPU)))
    half = replace(CPU, dtype=torch.bfloat16)
    assert {t.dtype for t in state(one_file.model(tmp_path / "told.safetensors", half)).values() if t.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize("ends", [(".scale_weight", ".scale_input"), (".weight_scale", ".input_scale")])
def test_scales_beside_float8_are_multiplied_in(tmp_path, published, ends):
    told, numbers = dict(published), dict(published)
    layers = [name for name in published if name.startswith(UNET) and name.endswith("to_q.weight")]
    for i, name in enumerate(layers):
        scale = torch.tensor([0.5 + i]) if i % 2 else torch.rand(published[name].shape[0]) + 0.5
        eight = (published[name] / scale[:, None]).to(torch.float8_e4m3fn)
        stem = name.removesuffix(".weight")
        told |= {name: eight, stem + ends[0]: scale, stem + ends[1]: torch.tensor(1.0)}
        numbers[name] = eight.float() * scale[:, None]
    save_file(told | {UNET + "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "scaled.safetensors")
    save_file(numbers, tmp_path / "numbers.safetensors")
    (card,) = library.index(tmp_path).find("scaled")
    assert not card.fault and layers
    same(state(load.load(card, None, CPU)), state(one_file.model(tmp_path / "numbers.safetensors", CPU)))


def test_scales_of_another_recipe_are_refused_in_words(tmp_path):
    recipe = torch.tensor(list(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)
    save_file({"a.weight": torch.zeros(4, 4, dtype=torch.float8_e4m3fn), "a.comfy_quant": recipe}, tmp_path / "x.safetensors")
    with pytest.raises(Unreadable, match="nvfp4"):
        parts.read(tmp_path / "x.safetensors")
    save_file({"a.weight": torch.zeros(4, 4, dtype=torch.float8_e4m3fn), "a.scale_weight": torch.ones(3)}, tmp_path / "y.safetensors")
    with pytest.raises(Unreadable, match="3 scales for 4 rows"):
        parts.read(tmp_path / "y.safetensors")


def test_a_folder_in_float8_is_loaded_as_what_it_means(tmp_path):
    folder = tiny_folder(tmp_path / "models" / "eight")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    eight = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(file).items()}
    save_file(eight, file)
    card = library.index(tmp_path / "models").card("eight")
    unet = load.load(card, None, CPU).denoiser.state_dict()
    same(unet, {name: tensor.float() for name, tensor in eight.items()})


# ---------------------------------------------------------------- what carries them
def test_a_packed_tensor_is_unpacked_where_its_numbers_are_needed_and_not_before():
    counts = []
    packed = Packed((4, 6), lambda: counts.append(1) or torch.arange(24.0).reshape(4, 6))
    plain = torch.arange(24.0).reshape(4, 6)

    def shaped(tensor):
        rows = [tensor[:, 2:], tensor.T, tensor[1], tensor[:, :, None][:, :, 0], *tensor.chunk(2), *tensor.split([1, 3])]
        return [*rows, torch.cat(tensor.chunk(2)[::-1])]

    cut = shaped(packed)
    assert packed.shape == (4, 6) and packed.ndim == 2 and packed.is_floating_point() and packed.numel() == 24
    assert [one.shape for one in cut] == [one.shape for one in shaped(plain)] and not counts
    moved = packed.to("cpu", torch.float16, copy=True, memory_format=torch.contiguous_format)
    assert type(moved) is Tensor and torch.equal(moved, plain.half()) and len(counts) == 1
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(cut, shaped(plain), strict=True)) and torch.equal(packed + 1, plain + 1)


def test_an_unreadable_weight_is_a_bad_request_that_names_the_model(tmp_path, published):
    told = dict(published)
    name = next(name for name in told if name.endswith("to_q.weight"))
    told |= {name: told[name].to(torch.float8_e4m3fn), name.removesuffix(".weight") + ".scale_weight": torch.ones(5)}
    save_file(told, tmp_path / "odd.safetensors")
    (card,) = library.index(tmp_path).find("odd")
    with pytest.raises(BadRequest, match=r"odd cannot be used: .* 5 scales"):
        load.load(card, None, CPU)
