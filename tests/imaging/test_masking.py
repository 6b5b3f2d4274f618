"""Which part of a picture is repainted, and that nothing else is touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sd_ui.imaging import masking
from sd_ui.imaging.masking import Window
from sd_ui.spec.request import ImageRef, Inpaint


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 255, (height, width, 3), np.uint8))


def mask(width: int, height: int, *box: int) -> Image.Image:
    """White in the box, whose right and bottom are beyond it."""
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return image


def source(**changes: object) -> Inpaint:
    return Inpaint(ImageRef("a", 8, 8), ImageRef("b", 8, 8), **changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the window
@pytest.mark.parametrize(
    ("box", "padding", "size", "expected"),
    [
        ((100, 100, 140, 120), 32, (512, 512), (68, 58, 172, 162)),  # 104x84 with its padding, grown to a square about the middle
        ((0, 0, 40, 40), 32, (512, 512), (0, 0, 72, 72)),  # cut at the picture's corner
        ((0, 100, 20, 300), 0, (512, 512), (0, 100, 200, 300)),  # grown, and pushed back into the picture
        ((10, 10, 390, 20), 0, (256, 512), (10, 0, 390, 300)),  # the picture is too low for the shape: all of its height
        ((50, 50, 60, 60), 0, (640, 320), (45, 50, 65, 60)),
    ],
)
def test_the_window_is_the_mask_with_its_padding_in_the_shape_that_is_painted(box, padding, size, expected):
    assert Window.around(mask(400, 300, *box), padding, size).box == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_window_holds_the_whole_mask_and_lies_in_the_picture(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(8, 300)), data.draw(st.integers(8, 300))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    size = data.draw(st.sampled_from([(64, 64), (128, 64), (64, 192), (72, 64)]))
    found = Window.around(mask(width, height, left, top, right, bottom), data.draw(st.integers(0, 256)), size).box
    assert 0 <= found[0] <= left < right <= found[2] <= width and 0 <= found[1] <= top < bottom <= found[3] <= height
    across, down = found[2] - found[0], found[3] - found[1]
    shape = across * size[1] - down * size[0]
    assert abs(shape) <= max(size) or (shape > 0 and down == height) or (shape < 0 and across == width), "wrong only at its end"


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 160)])
def test_what_is_seen_and_not_painted_comes_back_in_place(size):
    """A smooth picture survives being scaled up and down; where a window lies is seen at once when it is a pixel off."""
    across, down = np.meshgrid(np.arange(200), np.arange(120))
    image = Image.fromarray(np.stack([across, 2 * down, 255 - across], -1).astype(np.uint8))
    window = Window.around(mask(200, 120, 150, 40, 170, 60), 8, size)
    back = np.asarray(window.put_back(image, window.seen(image))).astype(int)
    left, top, right, bottom = window.box
    assert np.abs(back - np.asarray(image))[top + 2 : bottom - 2, left + 2 : right - 2].max() <= 2
    untouched = np.ones((120, 200), bool)
    untouched[top:bottom, left:right] = False
    assert (back[untouched] == np.asarray(image)[untouched]).all()


# ---------------------------------------------------------------- shades
def test_a_hard_mask_is_black_and_white_and_a_soft_one_keeps_its_shades():
    grey = Image.fromarray(np.array([[0, 60, 127, 128, 200, 255]], np.uint8))
    assert np.asarray(masking.shaded(source(), grey)).tolist() == [[0, 0, 0, 255, 255, 255]]
    assert np.asarray(masking.shaded(source(mask_mode="Inpaint not masked"), grey)).tolist() == [[255, 255, 255, 0, 0, 0]]
    assert np.asarray(masking.shaded(source(mask_edge="Soft"), grey)).tolist() == [[0, 60, 127, 128, 200, 255]]
    assert np.asarray(masking.shaded(source(mask_edge="Soft", mask_mode="Inpaint not masked"), grey)).tolist() == [[255, 195, 128, 127, 55, 0]]


def test_a_place_changes_less_near_the_blurred_edge_and_not_at_all_outside():
    plain, shaded = mask(60, 20, 20, 0, 60, 20), Image.new("L", (60, 20), 0)
    shaded.paste(128, (20, 0, 60, 20))
    rising, half = masking.degrees(plain, 8), masking.degrees(shaded, 0)
    assert not rising[:, :20].any() and (np.diff(rising[0, 19:29]) > 0).all() and (rising[:, 30:] == 1).all()
    assert not half[:, :20].any() and np.allclose(half[:, 20:], 128 / 255)


# ---------------------------------------------------------------- filling
def test_a_hole_is_filled_with_the_colours_beside_it():
    image = Image.new("RGB", (120, 80), (200, 30, 30))
    image.paste((30, 30, 200), (60, 0, 120, 80))
    hole = mask(120, 80, 40, 20, 80, 60)
    image.paste((0, 255, 0), (45, 25, 75, 55), None)
    filled = np.asarray(masking.filled(image, hole))
    outside = np.asarray(hole) == 0
    assert (filled[outside] == np.asarray(image)[outside]).all()
    assert (filled[30:50, 41:46, 0] > 150).all() and (filled[30:50, 74:79, 2] > 150).all(), "red at the red side, blue at the blue one"
    assert (filled[..., 1][~outside] <= 35).all(), "nothing of what was in the hole is left"


def test_a_picture_that_is_all_hole_is_grey():
    assert masking.filled(picture(16, 16), mask(16, 16, 0, 0, 16, 16)).getcolors() == [(256, (127, 127, 127))]
