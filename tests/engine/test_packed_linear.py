"""Layers that stay packed in memory: the same numbers as unpacked ones, in less memory, wherever they lie and in every LoRA."""

from dataclasses import replace

import diffusers
import pytest
import torch
from torch import nn

from sd_ui.engine import footprint, layerwise, memory, packed_linear, parts
from sd_ui.engine.adapters import Worn, dressed, needs
from sd_ui.engine.load import load
from sd_ui.engine.load import needs as needed
from sd_ui.engine.packed import Packed
from sd_ui.engine.packed_linear import PackedLinear
from sd_ui.engine.policy import COMPONENTS, GROUPS, SEQUENTIAL
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models.index import ModelIndex
from sd_ui.spec.made import WornLora
from tests import gguf_files
from tests.checkpoints import tiny_single_file
from tests.engine.test_load import CPU, EMBEDDED, card, loaded
from tests.engine.test_offload import arranged, picture
from tests.engine.test_stored_flow import eight_bits, four_bits
from tests.flow_files import flux_file, save, sd3_file
from tests.loras import kohya, write

BF16 = replace(CPU, dtype=torch.bfloat16)


def quantised(name, tensor):
    """As converters do, but for the tables of words, which take long to write."""
    if "embed" in name or "shared" in name:
        return "F16"
    return "Q4_0" if tensor.ndim == 2 and tensor.shape[-1] % 32 == 0 else "F16" if tensor.ndim > 1 else "F32"


@pytest.fixture(scope="module")
def u_nets(tmp_path_factory):
    """A whole checkpoint of Stable Diffusion 1.x, packed, and one of the same numbers."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("u-nets")
    numbers = gguf_files.write(folder / "packed.gguf", load_file(tiny_single_file(folder / "tiny.safetensors")), quantised)
    return loaded(folder / "packed.gguf"), loaded(save(numbers, folder / "plain.safetensors"))


def packed_in(module: nn.Module) -> list[str]:
    return [name for name, layer in module.named_modules() if isinstance(layer, PackedLinear)]


def worn(model, folder, text=0.5):
    path = write(folder / "ink.safetensors", kohya(model.denoiser, model.text_encoder, seed=1))
    return [Worn(path, WornLora("ink", 1.0, text))]


# ---------------------------------------------------------------- the numbers
@pytest.mark.parametrize(("family", "place"), [("flux", BF16), ("sd3", CPU)])
def test_a_packed_transformer_says_what_the_unpacked_one_says(tmp_path, family, place):
    made = {"flux": lambda: flux_file(double=1, single=1), "sd3": lambda: sd3_file(blocks=2)}[family]()
    numbers = gguf_files.write(tmp_path / "packed.gguf", made.tensors(), quantised)
    ours = load(card(tmp_path / "packed.gguf"), None, place)
    theirs = load(card(save(numbers, tmp_path / "plain.safetensors")), None, place)
    packed = packed_in(ours.denoiser)
    apart = ("attn.to_q", "attn.to_v", "attn.add_k_proj", "norm_out.linear", "proj_mlp" if family == "flux" else "norm1_context.linear")
    assert all(any(name.endswith(end) for name in packed) for end in apart)  # what was one matrix in the file, or stands the other way round
    generator = torch.Generator().manual_seed(0)
    for name in packed:
        mine, its = ours.denoiser.get_submodule(name), theirs.denoiser.get_submodule(name)
        x = torch.randn(3, mine.in_features, generator=generator).to(place.dtype)
        assert torch.equal(mine(x), its(x))
    assert torch.equal(said_by(ours.denoiser), said_by(theirs.denoiser))
    t5, theirs_t5 = ours.texts[-1].encoder, theirs.texts[-1].encoder
    ids = torch.arange(12).reshape(1, 12) % t5.config.vocab_size
    assert packed_in(t5) and torch.equal(t5(ids)[0], theirs_t5(ids)[0])


@torch.inference_mode()
def said_by(transformer):
    facts, generator = transformer.config, torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.randn(*shape, generator=generator).to(transformer.dtype)

    beside = {"encoder_hidden_states": some(1, 5, facts.joint_attention_dim), "pooled_projections": some(1, facts.pooled_projection_dim)}
    if isinstance(transformer, diffusers.FluxTransformer2DModel):
        beside |= {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3), "guidance": torch.tensor([3.5]).to(transformer.dtype)}
    latents = some(1, 16, facts.in_channels) if "img_ids" in beside else some(1, facts.in_channels, 8, 8)
    said = transformer(latents, timestep=torch.tensor([0.5]).to(transformer.dtype), return_dict=False, **beside)[0]
    assert said.isfinite().all()
    return said


def test_a_packed_u_net_draws_the_same_picture(u_nets):
    ours, theirs = u_nets
    assert packed_in(ours.denoiser) and torch.equal(picture(ours)[0], picture(theirs)[0])


@pytest.mark.parametrize("way", ["four", "four, nested", "eight"])
def test_layers_of_bitsandbytes_stay_packed(way):
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    saved, means = eight_bits("0.weight", weight) if way == "eight" else four_bits("0.weight", weight, nested="nested" in way)
    from sd_ui.engine import bnb

    found = bnb.unpacked(saved | {"0.bias": torch.ones(40)})
    built = parts.built("a layer", lambda: nn.Sequential(nn.Linear(64, 40)), found, CPU, stays_packed=True)
    x = torch.randn(2, 64)
    assert packed_in(built) == ["0"] and torch.equal(built(x), nn.functional.linear(x, means, torch.ones(40)))
    assert memory.size([built]) < weight.nbytes / 2


def test_a_large_weight_is_unpacked_piece_by_piece(monkeypatch, u_nets):
    layer = next(layer for layer in u_nets[0].denoiser.modules() if isinstance(layer, PackedLinear))
    whole = layer.numbers()
    monkeypatch.setattr(packed_linear, "PIECE", 3 * layer.in_features)
    assert torch.equal(layer.numbers(), whole)


def test_who_asks_about_a_weight_unpacks_nothing(u_nets):
    layer = next(layer for layer in u_nets[0].denoiser.modules() if isinstance(layer, PackedLinear))
    weight = layer.weight
    assert isinstance(weight, Packed) and weight.shape == (layer.out_features, layer.in_features) and weight.dtype == torch.float32
    assert torch.equal(weight + 0, layer.numbers())


# ---------------------------------------------------------------- memory
def test_what_is_packed_counts_as_it_lies(u_nets):
    ours, theirs = u_nets
    mine, its = memory.size([ours.denoiser]), memory.size([theirs.denoiser])
    saved = sum(layer.weight.nbytes - memory.size([layer]) for layer in ours.denoiser.modules() if isinstance(layer, PackedLinear))
    assert saved > 0 and mine < its - saved / 2
    assert footprint.sizes(ours.components).whole < footprint.sizes(theirs.components).whole
    assert memory.size(ours.components.values()) <= needed(ours.card, CPU) * 1.02 and needed(ours.card, CPU) < needed(theirs.card, CPU)
    index = ModelIndex([ours.card.path.parent], EMBEDDED, ours.card.path.parent / "none")
    assert index.weights("packed", 4) == needed(ours.card, CPU) and index.weights("plain", 4) == index.numbers("plain") * 4


@pytest.mark.parametrize("weights", [COMPONENTS, GROUPS, SEQUENTIAL])
def test_packed_layers_move_as_others_do_also_in_a_lora(u_nets, tmp_path, weights):
    ours, theirs = u_nets
    plain, inked = picture(theirs)[0], picture(dressed(theirs, worn(theirs, tmp_path)))[0]
    arrangement = arranged(ours, weights)
    try:
        after = dressed(ours, worn(theirs, tmp_path))
        for _ in range(2):
            assert torch.equal(picture(after)[0], inked) and torch.equal(picture(ours)[0], plain)
        assert arrangement._shuttle is not None
    finally:
        arranged(ours, "resident")


def test_eight_bit_storage_leaves_packed_layers_alone(u_nets, tmp_path):
    module = nn.Sequential(nn.Linear(32, 8))
    weight = torch.randn(8, 32)
    numbers = gguf_files.write(tmp_path / "x.gguf", {"0.weight": weight, "0.bias": torch.zeros(8)}, quantised)
    built = parts.built("a layer", lambda: module, parts.read(tmp_path / "x.gguf"), CPU, stays_packed=True)
    layerwise.store(built, torch.float32)
    x = torch.randn(2, 32)
    assert torch.equal(built(x), nn.functional.linear(x, numbers["0.weight"], torch.zeros(8))) and built[0].bias.dtype == torch.float32


def test_no_copy_that_loads_faster_is_made_of_a_packed_model(u_nets, tmp_path):
    assert not Sidecars(tmp_path, 2**40, least=0).wanted(u_nets[0].card, BF16)


# ---------------------------------------------------------------- LoRAs
def test_a_lora_unpacks_what_it_changes_and_leaves_the_model_as_it_was(u_nets, tmp_path):
    ours, theirs = u_nets
    before = {name: tensor.clone() for name, tensor in ours.denoiser.state_dict().items()}
    outfit = worn(theirs, tmp_path)
    mine, its = dressed(ours, outfit), dressed(theirs, outfit)
    assert torch.equal(picture(mine)[0], picture(its)[0]) and needs(ours, outfit) == needs(theirs, outfit)
    after = ours.denoiser.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert set(packed_in(mine.denoiser)) == set(packed_in(ours.denoiser))  # each keeps its hooks
    changed = mine.denoiser.get_submodule(next(name for name in packed_in(ours.denoiser) if name.endswith("to_q")))
    assert isinstance(changed.weight, nn.Parameter) and not list(changed.buffers())


def test_a_u_net_with_more_planes_shares_the_bytes(u_nets):
    unet = u_nets[0].denoiser
    planes = {"conv_in.weight": torch.randn(unet.conv_in.weight.shape[0], 5, 3, 3)}
    other = parts.with_input_planes("planes", unet, planes, 5, lambda: type(unet).from_config({**unet.config, "in_channels": 5}))
    assert packed_in(other) == packed_in(unet)
    both = {id(tensor) for tensor in packed_linear_buffers(unet)} & {id(tensor) for tensor in packed_linear_buffers(other)}
    assert len(both) == len(packed_linear_buffers(unet)) > 0


def packed_linear_buffers(module: nn.Module) -> list[torch.Tensor]:
    return [buffer for layer in module.modules() if isinstance(layer, PackedLinear) for buffer in layer.buffers()]
