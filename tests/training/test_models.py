"""One set of weights for all tasks, a tokenizer that bears any text, schedules that schedulers accept."""

import pytest
import torch
from diffusers import DDIMScheduler

from training import models, schedules, text
from training.models import PLANES, SHAPES, TASKS, sliced
from training.pipelines import scheduler
from training.release import MOST


@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_a_slice_says_exactly_what_the_whole_says(task):
    torch.manual_seed(0)
    whole = models.unet(SHAPES["tiny"]).eval()
    given = torch.zeros(2, PLANES, 16, 16)
    given[:, TASKS[task]] = torch.randn(2, len(TASKS[task]), 16, 16)
    told, t = torch.randn(2, 77, 32), torch.tensor(500)
    part = sliced(whole, TASKS[task])
    assert torch.equal(part(given[:, TASKS[task]], t, told).sample, whole(given, t, told).sample)
    assert part.mid_block.resnets[0].conv1.weight.data_ptr() == whole.mid_block.resnets[0].conv1.weight.data_ptr()


@torch.no_grad()
def test_a_new_vae_has_latents_of_unit_variance():
    torch.manual_seed(0)
    vae, images = models.vae(SHAPES["tiny"]), torch.rand(8, 3, 64, 64) * 2 - 1
    models.begin_vae(vae, images)
    latents = vae.encoder(images)
    assert latents.shape == (8, 4, 8, 8) and abs(latents.std() - 1) < 0.1 and latents.mean().abs() < 0.1


def test_any_text_can_be_written_in_the_tokens(tmp_path):
    sentences = ["a large shiny red sphere on a green floor, at sunset"] * 5
    tokenizer = text.build(tmp_path, sentences)
    assert tokenizer.model_max_length == 77
    assert len(tokenizer("a red sphere").input_ids) == 5
    for told in ("a rainbow unicorn!", "über 42 日本", ""):
        ids = tokenizer(told, padding="max_length", truncation=True).input_ids
        assert len(ids) == 77 and max(ids) < len(tokenizer)
    assert tokenizer.decode(tokenizer("über 日本").input_ids, skip_special_tokens=True).strip() == "über 日本"
    assert {path.name for path in tmp_path.iterdir()} >= {"vocab.json", "merges.txt", "tokenizer.json"}


@pytest.mark.parametrize("name", schedules.CANDIDATES)
def test_a_schedule_falls_and_comes_back_from_its_betas(name):
    alphas = schedules.CANDIDATES[name]()
    assert alphas.shape == (schedules.STEPS,) and (alphas.diff() < 0).all() and 0 < alphas[-1] < 0.01
    for read in (scheduler(alphas), DDIMScheduler(trained_betas=schedules.betas(alphas))):
        assert torch.allclose(read.alphas_cumprod.double(), alphas, atol=1e-4)


def test_milder_schedules_leave_more_of_a_picture():
    left = [schedules.left_at(make(), 0.3) for make in schedules.CANDIDATES.values()]
    assert left == sorted(left) and left[0] < 0.8 < left[1]


def test_without_a_comparison_there_is_still_a_schedule(tmp_path):
    assert schedules.chosen(tmp_path) in schedules.CANDIDATES


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_fits_into_the_box(name):
    parts = (models.unet(SHAPES[name]), models.text_encoder(SHAPES[name], text.MOST), models.vae(SHAPES[name]), models.depth_estimator())
    assert sum(models.millions(part) for part in parts) * 2e6 < MOST - 1e6  # two bytes each; tokenizer and configs want room too
