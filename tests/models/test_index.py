"""The models index: what lies on the disk, by names that are safe to show, with a reason in words for what cannot be used."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_ui.models.index import ModelIndex
from sd_ui.spec.errors import BadRequest
from tests.checkpoints import tiny_folder, tiny_single_file, tiny_vae_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """One of each kind. Tests that change something copy it by links first."""
    folder = tmp_path_factory.mktemp("models")
    tiny_folder(folder / "plain")
    tiny_folder(folder / "painter", 9)
    tiny_folder(folder / "deep", 5, depth=True)
    tiny_single_file(folder / "Stable-diffusion" / "good.safetensors", half=True)
    tiny_vae_file(folder / "VAE" / "better.safetensors")
    return folder


def index(*folders: Path) -> ModelIndex:
    return ModelIndex(folders, ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models")


def fault(path: Path, *tensors: str, shape=(1,)) -> str:
    """What the index says of a file with these tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(shape) for name in tensors}, path)
    return index(path.parent).card(path.stem).fault


def test_the_model_in_the_box_is_always_there_and_says_what_it_can_do():
    card = index().card("embedded")
    assert (card.kind, card.family, card.fault) == ("checkpoint", "sd1", "")
    assert card.modes == ("txt2img", "img2img", "inpaint", "depth2img")
    assert (card.defaults.width, card.defaults.height, card.defaults.steps, card.defaults.cfg_scale) == (128, 128, 20, 3.0)
    assert card.about and len(card.examples) >= 6
    assert index().tokens("embedded", card.examples[0]).room == 75


def test_every_layout_is_recognised_and_the_input_channels_tell_the_modes(models):
    cards = index(models).cards()
    assert next(iter(cards)) == "embedded"
    assert not [card.fault for card in cards.values() if card.fault]
    assert {name: card.modes for name, card in cards.items() if name != "embedded"} == {
        "plain": ("txt2img", "img2img", "inpaint"),
        "good": ("txt2img", "img2img", "inpaint"),
        "painter": ("inpaint",),
        "deep": ("depth2img",),
        "better": (),
    }
    assert {card.name for card in cards.values() if card.kind == "vae"} == {"better"}
    assert cards["good"].layout == "file" and cards["plain"].layout == "folder"
    assert cards["good"].size == cards["good"].path.stat().st_size


def test_a_folder_of_stable_diffusion_2_is_told_by_its_text_width_and_has_its_own_size(tmp_path):
    tiny_folder(tmp_path / "second", cross_attention_dim=1024, sample_size=96)
    card = index(tmp_path).card("second")
    assert (card.family, card.fault, card.defaults.width, card.defaults.schedule) == ("sd2", "", 768, "Karras")


def test_a_folder_that_is_a_model_itself_may_be_given(models):
    assert "plain" in index(models / "plain").cards()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["conditioner.embedders.1.model.ln_final.weight", "model.diffusion_model.label_emb.0.0.weight"], "SSD-1B"),
        (["conditioner.embedders.1.model.ln_final.weight", "edm_mean"], "Playground"),
        (["conditioner.embedders.1.model.ln_final.weight", "edm_vpred.sigma_max"], "CosXL"),
        (["model.diffusion_model.label_emb.0.0.weight"], "smaller relative of Stable Diffusion XL"),
        (["cond_stage_model.model.ln_final.bias", "model.diffusion_model.label_emb.0.0.weight"], "unCLIP"),
        (["cond_stage_model.roberta.x", "model.diffusion_model.out.0.bias"], "AltDiffusion"),
        (["model.diffusion_model.joint_blocks.0.x_block.bias"], "do not go together"),
        (["double_blocks.0.img_attn.bias"], "do not go together"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "LoRA"),
        (["unet.down_blocks.0.lora.up.weight"], "LoRA"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["something.else"], "not a model"),
    ],
)
def test_other_kinds_of_files_are_told_apart(tmp_path, names, why):
    assert why in fault(tmp_path / "models" / "x.safetensors", *names)


def test_a_single_file_without_a_part_names_the_part(tmp_path):
    unet = "model.diffusion_model.input_blocks.0.0.weight"
    assert "the text encoder CLIP-L: put clip_l.safetensors" in fault(tmp_path / "m" / "x.safetensors", unet, shape=(4, 4, 3, 3))
    token = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    assert "the VAE is missing" in fault(tmp_path / "m" / "x.safetensors", unet, token, shape=(4, 4, 3, 3))


def test_vaes_of_other_families_are_told_apart(tmp_path):
    names = ("encoder.conv_in.weight", "decoder.conv_in.weight")
    assert "32 channels" in fault(tmp_path / "m" / "x.safetensors", *names, shape=(8, 32, 3, 3))
    assert "without its encoder" in fault(tmp_path / "m" / "x.safetensors", names[1], shape=(8, 4, 3, 3))


def test_an_edit_model_is_not_taken_for_a_checkpoint(tmp_path):
    tiny_folder(tmp_path / "edit", 8)
    assert "InstructPix2Pix" in index(tmp_path).card("edit").fault


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pt", "renamed.safetensors"])
def test_a_pickle_is_listed_and_refused_and_never_runs(tmp_path, name):
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    folder = tmp_path / "models"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert "pickle" in index(folder).card(Path(name).stem).fault
    assert not marker.exists()


def test_a_folder_with_pickled_weights_is_refused(tmp_path):
    folder = tiny_folder(tmp_path / "old")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "only there as a pickle" in index(tmp_path).card("old").fault
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(pickle.dumps([1]))
    assert "pickle" in index(tmp_path).card("old").fault


@pytest.mark.parametrize(
    ("missing", "named"),
    [("vae", "the VAE"), ("text_encoder", "the text encoder"), ("tokenizer", "the tokenizer"), ("scheduler", "the scheduler")],
)
def test_a_folder_without_a_part_names_the_part(tmp_path, missing, named):
    folder = tiny_folder(tmp_path / "part")
    (folder / missing).rename(tmp_path / f".{missing}")
    assert f"{named} is missing" in index(tmp_path).card("part").fault


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "text_encoder/config.json"])
def test_a_damaged_config_is_named(tmp_path, file):
    folder = tiny_folder(tmp_path / "bad")
    (folder / file).write_text('{"_class_name": ')
    assert file.rsplit("/")[-1] in index(tmp_path).card("bad").fault


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model_index.json", '"UNet2DConditionModel"', '"EvilModel"'),
        ("unet/config.json", '"UNet2DConditionModel"', '"EvilModel"'),
        ("model_index.json", '"StableDiffusionPipeline"', '"EvilModel"'),
    ],
)
def test_a_model_that_asks_for_a_class_of_its_own_is_refused(tmp_path, file, old, new):
    folder = tiny_folder(tmp_path / "custom")
    (folder / "EvilModel.py").write_text("raise SystemExit")
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    assert "EvilModel" in index(tmp_path).card("custom").fault


def test_links_are_followed_inside_the_given_folders_only(tmp_path):
    models, outside = tmp_path / "models", tmp_path / "outside"
    tiny_folder(models / "real")
    tiny_folder(outside / "secret")
    (models / "inside").symlink_to(models / "real")
    (models / "away").symlink_to(outside / "secret")
    (models / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    (models / "loop").symlink_to(models / "loop")
    cards = index(models).cards()
    assert len({"inside", "real"} & cards.keys()) == 1, "what is reached twice is listed once"
    assert "out of the models folders" in cards["away"].fault
    assert "leads nowhere" in cards["dangling.safetensors" if "dangling.safetensors" in cards else "dangling"].fault
    assert "leads nowhere" in cards["loop"].fault
    assert index(models, outside).card("away").fault == ""


def test_a_model_whose_parts_lead_out_of_the_folder_is_refused(tmp_path):
    folder = tiny_folder(tmp_path / "models" / "sly")
    secret = tmp_path / "secret.json"
    (folder / "unet" / "config.json").rename(secret)
    (folder / "unet" / "config.json").symlink_to(secret)
    assert "out of the models folders" in index(tmp_path / "models").card("sly").fault


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made there")
def test_names_are_safe_to_show_and_unique(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (
        one / "new\nline.ckpt",
        one / "turn\u202eed.ckpt",
        one / "Model.ckpt",
        one / "e\u0301.ckpt",
        two / "model.pt",
        two / "embedded.ckpt",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (one / os.fsdecode(b"\xff\xfe.ckpt")).write_bytes(b"")
    assert set(index(one, two).cards()) == {"embedded", "new_line", "turn_ed", "Model", "é", "__", "model.pt", "embedded.ckpt"}


def test_folders_of_other_programs_that_hold_no_models_are_passed_over(tmp_path):
    for folder in ("ControlNet", "ESRGAN", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.safetensors").write_bytes(b"")
    assert list(index(tmp_path).cards()) == ["embedded"]


@pytest.mark.parametrize("name", ["../../x", "C:\\x", "//host/x", "a\0b", "x" * 4096, "CON", "trailing.", "/etc/passwd", ""])
def test_a_name_that_is_not_in_the_index_is_not_looked_up_anywhere_else(models, name):
    with pytest.raises(BadRequest) as error:
        index(models).card(name)
    assert error.value.field == "model" and "is not known" in error.value.why


def test_a_refresh_sees_what_came_went_and_changed(tmp_path):
    models = index(tmp_path)
    assert list(models.cards()) == ["embedded"]
    (tmp_path / "late.safetensors").write_bytes(b"")
    models.refresh()
    assert "empty" in models.card("late").fault
    tiny_vae_file(tmp_path / "late.safetensors")
    models.refresh()
    assert models.card("late").kind == "vae"
    (tmp_path / "late.safetensors").unlink()
    models.refresh()
    assert list(models.cards()) == ["embedded"]


def test_looking_again_reads_nothing_that_is_unchanged(models, monkeypatch):
    found = index(models)
    monkeypatch.setattr("sd_ui.models.header.read", lambda path: pytest.fail(f"{path} was read again"))
    found.refresh()
    assert found.card("good").fault == ""
