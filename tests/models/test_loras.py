"""LoRAs on the disk: recognised by their headers, for the models whose layers they match, with a reason in words where they cannot be used."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.models import fitting, header, lora_keys, loras
from sd_ui.models.header import Unreadable
from sd_ui.models.index import ModelIndex
from sd_ui.models.lora_keys import Layer
from tests.checkpoints import tiny_folder, tiny_parts, tiny_single_file
from tests.loras import CONVOLUTIONS, kohya, peft, random, write

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "sd_ui" / "embedded"
BLOCK = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"


def index(*folders: Path, own: Path | None = None) -> ModelIndex:
    return ModelIndex(folders, EMBEDDED, ROOT / "presets" / "models", own)


def card_of(folder: Path, tensors, **metadata):
    write(folder / "Lora" / "x.safetensors", tensors, **metadata)
    return index(folder).card("x")


def attention(width: int, part: str = "attn2_to_k", prefix: str = BLOCK, rank: int = 4):
    """One layer of a LoRA for a model that looks at texts of this width."""
    return {f"{prefix}_{part}.lora_down.weight": torch.zeros(rank, width), f"{prefix}_{part}.lora_up.weight": torch.zeros(320, rank)}


@pytest.fixture(scope="module")
def parts():
    """U-Net, VAE and text encoder of a tiny Stable Diffusion 1.x."""
    with torch.no_grad():
        return tiny_parts(vocabulary=600)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_folder(folder / "small")
    tiny_folder(folder / "painter", 9)
    tiny_single_file(folder / "Stable-diffusion" / "good.safetensors", vocabulary=600)
    return folder


# ---------------------------------------------------------------- names
LAYER = "down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0"


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0.lora_up.weight",
        "lora_unet_input_blocks_2_1_transformer_blocks_0_attn1_to_out_0.lora_up.weight",
        "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_B.weight",
        "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora.up.weight",
        "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
        "down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
        "base_model.model.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_B.weight",
        "diffusion_model.input_blocks.2.1.transformer_blocks.0.attn1.to_out.0.lora_B.weight",
    ],
)
def test_every_style_of_names_means_the_same_layer(name):
    assert lora_keys.read(name) == (Layer("unet", LAYER), "up")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("lora_te_text_model_encoder_layers_3_self_attn_out_proj.lora_down.weight", "text_encoder"),
        ("lora_te1_text_model_encoder_layers_3_self_attn_out_proj.lora_down.weight", "text_encoder"),
        ("lora_te2_text_model_encoder_layers_3_self_attn_out_proj.lora_down.weight", "text_encoder_2"),
        ("text_encoder.text_model.encoder.layers.3.self_attn.out_proj.lora_A.weight", "text_encoder"),
        ("text_encoder_2.text_model.encoder.layers.3.self_attn.out_proj.lora_linear_layer.down.weight", "text_encoder_2"),
        ("text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.down.weight", "text_encoder"),
    ],
)
def test_text_encoders_have_names_in_every_style_too(name, part):
    assert lora_keys.read(name) == (Layer(part, "encoder_layers_3_self_attn_out_proj"), "down")


def test_the_published_names_of_all_layers_become_those_of_diffusers(parts, home):
    """Against the tensors of a file in the published layout: every weight is found under the name and with the size that diffusers' model has."""
    unet, _, text = parts
    sizes = fitting.layers_of(home / "Stable-diffusion" / "good.safetensors")
    for part, module in (("unet", unet), ("text_encoder", text)):
        for name, layer in module.named_modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                weight = layer.weight
                assert sizes[Layer(part, name.removeprefix("text_model.").replace(".", "_"))] == (weight.shape[0], weight[0].numel()), name


def test_open_clips_joined_matrices_are_three_layers(tmp_path):
    names = {"attn.in_proj_weight": (96, 32), "attn.out_proj.weight": (32, 32), "mlp.c_fc.weight": (64, 32), "ln_1.weight": (32,)}
    block = "cond_stage_model.model.transformer.resblocks.7."
    write(tmp_path / "two.safetensors", {block + name: torch.zeros(shape) for name, shape in names.items()})
    assert fitting.layers_of(tmp_path / "two.safetensors") == {
        Layer("text_encoder", f"encoder_layers_7_{name}"): size
        for name, size in {
            "self_attn_q_proj": (32, 32),
            "self_attn_k_proj": (32, 32),
            "self_attn_v_proj": (32, 32),
            "self_attn_out_proj": (32, 32),
            "mlp_fc1": (64, 32),
        }.items()
    }


# ---------------------------------------------------------------- what it is
@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
def test_the_width_of_the_text_tells_the_family(tmp_path, width, family):
    card = card_of(tmp_path, attention(width))
    assert (card.kind, card.family, card.fault, card.lora.method, card.lora.rank) == ("lora", family, "", "LoRA", 4)


def test_shapes_win_over_metadata_and_metadata_tells_where_they_do_not(tmp_path):
    assert card_of(tmp_path, attention(768), ss_base_model_version="sdxl_base_v1-0").family == "sd1"
    assert card_of(tmp_path, attention(320, "attn1_to_k"), ss_base_model_version="sdxl_base_v1-0").family == "sdxl"
    assert card_of(tmp_path, attention(320, "attn1_to_k"), **{"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}).family == "sd2"
    assert card_of(tmp_path, attention(320, "attn1_to_k")).family == ""


def test_its_words_are_its_makers_or_the_most_frequent_ones(tmp_path):
    frequency = json.dumps({"10_cats": {"cat": 9, " tabby": 12, "": 50}, "2_dogs": {"dog": 3, "cat": 4, "bad\nword": 99, "x": "much"}})
    assert card_of(tmp_path, attention(768), ss_tag_frequency=frequency, ss_output_name="kitty").lora.triggers[:3] == ("cat", "tabby", "dog")
    assert index(tmp_path).card("x").lora.alias == "kitty"
    assert card_of(tmp_path, attention(768), ss_tag_frequency=frequency, **{"modelspec.trigger_phrase": "kty, tabby"}).lora.triggers == (
        "kty",
        "tabby",
    )
    for odd in ("{", "[]", "[" * 100_000, '{"a": 3}', '{"a": {"b": true}}'):
        assert card_of(tmp_path, attention(768), ss_tag_frequency=odd).fault == ""


def test_methods_are_told_apart(tmp_path):
    layer = BLOCK + "_attn2_to_k."
    hada = {f"{layer}hada_w{i}_{side}": torch.zeros(shape) for i in (1, 2) for side, shape in (("a", (320, 4)), ("b", (4, 768)))}
    assert card_of(tmp_path, hada).lora.method == "LoHa"
    assert card_of(tmp_path, {layer + "lokr_w1": torch.zeros(4, 4), layer + "lokr_w2": torch.zeros(80, 192)}).lora.method == "LoKr"
    assert card_of(tmp_path, attention(768) | {layer + "dora_scale": torch.zeros(1, 768)}).lora.method == "LoRA with DoRA"
    conv = "lora_unet_down_blocks_0_resnets_0_conv1."
    assert (
        card_of(tmp_path, {conv + "lora_down.weight": torch.zeros(4, 32, 3, 3), conv + "lora_up.weight": torch.zeros(32, 4, 1, 1)}).lora.method
        == "LoCon"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (BLOCK + "_attn2_to_k.diff", "whole weights"),
        (BLOCK + "_attn2_to_k.oft_blocks", "OFT"),
        (BLOCK + "_attn2_to_k.a1.weight", "GLoRA"),
        (BLOCK + "_attn2_to_k.on_input", "IA3"),
        (BLOCK + "_norm1.w_norm", "norms"),
        (BLOCK + "_attn2_to_k.lora_up.bias", "biases"),
        ("transformer.joint_transformer_blocks.0.attn.to_q.lora_A.weight", "for AuraFlow"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight", "for T5"),
        ("prior.blocks.0.attn.to_q.lora_A.weight", "not known here"),
        (BLOCK + "_attn2_to_k.lora_sideways.weight", "means nothing"),
        (BLOCK + "_attn2_to_k.alpha", "damaged"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, name, why):
    card = card_of(tmp_path, attention(768, "attn1_to_q") | {name: torch.zeros(1, 1)})
    assert card.kind == "lora" and why in card.fault and "LoRA" in card.fault


@pytest.mark.parametrize(
    "shapes",
    [
        {"lora_down.weight": (4, 768)},
        {"lora_down.weight": (4, 768), "lora_up.weight": (320, 8)},
        {"lora_down.weight": (4,), "lora_up.weight": (320,)},
        {"lora_down.weight": (), "lora_up.weight": ()},
        {"lora_down.weight": (4, 32, 1, 1), "lora_mid.weight": (8, 4, 3, 3), "lora_up.weight": (320, 4, 1, 1)},
        {"hada_w1_a": (320, 4), "hada_w1_b": (4, 768)},
        {"hada_w1_a": (320, 4), "hada_w1_b": (4, 768), "hada_w2_a": (320, 4), "hada_w2_b": (4, 700)},
        {"lokr_w1": (4, 4)},
        {"lokr_w1": (), "lokr_w2": (3, 3)},
        {"lora_down.weight": (4, 768), "lora_up.weight": (320, 4), "alpha": (2,)},
        {"lora_down.weight": (4, 768), "lora_up.weight": (320, 4), "dora_scale": (319,)},
        {"lora_down.weight": (4, 768), "lora_up.weight": (320, 4), "dora_scale": (1, 700)},
    ],
)
def test_tensors_that_do_not_go_together_are_damage(tmp_path, shapes):
    card = card_of(tmp_path, {f"{BLOCK}_attn2_to_k.{role}": torch.zeros(shape) for role, shape in shapes.items()})
    assert "damaged LoRA" in card.fault


def test_the_same_layer_twice_in_two_styles_is_damage():
    with pytest.raises(Unreadable, match="are the same"):
        lora_keys.grouped([f"lora_unet_{LAYER}.lora_up.weight", "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_B.weight"])


PIECES = st.sampled_from([*lora_keys.ROLES, *lora_keys.REFUSED, *lora_keys.PREFIXES, "input_blocks_", "9" * 5000, "_1_", "attn1", ".", "é", ""])


@given(st.lists(PIECES, max_size=6).map("".join), st.lists(st.integers(0, 3), max_size=5).map(tuple))
def test_no_name_and_no_shape_is_too_odd(name, shape):
    finding = loras.recognised(header.Header({name: header.Tensor("F32", shape), "lora_unet_x.lora_up.weight": header.Tensor("F32", (2, 2))}, {}))
    assert finding.kind == "lora" and "LoRA" in finding.fault


# ---------------------------------------------------------------- where it lies
@pytest.mark.parametrize("folder", ["Lora", "loras", "LyCORIS", "", "Lora/style", "my things"])
def test_it_is_found_in_every_layout(tmp_path, folder):
    write(tmp_path / folder / "ink.safetensors", attention(768))
    name = {"Lora/style": "style/ink", "my things": "my things/ink"}.get(folder, "ink")
    assert index(tmp_path).card(name).kind == "lora"


def test_a_picture_beside_it_is_its_preview(tmp_path):
    write(tmp_path / "ink.safetensors", attention(768))
    assert index(tmp_path).card("ink").lora.preview is None
    for name in ("ink.png", "ink.preview.png"):
        (tmp_path / name).write_bytes(b"")
        assert index(tmp_path).card("ink").lora.preview == tmp_path / name


def test_those_in_the_box_are_listed_too(tmp_path):
    write(tmp_path / "box" / "pixel.safetensors", attention(768))
    assert index(own=tmp_path / "box").card("pixel").kind == "lora"


# ---------------------------------------------------------------- which model may wear it
def test_it_goes_with_the_models_whose_layers_it_matches_and_no_other(tmp_path, parts, home):
    unet, _, text = parts
    write(tmp_path / "ours.safetensors", kohya(unet, text, ends=CONVOLUTIONS))
    write(tmp_path / "xl.safetensors", attention(2048))
    found = index(home, tmp_path)
    assert found.misfit("good", "ours") == ""
    assert "ours does not go with small: it changes" in found.misfit("small", "ours")
    assert "ours does not go with embedded: it was made for" in found.misfit("embedded", "ours")
    assert found.misfit("good", "xl") == "xl does not go with good: it is for Stable Diffusion XL, and good is Stable Diffusion 1.x"


def test_an_inpainting_model_has_more_inputs_than_a_lora_knows_and_may_wear_it(tmp_path, home):
    first = {"lora_unet_conv_in.lora_down.weight": torch.zeros(4, 4, 3, 3), "lora_unet_conv_in.lora_up.weight": torch.zeros(32, 4, 1, 1)}
    write(tmp_path / "first.safetensors", first)
    assert index(home, tmp_path).misfit("painter", "first") == ""


def test_a_lora_for_the_model_in_the_box_is_of_its_family_and_fits_nothing_else(tmp_path, home):
    sizes = [(name, tensor.shape) for name, tensor in header.read(EMBEDDED / "unet" / "diffusion_pytorch_model.safetensors").tensors.items()]
    tensors = {}
    for name, shape in sizes:
        if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight")):
            layer = "unet." + name.removesuffix(".weight")
            tensors |= {f"{layer}.lora_A.weight": random(2, shape[1], seed=1), f"{layer}.lora_B.weight": random(shape[0], 2, seed=2)}
    write(tmp_path / "pixel.safetensors", tensors)
    found = index(home, tmp_path)
    assert found.card("pixel").family == found.card("embedded").family
    assert [card.name for card in found.loras("embedded")] == ["pixel"] and found.loras("good") == found.loras("nobody") == found.loras("pixel") == []
    assert found.misfit("embedded", "pixel") == "" and all(found.misfit(name, "pixel") for name in ("good", "small", "painter"))


def test_a_look_at_many_alike_remembers_their_layers_once(tmp_path, parts):
    for i in range(3):
        write(tmp_path / f"{i}.safetensors", peft(parts[0], seed=i))
    found = [loras.recognised(header.read(tmp_path / f"{i}.safetensors")).layers for i in range(3)]
    assert found[0] is found[1] is found[2] and len(found[0]) > 50
