"""Stable Diffusion 2: our latents, from a published file, are those of diffusers' own pipelines around the same parts, bit for bit, in every mode."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from sd_ui.engine import text
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.load import load
from sd_ui.engine.loaded import Loaded
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling, steps_to_run
from tests.engine.kscheduler import KScheduler
from tests.engine.test_load import card
from tests.engine.test_oracle import CFG, INPUTS, NEGATIVE, PROMPT, SOURCES, STEPS, the_mean_and_not_a_draw  # noqa: F401
from tests.engine.tiny import CPU, SEED, SIZE, latents_of, run_of, stock
from tests.families import save, sd2_original

PAIRS = [("DDIM", "Uniform"), ("Euler a", "Uniform"), ("DPM++ 2M", "Karras")]


@cache
def model(in_channels: int) -> Loaded:
    with tempfile.TemporaryDirectory() as name:
        return load(card(save(sd2_original(in_channels), Path(name) / "model.safetensors")), None, CPU)


def both(mode: str, sampler: str, schedule: str, prediction: str = "epsilon", cfg: float = CFG) -> tuple[torch.Tensor, torch.Tensor]:
    source, in_channels, pipeline, asked = SOURCES[mode]
    ours = model(in_channels)
    ours = replace(ours, scheduler_config={**ours.scheduler_config, "prediction_type": prediction})
    request = GenerationRequest(PROMPT, NEGATIVE, ModelChoice(), Sampling(sampler, schedule, STEPS, cfg), SIZE, SIZE, SEED, source=source)
    run = STEPS if source is None else steps_to_run(STEPS, source.strength)
    scheduler: Any = KScheduler(sampler, schedule, tuple(ours.scheduler_config.items()), STEPS, run)
    theirs = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": cfg}
    return latents_of(run_of(ours, request, INPUTS if source else Inputs())), stock(pipeline, ours, scheduler, **theirs, **asked)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("mode", SOURCES)
def test_our_loop_is_the_stock_pipeline(mode, prediction, sampler, schedule):
    ours, theirs = both(mode, sampler, schedule, prediction)
    assert torch.equal(ours, theirs) and ours.isfinite().all()


@pytest.mark.parametrize("mode", SOURCES)
def test_guidance_off(mode):
    ours, theirs = both(mode, "Euler", "Uniform", cfg=1.0)
    assert torch.equal(ours, theirs)


def test_clip_skip_1_is_the_layer_before_the_published_files_last_one():
    """24 layers are in the file, the model was trained with the output of the 23rd: the 24th is not even loaded."""
    made = sd2_original()
    (whole,) = made.texts.values()
    ids = model(4).tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
    assert len(whole.encoder.layers) == 24 and text.layers(model(4)) == 23
    with torch.inference_mode():
        hidden = whole.eval()(ids, output_hidden_states=True).hidden_states
        assert torch.equal(text.embedding(model(4), PROMPT, 1).tokens, whole.final_layer_norm(hidden[-2]))
        assert torch.equal(text.embedding(model(4), PROMPT, 2).tokens, whole.final_layer_norm(hidden[-3]))


def test_a_chunk_is_filled_with_exclamation_marks():
    ids, _ = text.framed_all(model(4).texts[0], text.chunked(model(4).tokenizer, "a"))
    assert ids.shape == (1, 77) and ids[0, :4].tolist() == [49406, 320, 49407, 0]
