"""Colour correction: the colours of one picture, the light of another."""

import numpy as np
from PIL import Image

from sd_ui.imaging.matching import with_colours_of, with_luminosity

RANDOM = np.random.RandomState(0)
PICTURE = Image.fromarray(RANDOM.randint(40, 200, (48, 64, 3)).astype(np.uint8)).resize((128, 96), Image.Resampling.BICUBIC)


def luma(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.float32) @ np.array((0.3, 0.59, 0.11), np.float32)


def test_a_picture_matched_to_itself_stays_nearly_as_it_is():
    assert np.abs(np.asarray(with_colours_of(PICTURE, PICTURE)).astype(int) - np.asarray(PICTURE)).mean() < 3  # two ways through eight bits of Lab


def test_a_tint_goes_and_light_and_shade_stay():
    tinted = Image.fromarray(np.clip(np.asarray(PICTURE).astype(int) + np.array((40, -10, -40)), 0, 255).astype(np.uint8))
    back = with_colours_of(tinted, PICTURE)
    means = [np.asarray(image).reshape(-1, 3).mean(0) for image in (tinted, back, PICTURE)]
    spread = [mean - mean.mean() for mean in means]
    assert np.abs(spread[1] - spread[2]).max() < 4 < np.abs(spread[0] - spread[2]).max()
    assert np.abs(luma(back) - luma(tinted)).mean() < 1


def test_luminosity_is_kept_where_colours_would_leave_their_range():
    colours, light = RANDOM.rand(20, 20, 3).astype(np.float32), RANDOM.rand(20, 20, 3).astype(np.float32)
    weights = np.array((0.3, 0.59, 0.11), np.float32)
    found = with_luminosity(colours, light)
    assert found.min() >= 0 and found.max() <= 1 and np.allclose(found @ weights, light @ weights, atol=1e-4)
