"""Flux.1 and SD 3 in fewer bits: GGUF, float8 with scales, bitsandbytes. Every tensor arrives as the number that its file means."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_ui.engine import bnb
from sd_ui.engine.load import load
from sd_ui.models import header
from sd_ui.models.header import Unreadable
from sd_ui.models.index import ModelIndex
from sd_ui.models.quantised import fault
from tests import gguf_files
from tests.engine.test_load import CPU, EMBEDDED, loaded
from tests.flow_files import UNET, flux_file, save, sd3_file, text_tensors
from tests.mmdit import flux_folder

MADE = {"flux": lambda: flux_file(double=1, single=1), "sd3": lambda: sd3_file(blocks=2)}
T5_NAMES = {  # transformers' -> llama.cpp's
    "shared.weight": "token_embd.weight", "encoder.final_layer_norm.weight": "enc.output_norm.weight", "SelfAttention.q": "attn_q",
    "SelfAttention.k": "attn_k", "SelfAttention.v": "attn_v", "SelfAttention.o": "attn_o", "SelfAttention.relative_attention_bias": "attn_rel_b",
    "layer.0.layer_norm": "attn_norm", "DenseReluDense.wi_0": "ffn_gate", "DenseReluDense.wi_1": "ffn_up", "DenseReluDense.wo": "ffn_down",
    "layer.1.layer_norm": "ffn_norm",
}  # fmt: skip


def quantised(kind):
    return lambda name, tensor: kind if tensor.ndim == 2 and tensor.shape[-1] % 32 == 0 else "F16" if tensor.ndim > 1 else "F32"


def as_llama(name: str) -> str:
    if name in T5_NAMES:
        return T5_NAMES[name]
    block = name.removeprefix("encoder.block.").split(".")[0]
    return next(f"enc.blk.{block}.{theirs}.weight" for ours, theirs in T5_NAMES.items() if f"{ours}.weight" in name and "." in ours)


def same(ours, theirs):
    assert ours.keys() == theirs.keys() and not [name for name in ours if not torch.equal(ours[name], theirs[name])]


def cards_of(folder):
    return ModelIndex([folder], EMBEDDED, folder / "none").cards()


# ---------------------------------------------------------------- GGUF
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "F16"])
@pytest.mark.parametrize("family", MADE)
def test_a_transformer_in_gguf_is_the_one_whose_numbers_it_stores(tmp_path, family, kind):
    """As ComfyUI's converters write it: the transformer alone, without a prefix; the others lie in files of their own, T5 in GGUF too."""
    made = MADE[family]()
    models = tmp_path / "models"
    numbers = gguf_files.write(models / "unet" / f"{family}-{kind}.gguf", made.tensors("", ()), quantised(kind), {"general.architecture": family})
    words = {as_llama(name): tensor for name, tensor in text_tensors(made.texts["t5"]).items()}
    facts = {"general.architecture": "t5encoder", "tokenizer.ggml.tokens": [str(i) for i in range(50)]}
    read = gguf_files.write(models / "text_encoders" / "t5.gguf", words, quantised(kind), facts)
    for part in made.texts.keys() - {"t5"}:
        save(text_tensors(made.texts[part]), models / "text_encoders" / f"{part}.safetensors")
    save(
        {name: tensor for name, tensor in made.tensors("", ("vae",)).items() if name.startswith(made.vae_prefix)},
        models / "vae" / f"{family}.safetensors",
    )
    plain = save(made.tensors("", ("clip_l", "clip_g", "t5", "vae")) | numbers, tmp_path / "plain.safetensors")

    cards = cards_of(models)
    found = cards[f"unet/{family}-{kind}"] if f"unet/{family}-{kind}" in cards else cards[f"{family}-{kind}"]
    assert (found.family, found.fault, found.stored) == (family, "", {"F16": "fp16"}.get(kind, kind))
    ours, theirs = load(found, cards[family], CPU), loaded(plain)
    same(gguf_files.numbers(ours.denoiser), theirs.denoiser.state_dict())
    t5 = gguf_files.numbers(ours.texts[-1].encoder)
    back = {name: read[as_llama(name)] for name in text_tensors(made.texts["t5"])}
    same(t5, back | {"encoder.embed_tokens.weight": back["shared.weight"]})


# ---------------------------------------------------------------- float8
def test_float8_with_scales_is_multiplied_before_matrices_are_taken_apart(tmp_path):
    made = MADE["flux"]()
    told, numbers = made.tensors(), made.tensors()
    for i, name in enumerate(sorted(name for name in told if name.startswith(UNET) and name.endswith(".weight") and told[name].ndim == 2)):
        told[name], scale = (told[name] / (i + 1)).to(torch.float8_e4m3fn), torch.tensor([i + 1.0])
        numbers[name] = told[name].float() * scale
        told[name.removesuffix("weight") + "scale_weight"] = scale
    path = save(told | {UNET + "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "flux-fp8-scaled.safetensors")
    same(loaded(path).denoiser.state_dict(), loaded(save(numbers, tmp_path / "numbers.safetensors")).denoiser.state_dict())


# ---------------------------------------------------------------- bitsandbytes
TABLE = torch.linspace(-1, 1, 16).sign() * torch.linspace(-1, 1, 16) ** 2  # as in nf4, closer together around zero


def four_bits(name, weight, nested=False):
    """What bitsandbytes saves of a layer, and its numbers, one after the other."""
    numbers = weight.flatten()
    blocks = torch.nn.functional.pad(numbers, (0, -len(numbers) % 64)).reshape(-1, 64)
    largest = blocks.abs().amax(1)
    told = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": list(weight.shape)}
    saved = {f"{name}.absmax": largest, f"{name}.quant_map": TABLE.clone()}
    if nested:
        offset, table = 0.25, torch.linspace(-1, 1, 256)
        scales = torch.stack([part.abs().amax() for part in (largest - offset).split(256)])
        chosen = torch.cat([((part - offset) / scale).clamp(-1, 1) for part, scale in zip(largest.split(256), scales, strict=True)])
        absmax = ((chosen + 1) / 2 * 255).round().to(torch.uint8)
        saved |= {f"{name}.absmax": absmax, f"{name}.nested_absmax": scales, f"{name}.nested_quant_map": table}
        told |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset}
        largest = torch.stack([table[int(absmax[i])] * scales[i // 256] + offset for i in range(len(absmax))])
    q = torch.tensor([int((TABLE - numbers[i] / largest[i // 64]).abs().argmin()) for i in range(len(numbers))], dtype=torch.uint8)
    saved[name] = (q[0::2] << 4 | q[1::2])[:, None]
    saved[f"{name}.quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8)
    means = torch.stack([TABLE[int(q[i])] * largest[i // 64] for i in range(len(q))]).reshape(weight.shape)
    return saved, means


@pytest.mark.parametrize("nested", [False, True])
def test_four_bits_mean_what_their_table_and_scales_say(nested):
    weight = torch.randn(40, 48, generator=torch.Generator().manual_seed(0))
    saved, means = four_bits("a.weight", weight, nested)
    found = bnb.unpacked(saved | {"a.bias": torch.ones(40)})
    assert found.keys() == {"a.weight", "a.bias"} and found["a.weight"].shape == (40, 48) and torch.equal(found["a.weight"] + 0, means)
    assert (means - weight).abs().max() < 0.5


@pytest.mark.parametrize("nested", [False, True])
def test_four_bits_mean_what_bitsandbytes_says(nested):
    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(torch.randn(64, 128), quant_type="nf4", compress_statistics=nested)
    saved = {"a.weight": packed} | {f"a.weight.{name}": value for name, value in state.as_dict(packed=True).items()}
    assert torch.equal(bnb.unpacked(saved)["a.weight"] + 0, functional.dequantize_4bit(packed, state))


def test_a_folder_quantised_by_bitsandbytes_is_loaded_as_what_it_means(tmp_path):
    """The transformer in four bits, T5 in eight, as the folders on the hub have them."""
    folder = flux_folder(tmp_path / "models" / "flux-bnb")
    numbers = {}
    for part, quantise in (("transformer", four_bits), ("text_encoder_2", eight_bits)):
        (file,) = (folder / part).glob("*.safetensors")
        saved = load_file(file)
        layers = [name for name in saved if name.endswith(".weight") and saved[name].ndim == 2 and "embed" not in name and "shared" not in name]
        for name in layers[:6]:
            more, numbers[part, name] = quantise(name, saved.pop(name))
            saved |= more
        save_file(saved, file)
        config = json.loads((folder / part / "config.json").read_text())
        (folder / part / "config.json").write_text(
            json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}})
        )
    card = cards_of(tmp_path / "models")["flux-bnb"]
    assert not card.fault
    ours = load(card, None, CPU)
    states = {"transformer": gguf_files.numbers(ours.denoiser), "text_encoder_2": gguf_files.numbers(ours.texts[-1].encoder)}
    assert numbers and all(torch.equal(states[part][name], means) for (part, name), means in numbers.items())


def eight_bits(name, weight):
    rows = weight.abs().amax(1)
    q = (weight / rows[:, None] * 127).round().to(torch.int8)
    stem = name.removesuffix("weight")
    return {name: q, f"{stem}SCB": rows, f"{stem}weight_format": torch.tensor(0, dtype=torch.uint8)}, q.float() * (rows / 127)[:, None]


def test_memory_is_counted_by_what_is_unpacked(tmp_path):
    saved, _ = four_bits("a.weight", torch.randn(40, 64))
    found = header.read(save(saved, tmp_path / "x.safetensors"))
    assert found.stored == "nf4" and 40 * 64 <= found.numbers < 1.1 * 40 * 64


def test_damaged_layers_of_bitsandbytes_are_refused_in_words():
    saved, _ = four_bits("a.weight", torch.randn(8, 16), nested=True)
    for name, value in (
        ("a.weight.nested_quant_map", torch.zeros(3)),
        ("a.weight.nested_absmax", torch.zeros(3)),
        ("a.weight.absmax", torch.zeros(2)),
    ):
        with pytest.raises(Unreadable, match="make no sense"):
            bnb.unpacked(saved | {name: value})
    saved, _ = four_bits("a.weight", torch.randn(8, 16))
    for name, value in (
        ("a.weight", torch.zeros(3, 1, dtype=torch.uint8)),
        ("a.weight.absmax", torch.zeros(9)),
        ("a.weight.quant_map", torch.zeros(3)),
    ):
        with pytest.raises(Unreadable, match="make no sense"):
            bnb.unpacked(saved | {name: value})
    for told in ("{", "[]", '{"shape": [8, -16], "blocksize": 64}', json.dumps({"shape": [8, 16], "blocksize": 0})):
        with pytest.raises(Unreadable, match="make no sense"):
            bnb.unpacked(saved | {"a.weight.quant_state.bitsandbytes__nf4": torch.tensor(list(told.encode()), dtype=torch.uint8)})
    with pytest.raises(Unreadable, match="make no sense"):
        bnb.unpacked({"a.weight": torch.zeros(4, 4, dtype=torch.int8), "a.SCB": torch.zeros(3)})


def test_four_bits_in_one_file_are_refused_in_words(tmp_path):
    tensors = MADE["flux"]().tensors()
    name = UNET + "img_in.weight"
    saved, _ = four_bits(name, tensors.pop(name))
    card = cards_of(save(tensors | saved, tmp_path / "flux-nf4.safetensors").parent)["flux-nf4"]
    assert "packed into four bits by bitsandbytes" in card.fault and "GGUF" in card.fault


# ---------------------------------------------------------------- others
@pytest.mark.parametrize(
    ("said", "named"), [({"quant_method": "torchao"}, "torchao"), ({"quant_method": "quanto"}, "quanto"), ({"x": 1}, "does not name")]
)
def test_other_quantised_folders_are_recognised_and_refused_in_words(tmp_path, said, named):
    folder = flux_folder(tmp_path / "flux-other")
    config = json.loads((folder / "transformer" / "config.json").read_text())
    (folder / "transformer" / "config.json").write_text(json.dumps(config | {"quantization_config": said}))
    card = cards_of(tmp_path)["flux-other"]
    assert "the transformer is quantised by" in card.fault and named in card.fault and "GGUF" in card.fault
    assert fault("the U-Net", {}) == fault("the U-Net", {"quantization_config": {"quant_method": "bitsandbytes"}}) == ""
