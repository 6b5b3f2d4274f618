"""Hires fix: two passes, each of which is what it would be alone."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from sd_ui.engine import hires, pixels
from sd_ui.engine.denoise import Start, Step, answered
from sd_ui.engine.hires import Way
from sd_ui.engine.noise import begun
from sd_ui.engine.start import Scene
from sd_ui.imaging.blobs import Blobs
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Stepped
from sd_ui.spec.request import UPSCALERS, GenerationRequest, Hires, Sampling
from tests.engine.test_generate import engine_of, pictures
from tests.engine.tiny import SEED, SIZE, latents_of, loaded, run_of

FIRST = Sampling("Euler", steps=4, cfg_scale=2.0)
BASE = GenerationRequest("a red square", width=SIZE, height=SIZE, seed=SEED, sampling=FIRST)
LARGE = Hires(96, 80, strength=0.5, sampling=replace(FIRST, steps=3))


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "inputs")


def drawn(blobs, request: GenerationRequest) -> Image.Image:
    (picture,) = pictures(engine_of(blobs).generate(request, Delivery(preview="off")))
    return picture


def ended(steps: Generator[Step, None, torch.Tensor]) -> torch.Tensor:
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


# ---------------------------------------------------------------- the whole
@pytest.mark.parametrize("upscaler", UPSCALERS)
@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M"])
def test_both_passes_are_those_of_the_formulas(blobs, upscaler, sampler):
    """By hand: the first pass, enlarged, noised with the seed's noise of the large size, and as many steps as were asked for."""
    asked = replace(LARGE, upscaler=upscaler, sampling=replace(FIRST, sampler=sampler, steps=3))
    request = replace(BASE, hires=asked)
    model = loaded()
    with torch.inference_mode():
        clean = hires.enlarged(model, latents_of(run_of(model, BASE)), asked)
        again = replace(BASE, width=96, height=80, sampling=asked.sampling)
        run = replace(run_of(model, again), scene=Scene(clean=clean), way=Way(int(3 / 0.5), 3, 0.5))
        noise, source = begun(4, 96, 80, SEED, BASE.noise)
        plan = run.plan()
        assert plan.total == 3
        sampling = plan.sample(Start(plan.noised(clean, noise)), source)
        expected = pixels.decoded(model, ended(answered(sampling, run.predict()(0))))
    assert drawn(blobs, request).tobytes() == expected.tobytes()


def test_the_picture_has_the_second_pass_size_and_says_all_its_steps(blobs):
    events = list(engine_of(blobs).generate(replace(BASE, hires=LARGE, count=2)))
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [(step.index, step.total) for step in steps] == [(i, 7) for i in range(1, 8)] * 2
    found = [event for event in events if isinstance(event, Drawn)]
    assert [(one.width, one.height, one.made.steps_run) for one in found] == [(96, 80, 7)] * 2
    assert steps[-1].remaining == 0 and all(step.remaining > 0 for step in steps[:-1])


def test_strength_0_only_enlarges(blobs):
    small, large = drawn(blobs, BASE), drawn(blobs, replace(BASE, hires=replace(LARGE, upscaler="Nearest", width=128, height=128, strength=0.0)))
    with torch.inference_mode():
        there_and_back = pixels.decoded(loaded(), pixels.encoded(loaded(), pixels.tensor(small.resize((128, 128), Image.Resampling.NEAREST))))
    assert large.tobytes() == there_and_back.tobytes()


def test_the_second_pass_is_told_its_own_words_and_its_own_half_of_a_schedule(blobs):
    plain = drawn(blobs, replace(BASE, hires=LARGE))
    assert drawn(blobs, replace(BASE, hires=replace(LARGE, prompt="a red square"))).tobytes() == plain.tobytes()
    told = drawn(blobs, replace(BASE, hires=replace(LARGE, prompt="a blue cube")))
    assert told.tobytes() != plain.tobytes()
    assert drawn(blobs, replace(BASE, prompt="a [red square:blue cube:1.0]", hires=LARGE)).tobytes() == told.tobytes()


# ---------------------------------------------------------------- enlarging
@pytest.mark.parametrize("name", list(hires.LATENT))
def test_latents_are_enlarged_as_torch_does_it(name):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    mode, smooth = hires.LATENT[name]
    expected = interpolate(latents, size=(16, 16), mode=mode, antialias=smooth)
    assert torch.equal(hires.enlarged(loaded(), latents, Hires(128, 128, name)), expected)


def test_what_is_too_much_for_the_new_shape_is_cut_off_around_the_middle():
    latents = torch.arange(64.0).reshape(1, 1, 8, 8)
    found = hires.enlarged(loaded(), latents, Hires(128, 64, "Latent (nearest)"))
    whole = interpolate(latents, size=(16, 16), mode="nearest")
    assert torch.equal(found, whole[..., 4:12, :])
    image = Image.fromarray(np.random.RandomState(0).randint(0, 255, (64, 64, 3), np.uint8))
    wide = hires.as_pixels(image, Hires(128, 64, "Nearest"))
    assert wide.tobytes() == image.resize((128, 128), Image.Resampling.NEAREST).crop((0, 32, 128, 96)).tobytes()
