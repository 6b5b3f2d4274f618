"""The renderer against formulas, and against itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from training import rule
from training.render import Picture, depth_map, render
from training.scenes import Scene, Thing, numbered
from training.solids import FAR
from training.space import FIRST_THING, FLOOR, HALF_VIEW, LOOKED_AT, SKY
from training.world import COLOURS, SHAPES

SIDE = 48
CAMERA = (0.1, 1.4, -4.6)


def scene(shape="sphere", colour="red", material="matte", x=0.3, sky="under a cloudy sky", **changes):
    thing = Thing(shape, colour, material, True, 0.7, x, 0.2, 0.4, 1.3)
    return replace(Scene((thing,), "gray", sky, 0.5, CAMERA), **changes)


def one(made: Scene, side: int = SIDE) -> Picture:
    return render([made], side)


def rays(side: int) -> np.ndarray:
    """(side, side, 3), by the book: what the renderer must agree with."""
    eye = np.array(CAMERA)
    forward = (np.array(LOOKED_AT) - eye) / np.linalg.norm(np.array(LOOKED_AT) - eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    at = (np.arange(side) + 0.5) / side * 2 - 1
    found = forward + HALF_VIEW * (at[None, :, None] * right - at[:, None, None] * up)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_the_depth_of_a_sphere_and_of_the_floor_are_exact():
    made = scene()
    ray, eye, ball = rays(SIDE), np.array(CAMERA), np.array([0.3, 0.7, 0.2])
    b = ray @ (eye - ball)
    inside = b**2 - ((eye - ball) ** 2).sum() + 0.7**2
    floor = np.where(ray[..., 1] < -1e-4, -eye[1] / np.minimum(ray[..., 1], -1e-4), FAR)
    exact = np.where(inside > 0, -b - np.sqrt(np.maximum(inside, 0)), floor)
    drawn = one(made)
    surely = np.abs(inside) > 1e-3  # not on the outline, where rounding decides
    near = surely & (exact < 100)
    assert np.abs(drawn.depth[0].numpy() - exact)[near].max() < 2e-3
    assert (drawn.depth[0].numpy()[surely & (exact >= FAR)] >= FAR).all()
    ids = np.where(inside > 0, FIRST_THING, np.where(floor < FAR, FLOOR, SKY))
    assert (drawn.ids[0].numpy() == ids)[surely].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_stands_on_the_ground_within_its_size(shape):
    drawn = one(scene(shape, x=0.0), 64)
    seen = drawn.ids[0] == FIRST_THING
    assert 0.02 < seen.float().mean() < 0.35
    ray = torch.from_numpy(rays(64)).float()
    points = torch.tensor(CAMERA) + drawn.depth[0][..., None] * ray
    x, y, z = points[seen].unbind(-1)
    assert y.min() > -1e-3 and y.max() <= 1.4 + 1e-3 and ((x**2 + (z - 0.2) ** 2).sqrt() <= 0.7 * math.sqrt(2) + 1e-3).all()


def test_the_same_scenes_give_the_same_pictures_alone_and_in_a_batch():
    scenes = [numbered(3, i) for i in range(4)]
    together, again = render(scenes, SIDE), render(scenes, SIDE)
    assert torch.equal(together.image, again.image)
    for i, made in enumerate(scenes):
        alone = one(made)
        assert torch.equal(alone.ids[0], together.ids[i])
        assert torch.allclose(alone.image[0], together.image[i], atol=1e-5)


def test_ids_follow_the_order_from_left_to_right():
    made = next(scene for i in range(50) if len((scene := numbered(4, i)).things) == 2 and scene.things[1].x - scene.things[0].x > 1.2)
    ids = one(made, 64).ids[0]
    left, right = (float((ids == FIRST_THING + slot).nonzero()[:, 1].float().mean()) for slot in (0, 1))
    assert left < right


def test_edges_are_smoothed():
    """A picture of half the size is nearly the mean of the larger one's pixels: without smoothing it is not, along the outline."""
    made = scene(colour="red")
    small, large = one(made, 32).image, torch.nn.functional.avg_pool2d(one(made, 256).image, 8)
    off = (small - large).abs().amax(1)
    assert off.mean() < 0.01 and (off > 0.2).float().mean() < 0.01


def test_a_red_thing_is_red_to_the_rule_and_a_blue_one_is_not():
    drawn = one(scene(colour="red"))
    thing = drawn.ids[0] == FIRST_THING
    assert rule.follows(drawn.image[0], thing, "red") and not rule.follows(drawn.image[0], thing, "blue")


def test_the_rule_agrees_with_matte_renders_by_day():
    agreed = []
    for colour in COLOURS:
        drawn = one(scene("cube", colour))
        agreed.append(rule.follows(drawn.image[0], drawn.ids[0] == FIRST_THING, colour))
    assert sum(agreed) >= len(COLOURS) - 1


def test_a_depth_map_is_bright_where_it_is_near():
    drawn = one(scene())
    told = depth_map(drawn.depth)[0]
    assert told.min() == 0 and told.max() <= 1
    assert told[drawn.ids[0] == FIRST_THING].min() > told[drawn.ids[0] == SKY].max()


def test_every_picture_is_within_the_range_and_finite():
    drawn = render([numbered(9, i) for i in range(16)], 32)
    assert torch.isfinite(drawn.image).all() and drawn.image.min() >= 0 and drawn.image.max() <= 1
