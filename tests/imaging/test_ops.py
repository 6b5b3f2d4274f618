"""Geometry is A1111's, nothing outside a mask changes, and each mask changes something."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sd_ui.imaging import ops
from sd_ui.spec.request import RESIZES
from tests.imaging.test_png import noise

SIZES = st.tuples(st.integers(8, 90), st.integers(8, 90))


def mask_of(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (64, 48)) -> Image.Image:
    mask = Image.new("L", size)
    for box in boxes:
        ImageDraw.Draw(mask).rectangle(box, 255)
    return mask


# ---------------------------------------------------------------- fit
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
@given(size=SIZES, target=SIZES)
@settings(max_examples=25, deadline=None)
def test_the_result_has_the_size_and_the_mode(resize: str, mode: str, size: tuple[int, int], target: tuple[int, int]) -> None:
    fitted = ops.fit(noise(mode, *size), *target, resize)
    assert (fitted.size, fitted.mode) == (target, mode)


@pytest.mark.parametrize("resize", RESIZES)
def test_a_picture_of_the_right_size_is_not_touched(resize: str) -> None:
    image = noise("RGB", 32, 24)
    assert ops.fit(image, 32, 24, resize) is image


def test_just_resize_is_lanczos() -> None:
    image = noise("RGB", 32, 24)
    assert ops.fit(image, 64, 64, "Just resize").tobytes() == image.resize((64, 64), Image.Resampling.LANCZOS).tobytes()


def a1111_crop(im: Image.Image, width: int, height: int) -> Image.Image:
    ratio, src_ratio = width / height, im.width / im.height
    src_w = width if ratio > src_ratio else im.width * height // im.height
    src_h = height if ratio <= src_ratio else im.height * width // im.width
    res = Image.new("RGB", (width, height))
    res.paste(im.resize((src_w, src_h), Image.Resampling.LANCZOS), box=(width // 2 - src_w // 2, height // 2 - src_h // 2))
    return res


@given(size=SIZES, target=SIZES)
@settings(max_examples=60, deadline=None)
def test_crop_and_resize_is_a1111s(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise("RGB", *size)
    ours, theirs = (np.asarray(i).astype(int) for i in (ops.fit(image, *target, "Crop and resize"), a1111_crop(image, *target)))
    assert size == target or np.abs(ours - theirs).max() <= 1  # theirs computes what it cuts off, ours does not


@pytest.mark.parametrize(("size", "target", "inner", "at"), [((40, 20), (64, 64), (64, 32), (0, 16)), ((20, 40), (64, 64), (32, 64), (16, 0))])
def test_resize_and_fill_keeps_everything_and_stretches_the_edges(size, target, inner, at) -> None:
    image = noise("RGB", *size)
    pixels = np.asarray(ops.fit(image, *target, "Resize and fill"))
    scaled = np.asarray(image.resize(inner, Image.Resampling.LANCZOS))
    left, top = at
    assert np.array_equal(pixels[top : top + inner[1], left : left + inner[0]], scaled)
    if top:
        assert (pixels[:top] == scaled[0]).all() and (pixels[top + inner[1] :] == scaled[-1]).all()
    else:
        assert (pixels[:, :left] == scaled[:, :1]).all() and (pixels[:, left + inner[0] :] == scaled[:, -1:]).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(("size", "target"), [((96, 64), (64, 64)), ((50, 90), (128, 64)), ((64, 64), (200, 40))])
def test_mask_and_picture_stay_aligned(resize: str, size: tuple[int, int], target: tuple[int, int]) -> None:
    width, height = size
    mask = mask_of((width // 4, height // 4, 3 * width // 4, 3 * height // 4), size=size)
    of_picture = np.asarray(ops.fit(mask.convert("RGB"), *target, resize))[..., 0] >= 128
    of_mask = np.asarray(ops.fit_mask(mask, *target, resize))
    assert set(np.unique(of_mask)) == {0, 255}
    assert (of_picture != (of_mask == 255)).mean() < 0.03


def test_a_16_bit_map_is_resized_with_all_its_bits() -> None:
    image = Image.fromarray((np.linspace(0, 1, 40 * 30).reshape(30, 40) * 65535).astype(np.uint16))
    fitted = np.asarray(ops.fit(image, 80, 64, "Just resize"))
    assert fitted.dtype == np.uint16
    assert len(np.unique(fitted)) > 2000


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(1_000_000, 8), (8, 1_000_000)])
def test_a_long_strip_costs_no_more_than_a_square(resize: str, size: tuple[int, int]) -> None:
    strip = Image.new("L", size, 200)  # scaled whole it would be 128 million by 1024 pixels
    fitted = ops.fit(strip, 512, 1024, resize)
    assert (fitted.size, fitted.getextrema()) == ((512, 1024), (200, 200))
    assert ops.fit_mask(strip, 512, 1024, resize).getextrema() == (255, 255)


def test_an_unknown_resize_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="Just resize"):
        ops.fit(noise("RGB", 8, 8), 16, 16, "squeeze")


# ---------------------------------------------------------------- masks
def test_a_mask_is_luminance_cut_at_128() -> None:
    grey = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))
    for image in (grey, grey.convert("RGB"), Image.fromarray(np.array([[0, 127 * 257, 128 * 257, 65535]], np.uint16))):
        assert list(ops.mask_from(image).tobytes()) == [0, 0, 255, 255]


def test_a_painted_layer_is_a_mask_by_its_alpha() -> None:
    layer = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    layer.putpixel((2, 2), (0, 0, 0, 255))
    mask = ops.mask_from(layer)
    assert (mask.mode, mask.getpixel((2, 2)), mask.getpixel((3, 3))) == ("L", 255, 0)
    assert ops.mask_from(Image.new("RGBA", (8, 8), (255, 255, 255, 0))).getextrema() == (0, 0)
    assert ops.mask_from(Image.new("RGBA", (8, 8), (255, 255, 255, 255))).getextrema() == (255, 255)


MASKS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 47), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=5)


@given(MASKS, st.integers(0, 64))
@settings(max_examples=60, deadline=None)
def test_the_soft_edge_lies_inside_and_every_island_has_its_middle(boxes: list[tuple[int, int, int, int]], blur: int) -> None:
    from scipy import ndimage

    mask = mask_of(*((x, y, x + w, y + h) for x, y, w, h in boxes))
    inside = np.asarray(mask) == 255
    alpha = ops.soft_mask(mask, blur)
    assert (alpha.dtype, alpha.shape) == (np.float32, (48, 64))
    assert (alpha[~inside] == 0).all()
    assert (alpha[inside] > 0).all() and alpha.max() == 1
    islands, count = ndimage.label(inside, structure=np.ones((3, 3)))
    assert (ndimage.maximum(alpha, islands, range(1, count + 1)) == 1).all()


def test_the_ramp_is_as_wide_as_asked() -> None:
    alpha = ops.soft_mask(mask_of((20, 0, 63, 47)), 4)
    assert np.allclose(alpha[24, 18:26], [0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert (alpha[:, 63] == 1).all()  # the picture's own edge is no edge of the mask


def test_no_blur_is_a_hard_edge_and_a_full_mask_is_full() -> None:
    mask = mask_of((10, 10, 20, 20))
    assert np.array_equal(ops.soft_mask(mask, 0), np.asarray(mask) / 255)
    assert (ops.soft_mask(Image.new("L", (64, 48), 255), 8) == 1).all()
    assert (ops.soft_mask(Image.new("L", (64, 48), 0), 8) == 0).all()


def test_a_mask_of_one_pixel_works_with_any_blur() -> None:
    alpha = ops.soft_mask(mask_of((30, 20, 30, 20)), 64)
    assert alpha.sum() == alpha[20, 30] == 1


# ---------------------------------------------------------------- paste
@given(MASKS, st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_outside_the_mask_every_pixel_is_the_originals(boxes: list[tuple[int, int, int, int]], blur: int) -> None:
    original, painted = noise("RGB", 64, 48), noise("RGB", 48, 64).transpose(Image.Transpose.ROTATE_90)
    mask = mask_of(*((x, y, x + w, y + h) for x, y, w, h in boxes))
    alpha = ops.soft_mask(mask, blur)
    old, new, out = (np.asarray(image) for image in (original, painted, ops.paste(original, painted, alpha)))
    assert np.array_equal(out[alpha == 0], old[alpha == 0])
    assert np.array_equal(out[alpha == 1], new[alpha == 1])


def test_mixtures_are_rounded_to_the_nearest() -> None:
    original, painted = Image.new("RGB", (8, 8), (0, 10, 255)), Image.new("RGB", (8, 8), (255, 11, 0))
    assert ops.paste(original, painted, np.full((8, 8), 0.25, np.float32)).getpixel((0, 0)) == (64, 10, 191)
    assert ops.paste(original, painted, np.full((8, 8), 0.75, np.float32)).getpixel((0, 0)) == (191, 11, 64)


def test_different_sizes_cannot_be_pasted() -> None:
    with pytest.raises(ValueError, match="sizes differ"):
        ops.paste(noise("RGB", 8, 8), noise("RGB", 9, 8), np.ones((8, 8), np.float32))


# ---------------------------------------------------------------- depth
def test_a_depth_map_is_0_to_1_whatever_its_bits() -> None:
    for image in (Image.new("L", (8, 8), 255), Image.new("RGB", (8, 8), (255, 255, 255)), Image.fromarray(np.full((8, 8), 65535, np.uint16))):
        plane = ops.depth_plane(image)
        assert (plane.dtype, plane.shape, plane.min(), plane.max()) == (np.float32, (8, 8), 1, 1)
    assert ops.depth_plane(Image.new("L", (8, 8))).max() == 0
    fine = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    assert len(np.unique(ops.depth_plane(fine))) == 64
