"""A trained state becomes a model that others can load: diffusers' stock pipelines, and the program itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import save_file

from sd_ui.models.index import ModelIndex
from training import models, release, text
from training.evaluate import Examiner, main, recoloured, table
from training.judge import Judge
from training.models import SHAPES, TASKS
from training.pipelines import assembled, draw
from training.prompts import some
from training.schedules import CANDIDATES
from training.styles import STYLES

ROOT = Path(__file__).parents[2]
SENTENCES = [question.prompt for question in some(1, 40)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Of random weights."""
    torch.manual_seed(0)
    tokenizer = text.build(tmp_path_factory.mktemp("run") / "tokenizer", SENTENCES)
    tiny, alphas = SHAPES["tiny"], CANDIDATES["shifted by 4"]()
    unet, told = models.unet(tiny, side=8), models.text_encoder(tiny, len(tokenizer))
    return assembled(unet, told, tokenizer, models.vae(tiny), 1.25, alphas, models.depth_estimator())


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    to = tmp_path_factory.mktemp("model") / "release"
    release.write(parts, Path(parts.tokenizer.name_or_path), to, scenes=64)
    return to


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # the stock depth pipeline asks for float32 there
def test_the_stock_pipelines_draw_with_a_release(folder):
    release.check(folder)


def test_a_release_is_half_precision_and_keeps_what_it_was_made_of(parts, folder):
    again = release.load(folder)
    assert again.vae.config.scaling_factor == 1.25 and again.scheduler.config.prediction_type == "v_prediction"
    for task in TASKS:
        first = parts.unets[task].conv_in.weight
        assert torch.equal(again.unets[task].conv_in.weight, first.half().float())
    assert torch.allclose(again.scheduler.alphas_cumprod, parts.scheduler.alphas_cumprod)
    assert not list(folder.rglob("*.bin")) and {path.name for path in (folder / "tokenizer").iterdir()} >= {"vocab.json", "merges.txt"}


def test_a_release_replaces_another_as_a_whole(parts, folder, tmp_path):
    to = tmp_path / "embedded"
    to.mkdir()
    (to / "old.txt").write_text("old")
    release.write(parts, Path(parts.tokenizer.name_or_path), to, scenes=64)
    assert not (to / "old.txt").exists() and [path.name for path in tmp_path.iterdir()] == ["embedded"]
    assert release.weight(to) == release.weight(folder)


def test_a_release_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr(release, "MOST", 1000)
    with pytest.raises(SystemExit, match="more than"):
        release.check(folder)


def test_the_program_finds_the_release(folder):
    [card] = ModelIndex([], folder, ROOT / "presets" / "models").cards().values()
    assert card.fault == "" and card.kind == "checkpoint" and "depth2img" in card.modes


@torch.no_grad()
def test_the_same_question_gives_the_same_picture(folder):
    pipeline = StableDiffusionPipeline.from_pretrained(folder).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    alone, batch = (draw(pipeline, some(1, n), 2, 3.0, height=64, width=64) for n in (1, 3))
    assert torch.allclose(alone[0], batch[0], atol=1e-4)


def test_an_examination_reports_every_mode(folder, tmp_path):
    parts = release.load(folder)
    sections = Examiner(parts, Judge(), some(1, 3), some(2, 2), tmp_path).examined()
    assert set(sections) >= {"ceiling, renders", "inpainting", "image to image", "depth to image", "text to image, two things"}
    assert all(-1 <= value <= 100 for figures in sections.values() for value in figures.values())
    assert {path.name for path in tmp_path.iterdir()} == {"txt2img.png", "inpaint.png", "depth2img.png"}
    assert table(sections).count("\n") == len(sections) + 1


def test_an_older_release_is_examined_without_what_it_lacks(folder, tmp_path):
    parts = release.load(folder)
    older = replace(parts, unets={"plain": parts.unets["plain"]}, estimator=None)
    sections = Examiner(older, Judge(), some(1, 3), some(2, 2), tmp_path).examined()
    assert "depth to image" not in sections and "inpainting" in sections


def test_another_colour_is_asked_for_in_words_too():
    question = some(1, 1)[0]
    other = recoloured(question)
    [thing] = other.scene.things
    assert f"{thing.colour} {thing.shape}" in other.prompt and thing.colour != question.scene.things[0].colour


def test_too_few_questions_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--questions", "2"])
    assert "--questions: 2" in capsys.readouterr().err


def test_the_loras_that_were_trained_are_released_with_what_they_do(tmp_path):
    (tmp_path / "run" / "dawn").mkdir(parents=True)
    save_file({"unet.x.lora_A.weight": torch.ones(2, 3).half()}, tmp_path / "run" / "dawn" / "dawn.safetensors")
    assert release.write_loras(tmp_path / "run", tmp_path / "loras") == ["dawn"]
    with safe_open(tmp_path / "loras" / "dawn.safetensors", "pt") as file:
        assert file.metadata()["modelspec.description"] == STYLES["dawn"].about
        assert torch.equal(file.get_tensor("unet.x.lora_A.weight"), torch.ones(2, 3).half())
