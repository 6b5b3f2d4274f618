"""Styles change how scenes look, and a rule without any network sees it."""

import pytest
import torch
from torch.nn.functional import one_hot

from training.judge import ANSWERS, Judge
from training.render import render
from training.scenes import numbered
from training.space import FIRST_THING
from training.styles import STYLES

SCENES = [numbered(40_000, i) for i in range(24)]
SIDE = 64


@pytest.mark.parametrize("name", STYLES)
def test_a_style_moves_nothing(name):
    plain, restyled = render(SCENES, SIDE), render(SCENES, SIDE, restyled=STYLES[name].restyled)
    assert torch.equal(plain.ids, restyled.ids) and torch.equal(plain.depth, restyled.depth)
    assert not torch.allclose(plain.image, restyled.image, atol=0.05)


def test_gold_is_only_where_things_are():
    plain, golden = render(SCENES, SIDE), render(SCENES, SIDE, restyled=STYLES["midas"].restyled)
    red, _, blue = golden.image.unbind(1)
    things = golden.ids >= FIRST_THING
    assert (red[things] > blue[things]).float().mean() > 0.9  # seldom, the sky is mirrored so brightly that gold looks white
    sky = golden.ids == 0
    same = (plain.image - golden.image).abs().amax(1) < 1e-6
    assert same[sky].float().mean() > 0.99  # all but what is mixed with a thing along its edge


def test_a_rosy_sky_is_seen_without_a_judge():
    dawn, plain = render(SCENES, SIDE, restyled=STYLES["dawn"].restyled).image, render(SCENES, SIDE).image
    assert STYLES["dawn"].shows(dawn, Judge()).float().mean() >= 0.9 and not STYLES["dawn"].shows(plain, Judge()).any()


def test_gold_is_what_the_judge_calls_yellow_or_orange():
    class Says(Judge):
        def forward(self, images):
            colours = [ANSWERS["colour"].index(name) for name in ("red", "orange", "yellow")]
            return {question: one_hot(torch.tensor(colours), 10).float() for question in ANSWERS}

    assert STYLES["midas"].shows(torch.zeros(3, 3, 8, 8), Says()).tolist() == [False, True, True]
