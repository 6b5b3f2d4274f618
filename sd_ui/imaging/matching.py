"""A redone picture gets its colours back: A1111's colour correction."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from sd_ui.imaging.colour import flattened

Pixels = npt.NDArray[np.float32]  # (height, width, 3), 0 .. 1
Space = Literal["LAB", "sRGB"]
LUMA = np.array((0.3, 0.59, 0.11), np.float32)  # of the W3C's Compositing and Blending, section 10.2


def with_colours_of(picture: Image.Image, reference: Image.Image) -> Image.Image:
    """RGB: the histograms of L, a and b become those of the reference, and then each pixel gets its own luminosity back."""
    matched = _rgb(Image.merge("LAB", [_matched(*planes) for planes in zip(_lab(picture).split(), _lab(reference).split(), strict=True)]))
    result = with_luminosity(_unit(matched), _unit(picture))
    return Image.fromarray(np.rint(result * 255).astype(np.uint8))


def _matched(plane: Image.Image, reference: Image.Image) -> Image.Image:
    """Histogram matching: each value becomes the one of the same rank in the reference."""
    have, want = (np.bincount(np.asarray(one).ravel(), minlength=256) / (one.width * one.height) for one in (plane, reference))
    there = want.nonzero()[0]  # only values that the reference has
    table = np.interp(np.cumsum(have), np.cumsum(want)[there], there)
    return Image.fromarray(np.rint(table).astype(np.uint8)[np.asarray(plane)])


def with_luminosity(colours: Pixels, light: Pixels) -> Pixels:
    """The blend mode "luminosity" of the W3C: hue and saturation of the one, luminosity of the other."""
    lum = light @ LUMA
    moved = colours + (lum - colours @ LUMA)[..., None]
    low, high = moved.min(-1), moved.max(-1)
    down = np.where(low < 0, lum / np.maximum(lum - low, 1e-6), 1.0)
    up = np.where(high > 1, (1 - lum) / np.maximum(high - lum, 1e-6), 1.0)
    return np.clip(lum[..., None] + (moved - lum[..., None]) * np.minimum(down, up)[..., None], 0, 1).astype(np.float32)


def _unit(image: Image.Image) -> Pixels:
    return np.asarray(flattened(image)).astype(np.float32) / np.float32(255)


def _lab(image: Image.Image) -> Image.Image:
    return _converted(flattened(image), "sRGB", "LAB", "LAB")


def _rgb(image: Image.Image) -> Image.Image:
    return _converted(image, "LAB", "sRGB", "RGB")


def _converted(image: Image.Image, source: Space, target: Space, mode: str) -> Image.Image:
    given, wanted = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in (source, target))
    result = ImageCms.profileToProfile(image, given, wanted, outputMode=mode)
    assert result is not None
    return result
