"""Stable Diffusion 2 and XL: whatever layout they come in, every tensor arrives where diffusers' own readers put it."""

import json
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_ui.engine import trained_noise
from sd_ui.engine.device import Place
from sd_ui.engine.load import load, with_vae
from sd_ui.engine.loaded import Loaded
from sd_ui.models import files, tokens
from sd_ui.models.published import BIG_G, CLIP_L, CONFIGS, PUBLISHED
from sd_ui.spec.errors import BadRequest
from tests.checkpoints import tiny_vae_file
from tests.engine.test_load import CPU, card, loaded, same
from tests.families import Original, depth_estimator, midas_tensors, refiner_original, save, sd2_original, sdxl_folder, sdxl_original

MAKERS = {
    "sd2": sd2_original, "sd2 inpainting": lambda: sd2_original(9), "sd2 depth": lambda: sd2_original(5), "sdxl": sdxl_original,
    "sdxl inpainting": lambda: sdxl_original(9), "sdxl-refiner": refiner_original,
}  # fmt: skip
MODES = {4: ("txt2img", "img2img", "inpaint"), 9: ("inpaint",), 5: ("depth2img",)}
COUNTS = {"sd2": 1228, "sdxl": 2514, "sdxl-refiner": 1858}  # sd_xl_base_1.0 has 2515: with the table of positions that nobody needs


@pytest.fixture(scope="module", params=MAKERS)
def published(request, tmp_path_factory) -> tuple[str, Original, Path, Loaded]:
    made = MAKERS[request.param]()
    path = save(made, tmp_path_factory.mktemp("models") / "model.safetensors")
    return request.param, made, path, loaded(path)


def texts_of(model: Loaded) -> list[torch.nn.Module]:
    return [part.encoder for part in model.texts]


# ---------------------------------------------------------------- one file
def test_a_published_file_is_recognised_from_its_header_alone(published):
    name, made, path, _ = published
    family = name.split()[0]
    found = files.look(path)
    side = 1024 if "sdxl" in family else 512
    assert (found.family, found.fault, found.defaults.width, found.positions) == (family, "", side, 77)
    assert found.modes == (("img2img", "inpaint") if family == "sdxl-refiner" else MODES[made.unet.config.in_channels])
    assert len(made.tensors()) == COUNTS[family]


def test_a_published_file_is_loaded_as_diffusers_loads_it(published, tmp_path):
    """diffusers' own conversion is the oracle of our tables of names."""
    name, made, path, ours = published
    stock = getattr(diffusers, made.pipeline).from_single_file(path, config=str(made.configs(tmp_path / "configs")), local_files_only=True)
    assert same(ours.denoiser, stock.unet) and same(ours.vae, stock.vae)
    theirs = [encoder for part in ("text_encoder", "text_encoder_2") if (encoder := getattr(stock, part, None)) is not None]
    assert len(theirs) == len(ours.texts) == (2 if name.split()[0] == "sdxl" else 1)
    for mine, other in zip(texts_of(ours), theirs, strict=True):
        if name.startswith("sd2"):  # told to diffusers by a config of 24 layers; the last is in the file, and nobody reads it
            other.encoder.layers = other.encoder.layers[:23]
        assert type(mine) is type(other) and same(mine, other)


def test_every_tensor_of_a_published_file_arrives(published):
    _, made, path, ours = published
    saved = load_file(path)
    again = replace(made, unet=ours.denoiser, vae=ours.vae, texts=dict(zip(made.texts, texts_of(ours), strict=True))).tensors()
    unread = {name for name in saved if name.endswith("logit_scale")}
    if ours.family.name == "sd2":
        unread |= {name for name in saved if ".resblocks.23." in name or name.endswith("text_projection")}
    assert saved.keys() - unread == again.keys() - unread
    assert all(torch.equal(again[name], saved[name]) for name in saved.keys() - unread)


def test_what_a_file_does_not_say_is_what_was_published(published):
    name, _, _, ours = published
    assert ours.vae.config.scaling_factor == (0.13025 if "sdxl" in name else 0.18215)
    assert [part.tokenizer.pad_token for part in ours.texts] == (["<|endoftext|>", "!"] if name.split()[0] == "sdxl" else ["!"])
    assert ours.texts[-1].tokenizer("cat", padding="max_length").input_ids[-1] == 0
    assert ours.texts[-1].encoder.config.hidden_act == "gelu" and ours.denoiser.config.use_linear_projection
    assert ours.depth_unet is (ours.denoiser if "depth" in name else None) and ours.inpaint_unet is (ours.denoiser if "inpainting" in name else None)


def test_the_bundled_configs_say_what_the_published_models_are():
    unets = {one.family: json.loads((one.unet / "config.json").read_text()) for one in PUBLISHED}
    assert {family: (unet["cross_attention_dim"], unet["attention_head_dim"]) for family, unet in unets.items()} == {
        "sd1": (768, 8), "sd2": (1024, [5, 10, 20, 20]), "sdxl": (2048, [5, 10, 20]), "sdxl-refiner": (1280, [6, 12, 24, 24]),
    }  # fmt: skip
    assert (unets["sdxl"]["projection_class_embeddings_input_dim"], unets["sdxl-refiner"]["projection_class_embeddings_input_dim"]) == (2816, 2560)
    shapes = {folder: json.loads((folder / "config.json").read_text()) for folder in (CLIP_L, CONFIGS / "sd2" / "text_encoder", BIG_G)}
    kept = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "hidden_act")
    assert [tuple(shape[name] for name in kept) for shape in shapes.values()] == [
        (12, 768, 12, 3072, "quick_gelu"), (23, 1024, 16, 4096, "gelu"), (32, 1280, 20, 5120, "gelu"),
    ]  # fmt: skip


def test_a_published_file_with_a_hole_names_the_part(tmp_path):
    made = sdxl_original()
    path = save(made, tmp_path / "model.safetensors")
    tensors = load_file(path)
    for name, why in (
        ("conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_bias", "the second text encoder"),
        ("model.diffusion_model.label_emb.0.2.bias", "the U-Net .* add_embedding"),
    ):
        save_file({key: tensor for key, tensor in tensors.items() if key != name}, path)
        with pytest.raises(BadRequest, match=why):
            loaded(path)


def test_what_training_and_other_programs_left_in_a_file_does_no_harm(tmp_path):
    left = {"denoiser.sigmas": torch.ones(1000), "model_ema.decay": torch.ones(1), "first_stage_model.loss.logvar": torch.ones(1)}
    texts = {"conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    assert loaded(save(sdxl_original(), tmp_path / "xl.safetensors", **left, **texts)).family.name == "sdxl"
    texts = {"cond_stage_model.model.attn_mask": torch.zeros(77, 77)}
    ours = loaded(save(sd2_original(5), tmp_path / "deep.safetensors", betas=torch.ones(1000), **texts))
    assert ours.depth_unet is ours.denoiser and ours.depth_estimator is None, "a map of one's own is asked for"


# ---------------------------------------------------------------- the depth estimator inside a file
def test_the_published_depth_model_brings_its_own_estimator(tmp_path):
    theirs = depth_estimator()
    tensors = midas_tensors(theirs)
    for name in ("pretrained.act_postprocess3.0.project.0.bias", "pretrained.act_postprocess4.4.weight", "pretrained.model.blocks.11.attn.qkv.weight",
                 "pretrained.model.patch_embed.backbone.stages.2.blocks.8.norm3.bias", "scratch.refinenet1.resConfUnit2.conv2.weight",
                 "scratch.layer1_rn.weight", "scratch.output_conv.4.bias"):  # fmt: skip
        assert f"depth_model.model.{name}" in tensors  # as in 512-depth-ema, of which A1111 knows the first one
    ours = loaded(save(sd2_original(5), tmp_path / "512-depth-ema.safetensors", **tensors))
    assert same(ours.depth_estimator, theirs) and ours.depth_unet is ours.denoiser
    pixels = ours.depth_processor(images=torch.full((3, 90, 70), 255, dtype=torch.uint8), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 64, 64) and pixels.unique().tolist() == [1.0]
    with torch.inference_mode():
        assert torch.allclose(ours.depth_estimator(pixels).predicted_depth, theirs(pixels).predicted_depth)


def test_a_depth_estimator_of_another_kind_is_named(tmp_path):
    tensors = {name: tensor for name, tensor in midas_tensors(depth_estimator()).items() if ".patch_embed.backbone." not in name}
    with pytest.raises(BadRequest, match=r"the depth estimator .* DPT-Hybrid"):
        loaded(save(sd2_original(5), tmp_path / "model.safetensors", **tensors))


# ---------------------------------------------------------------- what the U-Net predicts
@pytest.fixture(scope="module")
def sd2() -> Original:
    return sd2_original()


@pytest.mark.parametrize(
    ("name", "metadata", "yaml", "said"),
    [
        ("768-v-ema", None, "", "v_prediction"),
        ("v2-1_768-ema-pruned", None, "", "v_prediction"),
        ("v2-1_512-ema-pruned", None, "", "epsilon"),
        ("dream_vpred", None, "", "v_prediction"),
        ("Dream-V-Prediction", None, "", "v_prediction"),
        ("dream", None, "", ""),
        ("dream", {"modelspec.prediction_type": "v"}, "", "v_prediction"),
        ("dream-vpred", {"modelspec.prediction_type": "epsilon"}, "", "epsilon"),
        ("dream", {"modelspec.predict_key": "v"}, "", "v_prediction"),
        ("dream", {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "", "v_prediction"),
        ("dream", None, "model:\n  params:\n    parameterization: \"v\"\n", "v_prediction"),
        ("dream-vpred", None, "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n", "epsilon"),
        ("dream-vpred", None, "# about this model\n", "v_prediction"),
    ],
)  # fmt: skip
def test_what_a_model_predicts_is_told_by_its_metadata_the_config_beside_it_or_its_name(tmp_path, sd2, name, metadata, yaml, said):
    path = save(sd2, tmp_path / f"{name}.safetensors", metadata=metadata)
    if yaml:
        path.with_suffix(".yaml").write_text(yaml)
    found = files.look(path)
    assert (found.prediction, found.defaults.width) == (said, 768 if said == "v_prediction" else 512)


def test_what_a_file_is_told_to_predict_reaches_the_samplers(tmp_path, sd2):
    path = save(sd2, tmp_path / "768-v-ema.safetensors")
    assert loaded(path).scheduler_config["prediction_type"] == "v_prediction"


def test_a_config_that_comes_later_is_seen(tmp_path, sd2):
    from sd_ui.models.index import ModelIndex

    path = save(sd2, tmp_path / "dream.safetensors")
    index = ModelIndex([tmp_path], CONFIGS, tmp_path / "none")
    assert index.card("dream").prediction == ""
    path.with_suffix(".yaml").write_text("parameterization: v\n")
    index.refresh()
    assert index.card("dream").prediction == "v_prediction"


@pytest.mark.parametrize(("bias", "said"), [(0.0, "epsilon"), (-2.0, "v_prediction"), (float("nan"), "v_prediction")])
def test_where_nothing_tells_what_it_predicts_the_model_itself_is_asked(tmp_path, bias, said):
    """As A1111 does: at the highest noise a model for noise says what it sees; one for v says about the negative of it."""
    made = sd2_original()
    with torch.no_grad():
        made.unet.conv_out.weight.zero_()
        made.unet.conv_out.bias.fill_(bias)
    assert loaded(save(made, tmp_path / "dream.safetensors")).scheduler_config["prediction_type"] == said


def test_a_preset_has_the_last_word_on_what_a_model_predicts(tmp_path, sd2):
    from sd_ui.models.index import ModelIndex

    save(sd2, tmp_path / "768-v-ema.safetensors")
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "768-v-ema.toml").write_text('prediction = "epsilon"\n')
    found = ModelIndex([tmp_path], CONFIGS, presets).card("768-v-ema")
    assert found.prediction == "epsilon" and load(found, None, CPU).scheduler_config["prediction_type"] == "epsilon"
    folder = sdxl_folder(tmp_path / "folder")
    assert load(replace(card(folder), prediction="v_prediction"), None, CPU).scheduler_config["prediction_type"] == "v_prediction"


def test_a_model_that_starts_from_noise_alone_says_so_and_every_sampler_understands(tmp_path):
    path = save(sdxl_original(), tmp_path / "noob.safetensors", v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    facts = loaded(path).scheduler_config
    assert facts["prediction_type"] == "v_prediction" and facts["rescale_betas_zero_snr"]
    theirs = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True)
    ours = diffusers.DDIMScheduler(trained_betas=facts["trained_betas"]).alphas_cumprod
    assert torch.allclose(ours[:-1], theirs.alphas_cumprod[:-1], atol=1e-6) and float(ours[-1]) == pytest.approx(trained_noise.LEAST, rel=1e-2)


# ---------------------------------------------------------------- diffusers folders
@pytest.mark.parametrize("refiner", [False, True])
def test_an_sdxl_folder_is_loaded_as_diffusers_loads_it(tmp_path, refiner):
    path = sdxl_folder(tmp_path / "model", refiner=refiner, prediction_type="v_prediction")
    kind = diffusers.StableDiffusionXLImg2ImgPipeline if refiner else diffusers.StableDiffusionXLPipeline
    ours, stock = loaded(path), kind.from_pretrained(path)
    assert ours.family.name == ("sdxl-refiner" if refiner else "sdxl")
    assert same(ours.denoiser, stock.unet) and same(ours.vae, stock.vae)
    for mine, encoder, tokenizer in zip(
        ours.texts[::-1], (stock.text_encoder_2, stock.text_encoder), (stock.tokenizer_2, stock.tokenizer), strict=False
    ):
        assert same(mine.encoder, encoder)
        asked = {"text": "a red cat", "padding": "max_length"}
        assert mine.tokenizer(**asked).input_ids == tokenizer(**asked).input_ids
    assert dict(ours.denoiser.config) == {name: value for name, value in stock.unet.config.items() if not name.startswith("_")}
    assert ours.scheduler_config["prediction_type"] == "v_prediction" and ours.vae.config.scaling_factor == 0.13025


@pytest.mark.parametrize(("missing", "named"), [("text_encoder_2", "the second text encoder"), ("tokenizer_2", "the second tokenizer")])
def test_an_sdxl_folder_without_a_part_names_the_part(tmp_path, missing, named):
    path = sdxl_folder(tmp_path / "model")
    (path / missing).rename(tmp_path / f".{missing}")
    assert f"{named} is missing" in card(path).fault


@pytest.mark.parametrize(
    ("file", "change"),
    [("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler"}), ("vae/config.json", {"latents_mean": [0.0] * 4})],
)
def test_an_sdxl_of_another_kind_of_noise_or_latents_is_refused_in_words(tmp_path, file, change):
    path = sdxl_folder(tmp_path / "model")
    (path / file).write_text(json.dumps(json.loads((path / file).read_text()) | change))
    assert "another kind of noise or latents" in card(path).fault


def test_parts_that_come_in_several_files_are_joined(tmp_path):
    """As diffusers saves what is larger than 10 GB, such as the U-Net of SDXL in single precision."""
    path = sdxl_folder(tmp_path / "model")
    stock = diffusers.UNet2DConditionModel.from_pretrained(path / "unet")
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    stock.save_pretrained(path / "unet", max_shard_size="200KB")
    pieces = sorted((path / "unet").glob("*.safetensors"))
    assert len(pieces) > 2 and card(path).size > sum(piece.stat().st_size for piece in pieces)
    assert same(loaded(path).denoiser, stock)
    pieces[1].rename(tmp_path / "away")
    assert f"the U-Net is not whole: {pieces[1].name} is missing" in card(path).fault
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../../../away"}}))
    assert "does not name safetensors files beside it" in card(path).fault


# ---------------------------------------------------------------- the VAE
def test_sdxls_vae_stays_in_float32_where_float16_would_overflow(tmp_path):
    folder, half = sdxl_folder(tmp_path / "model"), Place(torch.device("cpu"), torch.float16)
    ours = load(card(folder), None, half)
    assert ours.vae.dtype == torch.float32 and ours.denoiser.dtype == torch.float16
    fixed = load(card(sdxl_folder(tmp_path / "fixed", force_upcast=False)), None, half)
    assert fixed.vae.dtype == torch.float16
    assert load(card(folder), None, Place(torch.device("cpu"), torch.bfloat16)).vae.dtype == torch.bfloat16


def test_a_vae_in_one_file_is_scaled_as_the_model_that_it_serves_needs(tmp_path, sd2):
    vae = card(tiny_vae_file(tmp_path / "vaes" / "vae.safetensors"))
    for path, scale in ((sdxl_folder(tmp_path / "xl"), 0.13025), (save(sd2, tmp_path / "v2" / "sd2.safetensors"), 0.18215)):
        own = load(card(path), None, CPU)
        other = with_vae(own, vae)
        assert other.vae.config.scaling_factor == scale and not same(other.vae, own.vae)


def test_the_vocabulary_is_bundled_once():
    assert tokens.CLIP_L.is_dir() and [path.parent.name for path in CONFIGS.rglob("vocab.json")] == [tokens.CLIP_L.name]
