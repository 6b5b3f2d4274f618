"""A picture grows: the old part stays as it was, and what is new is masked."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sd_ui.imaging.outpaint import Sides, extended, extended_mask

PICTURE = Image.fromarray(np.random.RandomState(0).randint(0, 255, (24, 40, 3), np.uint8))
SIDES = st.builds(Sides, *[st.integers(0, 100)] * 4)


@given(SIDES)
def test_the_old_picture_lies_in_the_new_one_bit_for_bit(sides: Sides) -> None:
    grown = extended(PICTURE, sides)
    assert grown.size == sides.size(*PICTURE.size)
    box = (sides.left, sides.top, sides.left + PICTURE.width, sides.top + PICTURE.height)
    assert grown.crop(box).tobytes() == PICTURE.tobytes()


def test_what_is_new_is_the_mirror_image_of_what_is_there():
    grown = np.asarray(extended(PICTURE, Sides(left=16, bottom=8)))
    before = np.asarray(PICTURE)
    assert (grown[:24, :16] == before[:, :16][:, ::-1]).all() and (grown[24:, 16:] == before[-8:][::-1]).all()


@given(SIDES, st.integers(1, 300), st.integers(1, 300))
def test_sides_are_rounded_up_where_something_is_added_already(sides: Sides, width: int, height: int) -> None:
    rounded = sides.rounded(width, height)
    assert all(side % 8 == 0 for side in rounded.size(width, height))
    more = {name: getattr(rounded, name) - getattr(sides, name) for name in ("left", "right", "top", "bottom")}
    assert all(0 <= added < 8 for added in more.values())
    assert not (more["left"] and (sides.right or not sides.left)) and not (more["top"] and (sides.bottom or not sides.top))


def test_the_mask_reaches_into_the_old_picture_where_it_grew_and_keeps_what_was_painted():
    painted = Image.new("L", PICTURE.size)
    painted.paste(255, (20, 10, 22, 12))
    mask = np.asarray(extended_mask(painted, PICTURE.size, Sides(left=16), 4)) == 255
    assert mask[:, :20].all() and mask[10:12, 36:38].all() and mask.sum() == 24 * 20 + 4
    assert np.asarray(extended_mask(None, PICTURE.size, Sides(left=16), 300)).all(), "an overlap wider than the picture is all of it"
