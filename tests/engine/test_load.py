"""Loading: every tensor arrives, nothing is executed, and what does not fit is named."""

import json
import os
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from sd_ui.engine.device import choose
from sd_ui.engine.load import load, with_vae
from sd_ui.engine.loaded import Loaded
from sd_ui.models import tokens
from sd_ui.models.hashes import Hashes
from sd_ui.models.index import ModelIndex
from sd_ui.models.published import CONFIGS
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest
from tests.checkpoints import TEXT_WIDTH, WIDTHS, original_tensors, tiny_folder, tiny_parts, tiny_single_file, tiny_vae_file

PARTS = {"denoiser": "unet", "vae": "vae", "text_encoder": "text_encoder"}  # our name -> diffusers' name
EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
CPU = choose("cpu")


def card(path: Path) -> ModelCard:
    cards = ModelIndex([path.parent], EMBEDDED, path.parent / "none").cards()
    return next(card for card in cards.values() if card.path == path)


def loaded(path: Path) -> Loaded:
    return load(card(path), None, CPU)


def unchecked(path: Path) -> ModelCard:
    """As if the scan had found nothing wrong: the file may have changed since."""
    return ModelCard("model", "checkpoint", "sd1", path, "folder" if path.is_dir() else "file", 1)


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    mine, other = ours.state_dict(), theirs.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name].float()) for name in mine)


# ---------------------------------------------------------------- every tensor arrives
@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_a_folder_is_loaded_as_diffusers_loads_it(tmp_path, kind):
    path = tiny_folder(tmp_path / "model", vae=kind, prediction_type="v_prediction")
    ours, stock = loaded(path), StableDiffusionPipeline.from_pretrained(path)
    for own, part in PARTS.items():
        assert same(getattr(ours, own), getattr(stock, part)), part
    assert dict(ours.denoiser.config) == {name: value for name, value in stock.unet.config.items() if not name.startswith("_")}
    assert ours.tokenizer("a photo of the cat").input_ids == stock.tokenizer("a photo of the cat").input_ids
    assert ours.scheduler_config == {name: stock.scheduler.config[name] for name in ours.scheduler_config}
    assert ours.scheduler_config["prediction_type"] == "v_prediction"


def test_the_model_in_the_box_is_loaded_as_diffusers_loads_it():
    ours, stock = load(unchecked(EMBEDDED), None, CPU), StableDiffusionPipeline.from_pretrained(EMBEDDED)
    for own, part in PARTS.items():
        assert same(getattr(ours, own), getattr(stock, part).float()), part
    text = "a large shiny red sphere on a checkered floor, at sunset"
    assert ours.tokenizer(text).input_ids == stock.tokenizer(text).input_ids
    assert ours.tokenizer.model_max_length == 77
    assert ours.depth_estimator is not None and ours.depth_processor is not None


def test_a_loaded_model_computes_what_diffusers_computes(tmp_path):
    path = tiny_folder(tmp_path / "model")
    ours, stock = loaded(path), StableDiffusionPipeline.from_pretrained(path)
    for tensor in (*stock.unet.parameters(), *stock.vae.parameters(), *stock.text_encoder.parameters()):
        tensor.data = tensor.data.clone()  # diffusers' lie in the mapped file at any address, and the address decides the last bits
    ids = torch.tensor([ours.tokenizer("the red cat", padding="max_length").input_ids])
    with torch.inference_mode():
        text = ours.text_encoder(ids)[0]
        assert torch.equal(text, stock.text_encoder(ids)[0])
        latents = torch.randn(1, 4, 8, 8)
        assert torch.equal(ours.denoiser(latents, 5, text)[0], stock.unet(latents, 5, text)[0])
        assert torch.equal(ours.vae.decode(latents)[0], stock.vae.decode(latents)[0])


@pytest.mark.parametrize("in_channels", [4, 9])
def test_a_single_file_has_the_1130_published_names_and_every_tensor_arrives(tmp_path, in_channels):
    path = tiny_single_file(tmp_path / "model.safetensors", in_channels)
    saved = load_file(path)
    assert len(saved) == 1130
    for name in ("model.diffusion_model.output_blocks.11.1.proj_out.weight", "first_stage_model.decoder.up.3.upsample.conv.bias",
                 "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc2.weight"):  # fmt: skip
        assert name in saved
    ours = loaded(path)
    again = original_tensors(ours.denoiser, ours.vae, ours.text_encoder)
    assert again.keys() == saved.keys() and all(torch.equal(again[name], saved[name]) for name in saved)
    assert ours.denoiser.config.in_channels == in_channels and ours.depth_unet is None


def test_a_single_file_is_loaded_as_diffusers_loads_it(tmp_path):
    """diffusers' own conversion is the oracle of our table of names."""
    path = tiny_single_file(tmp_path / "model.safetensors")
    configs = bundled_configs_with_tiny_widths(tmp_path / "configs")
    stock = StableDiffusionPipeline.from_single_file(path, config=str(configs), local_files_only=True)
    ours = loaded(path)
    for own, part in PARTS.items():
        assert same(getattr(ours, own), getattr(stock, part)), part
    for name in ("down_block_types", "attention_head_dim", "cross_attention_dim", "layers_per_block", "norm_num_groups"):
        assert ours.denoiser.config[name] == stock.unet.config[name]


def bundled_configs_with_tiny_widths(folder: Path) -> Path:
    changes = {
        "unet": {"block_out_channels": WIDTHS, "cross_attention_dim": TEXT_WIDTH},
        "vae": {"block_out_channels": WIDTHS},
        "text_encoder": {"hidden_size": TEXT_WIDTH, "intermediate_size": 2 * TEXT_WIDTH, "num_attention_heads": 1},
    }
    for part, change in changes.items():
        (folder / part).mkdir(parents=True)
        config = json.loads((CONFIGS / "sd15" / part / "config.json").read_text())
        (folder / part / "config.json").write_text(json.dumps(config | change))
    tiny_folder(folder / "whole")
    for part in ("scheduler", "model_index.json"):
        (folder / "whole" / part).rename(folder / part)
    (folder / "tokenizer").symlink_to(tokens.CLIP_L)
    return folder


def test_what_training_left_in_a_file_does_no_harm(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = original_tensors(*tiny_parts())
    extra = {"model_ema.decay": torch.ones(1), "betas": torch.ones(1000), "first_stage_model.loss.logvar": torch.ones(1)}
    extra["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors | extra, path)
    ours = loaded(path)
    assert torch.equal(ours.denoiser.conv_in.weight, tensors["model.diffusion_model.input_blocks.0.0.weight"])


def test_the_oldest_spelling_of_the_text_encoder_is_understood(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = original_tensors(*tiny_parts())
    save_file({name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in tensors.items()}, path)
    assert loaded(path).text_encoder.config.num_hidden_layers == 12


def test_a_single_file_can_say_that_it_predicts_v(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(original_tensors(*tiny_parts()) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    config = loaded(path).scheduler_config
    assert config["prediction_type"] == "v_prediction" and config["rescale_betas_zero_snr"] is True


def test_half_precision_files_become_what_the_place_computes_in(tmp_path):
    path = tiny_single_file(tmp_path / "model.safetensors", half=True)
    for place in (CPU, choose("cpu", "bf16")):
        ours = load(card(path), None, place)
        assert {p.dtype for part in (ours.denoiser, ours.vae, ours.text_encoder) for p in part.parameters()} == {place.dtype}
        assert not any(p.requires_grad for p in ours.denoiser.parameters()) and not ours.denoiser.training


@pytest.mark.parametrize("pad", ["!", {"content": "!", "lstrip": False}])
def test_a_model_may_pad_with_a_token_of_its_own(tmp_path, pad):
    path = tiny_folder(tmp_path / "model")
    config = path / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token": pad}))
    ours = loaded(path).tokenizer
    assert ours.pad_token == "!" and ours("cat", padding="max_length").input_ids[-1] == 0


# ---------------------------------------------------------------- depth
def test_the_depth_model_shares_every_tensor_but_the_first_convolution(tmp_path):
    for path in (EMBEDDED, tiny_folder(tmp_path / "model", depth=True)):
        ours = load(unchecked(path), None, CPU)
        assert ours.depth_unet.config.in_channels == 5 and ours.denoiser.config.in_channels == 4
        plain, deep = ours.denoiser.state_dict(), ours.depth_unet.state_dict()
        assert {name for name in plain if plain[name].data_ptr() != deep[name].data_ptr()} == {"conv_in.weight"}
        saved = load_file(path / "unet" / "conv_in_depth.safetensors")["conv_in.weight"]
        assert torch.equal(deep["conv_in.weight"], saved.float())


def test_the_inpainting_model_shares_every_tensor_but_the_first_convolution(tmp_path):
    path = tiny_folder(tmp_path / "model", depth=True)
    ours = loaded(path)
    assert ours.inpaint_unet.config.in_channels == 9 and ours.denoiser.config.in_channels == 4
    plain, masked = ours.denoiser.state_dict(), ours.inpaint_unet.state_dict()
    assert {name for name in plain if plain[name].data_ptr() != masked[name].data_ptr()} == {"conv_in.weight"}
    assert torch.equal(masked["conv_in.weight"], load_file(path / "unet" / "conv_in_inpaint.safetensors")["conv_in.weight"].float())


def test_a_nine_channel_model_is_its_own_inpainting_model(tmp_path):
    ours = loaded(tiny_folder(tmp_path / "model", 9))
    assert ours.inpaint_unet is ours.denoiser and ours.depth_unet is None


def test_without_depth_the_depth_model_says_what_the_plain_one_says():
    ours = load(unchecked(EMBEDDED), None, CPU)
    latents, text = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 128)
    with torch.inference_mode():
        empty = torch.cat([latents, torch.zeros(1, 1, 16, 16)], 1)
        assert torch.allclose(ours.depth_unet(empty, 500, text)[0], ours.denoiser(latents, 500, text)[0], atol=1e-4)


def test_a_five_channel_model_is_its_own_depth_model_and_brings_its_estimator(tmp_path):
    ours = loaded(tiny_folder(tmp_path / "model", 5, depth=True))
    assert ours.depth_unet is ours.denoiser
    pixels = ours.depth_processor(images=torch.zeros(3, 64, 64, dtype=torch.uint8), return_tensors="pt").pixel_values
    assert ours.depth_estimator(pixels).predicted_depth.shape == (1, 64, 64)


def test_stable_diffusion_2s_kind_of_depth_estimator_is_loaded(tmp_path):
    from transformers import DPTConfig, DPTForDepthEstimation

    path = tiny_folder(tmp_path / "model", 5)
    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, image_size=64, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 16, 32, 32], fusion_hidden_size=16,
    )  # fmt: skip
    stock = DPTForDepthEstimation(config).eval()
    stock.save_pretrained(path / "depth_estimator")
    (path / "feature_extractor").mkdir()
    facts = {"feature_extractor_type": "DPTFeatureExtractor", "do_resize": True, "size": 64, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (path / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(facts))
    ours = load(unchecked(path), None, CPU)
    pixels = ours.depth_processor(images=torch.full((3, 90, 70), 255, dtype=torch.uint8), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 64, 64) and pixels.unique().tolist() == [1.0]
    with torch.inference_mode():
        assert torch.equal(ours.depth_estimator(pixels).predicted_depth, stock(pixels).predicted_depth)


def test_a_depth_estimator_of_another_kind_is_refused(tmp_path):
    path = tiny_folder(tmp_path / "model", 5, depth=True)
    config = path / "depth_estimator" / "config.json"
    for change in ({"model_type": "evil"}, {"use_timm_backbone": True}):
        original = config.read_text()
        config.write_text(json.dumps(json.loads(original) | change))
        with pytest.raises(BadRequest, match="depth estimator"):
            load(unchecked(path), None, CPU)
        config.write_text(original)


# ---------------------------------------------------------------- another VAE
@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_another_vae_takes_the_place_of_the_models_own(tmp_path, prefix):
    model, vae = card(tiny_folder(tmp_path / "model")), card(tiny_vae_file(tmp_path / "vae.safetensors", seed=7, prefix=prefix))
    own, other = load(model, None, CPU), load(model, vae, CPU)
    assert other.vae_card == vae and own.vae_card is None
    assert other.vae_hash == Hashes().of(vae.path) != own.vae_hash and other.model_hash == own.model_hash
    saved = load_file(vae.path)[prefix + "decoder.mid.attn_1.q.weight"]
    assert torch.equal(other.vae.decoder.mid_block.attentions[0].to_q.weight, saved[:, :, 0, 0])
    assert same(with_vae(other, None).vae, own.vae) and with_vae(other, None).denoiser is other.denoiser


def test_a_vae_may_be_a_folder(tmp_path):
    path = tiny_folder(tmp_path / "other", vae="tiny", seed=3) / "vae"
    model, vae = card(tiny_folder(tmp_path / "model")), replace(card(path.parent), path=path, kind="vae")
    assert type(load(model, vae, CPU).vae).__name__ == "AutoencoderTiny"


def test_attention_weights_of_old_vaes_are_understood(tmp_path):
    path = tiny_folder(tmp_path / "model")
    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    named = {next((name.replace(new, was) for new, was in old.items() if f".{new}." in name), name): t for name, t in tensors.items()}
    assert named.keys() != tensors.keys()
    save_file(named, file)
    assert torch.equal(loaded(path).vae.encoder.mid_block.attentions[0].to_q.weight, tensors["encoder.mid_block.attentions.0.to_q.weight"])


def test_a_broken_vae_is_the_vaes_fault(tmp_path):
    vae = tiny_vae_file(tmp_path / "vae.safetensors")
    tensors = load_file(vae)
    del tensors["decoder.conv_out.bias"]
    save_file(tensors, vae)
    with pytest.raises(BadRequest, match=r"decoder\.conv_out\.bias") as error:
        load(card(tiny_folder(tmp_path / "model")), card(vae), CPU)
    assert error.value.field == "vae"


# ---------------------------------------------------------------- what does not fit is named
@pytest.mark.parametrize(("part", "name"), [("unet", "the U-Net"), ("vae", "the VAE"), ("text_encoder", "the text encoder")])
@pytest.mark.parametrize("change", ["missing", "strange", "shape"])
def test_weights_that_do_not_fit_their_config_are_named(tmp_path, part, name, change):
    path = tiny_folder(tmp_path / "model")
    file = next((path / part).glob("*.safetensors"))
    tensors = load_file(file)
    some = sorted(tensors)[0]
    more = {"missing": {}, "strange": {some: tensors[some], "odd": torch.ones(1)}, "shape": {some: torch.ones(3)}}
    tensors = {name: tensor for name, tensor in tensors.items() if name != some} | more[change]
    save_file(tensors, file)
    with pytest.raises(BadRequest, match=name) as error:
        load(card(path), None, CPU)
    assert error.value.field == "model" and ("odd" if change == "strange" else some) in error.value.why


def test_a_single_file_with_a_hole_names_the_tensor(tmp_path):
    path = tiny_single_file(tmp_path / "model.safetensors")
    tensors = load_file(path)
    del tensors["model.diffusion_model.out.2.bias"]
    save_file(tensors, path)
    with pytest.raises(BadRequest, match=r"the U-Net .* conv_out\.bias"):
        load(card(path), None, CPU)


def test_a_text_encoder_with_other_tokens_than_clips_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="1000 tokens"):
        loaded(tiny_single_file(tmp_path / "model.safetensors", vocabulary=1000))


@pytest.mark.parametrize("change", [{"down_block_types": ["EvilBlock"]}, {"block_out_channels": "wide"}, {"norm_num_groups": 0}])
def test_a_config_that_makes_no_sense_is_named(tmp_path, change):
    path = tiny_folder(tmp_path / "model")
    config = path / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(BadRequest, match="the U-Net"):
        load(card(path), None, CPU)


@pytest.mark.parametrize("value", [[], "x", -1, {}, [None]], ids=repr)
def test_odd_values_in_configs_stop_neither_the_scan_nor_anything_but_their_model(tmp_path, value):
    path = tiny_folder(tmp_path / "model", 5, depth=True)
    for file in ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json", "depth_estimator/config.json"):
        saved = (path / file).read_text()
        config = json.loads(saved)
        for name in [*config, "architectures"][:: 4 if len(config) > 20 else 1]:
            (path / file).write_text(json.dumps(config | {name: value}))
            card(path)
        with suppress(BadRequest):
            load(unchecked(path), None, CPU)
        (path / file).write_text(saved)


@pytest.mark.parametrize(
    "change", [{"beta_start": "x"}, {"beta_end": 3.0}, {"num_train_timesteps": 0}, {"trained_betas": [0.1]}, {"trained_betas": 7}]
)
def test_a_noise_schedule_that_makes_no_sense_is_refused(tmp_path, change):
    path = tiny_folder(tmp_path / "model")
    config = path / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(BadRequest, match="the scheduler"):
        load(card(path), None, CPU)


def test_a_noise_schedule_of_the_models_own_is_kept(tmp_path):
    path = tiny_folder(tmp_path / "model")
    config, betas = path / "scheduler" / "scheduler_config.json", [i / 50_000 for i in range(1, 1001)]
    config.write_text(json.dumps(json.loads(config.read_text()) | {"trained_betas": betas}))
    assert load(card(path), None, CPU).scheduler_config["trained_betas"] == betas


def test_an_unknown_noise_schedule_is_refused(tmp_path):
    path = tiny_folder(tmp_path / "model")
    config = path / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"beta_schedule": "magic"}))
    with pytest.raises(BadRequest, match=r"the scheduler .*magic"):
        load(card(path), None, CPU)


def test_a_card_with_a_fault_is_not_even_tried(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(BadRequest, match="empty"):
        loaded(tmp_path / "x.safetensors")


# ---------------------------------------------------------------- nothing is executed
def test_a_pickle_that_came_after_the_scan_never_runs(tmp_path):
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    folder = tiny_folder(tmp_path / "model")
    file = tiny_single_file(tmp_path / "file.safetensors")
    cards = [card(folder), card(file)]
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(pickle.dumps(Bomb()))
    file.write_bytes(pickle.dumps(Bomb()))
    for bad in cards:
        with pytest.raises(BadRequest, match="pickle"):
            load(bad, None, CPU)
    assert not marker.exists()


def test_code_in_a_models_folder_never_runs(tmp_path):
    path, marker = tiny_folder(tmp_path / "model"), tmp_path / "marker"
    (path / "pipeline.py").write_text(f"import os; os.mkdir({str(marker)!r})")
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        (path / part / "modeling_evil.py").write_text(f"import os; os.mkdir({str(marker)!r})")
        name = "tokenizer_config.json" if part == "tokenizer" else "config.json"
        config = json.loads((path / part / name).read_text())
        (path / part / name).write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_evil.Evil", "AutoTokenizer": "modeling_evil.Evil"}}))
    loaded(path)
    assert not marker.exists()


def test_a_loaded_model_does_not_depend_on_its_file_any_more(tmp_path):
    path = tiny_folder(tmp_path / "model")
    ours = loaded(path)
    before = ours.denoiser.conv_in.weight.clone()
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    file.write_bytes(b"")
    assert torch.equal(ours.denoiser.conv_in.weight, before)
