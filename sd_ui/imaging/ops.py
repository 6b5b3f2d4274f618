"""Pixels into other pixels: fitting a picture to a size, soft edges, pasting back. Sizes are (width, height), arrays (height, width)."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from sd_ui.imaging.colour import eight_bit, flattened, plain
from sd_ui.spec.request import RESIZES

Plane = npt.NDArray[np.float32]  # (height, width), 0 .. 1
JUST, CROP, FILL = RESIZES


def fit(image: Image.Image, width: int, height: int, resize: str) -> Image.Image:
    """To width x height as A1111's resize modes do. A picture of that size comes back as it is.

    "Just resize" stretches; "Crop and resize" keeps the middle; "Resize and fill" keeps everything and stretches the edge pixels into the rest.
    """
    return _fitted(image, width, height, resize, Image.Resampling.LANCZOS)


def fit_mask(mask: Image.Image, width: int, height: int, resize: str) -> Image.Image:
    """Any picture as a mask (see mask_from), by the same geometry as its picture, so that both stay aligned; no grey values arise."""
    return _fitted(mask_from(mask), width, height, resize, Image.Resampling.NEAREST)


def fit_shades(mask: Image.Image, width: int, height: int, resize: str) -> Image.Image:
    """A mask that is L already, with all its shades: black and white stays black and white."""
    resampling = Image.Resampling.NEAREST if set(np.unique(np.asarray(mask))) <= {0, 255} else Image.Resampling.BILINEAR
    return _fitted(mask, width, height, resize, resampling)


def mask_from(image: Image.Image) -> Image.Image:
    """Any picture as a mask: L, 255 where new content goes and 0 elsewhere.

    By its alpha channel where anything is transparent (a painted layer), otherwise by its luminance; the limit is 128.
    """
    image, _ = plain(image)
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is None or alpha.getextrema()[0] == 255:
        alpha = eight_bit(image).convert("L")
    return alpha.point([0] * 128 + [255] * 128)


def soft_mask(mask: Image.Image, blur: int) -> Plane:
    """How much of the new content is seen: 0 outside the mask, exactly, and rising to 1 over `blur` pixels inside it.

    The distance is Euclidean and counts from the mask's edge, not from the picture's. An island of the mask that is too thin for the ramp
    has a steeper one: its middle is always 1.
    """
    inside = np.asarray(mask) >= 128
    if blur <= 0 or inside.all() or not inside.any():
        return inside.astype(np.float32)
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(inside)
    islands, count = ndimage.label(inside, structure=np.ones((3, 3)))
    deepest = np.concatenate([[1.0], ndimage.maximum(distance, islands, range(1, count + 1))])
    return np.minimum(distance / np.minimum(deepest, blur + 1)[islands], 1).astype(np.float32)


def paste(original: Image.Image, painted: Image.Image, alpha: Plane) -> Image.Image:
    """RGB: the original where alpha is 0, bit for bit, the painted picture where it is 1, the nearest mixture between."""
    old, new = (np.asarray(flattened(image)).astype(np.float32) for image in (original, painted))
    if old.shape != new.shape or old.shape[:2] != alpha.shape:
        raise ValueError(f"sizes differ: original {old.shape}, painted {new.shape}, alpha {alpha.shape}")
    return Image.fromarray(np.rint(old + (new - old) * alpha[..., None]).astype(np.uint8))


def depth_plane(image: Image.Image) -> Plane:
    """A depth map as numbers, black 0 and white 1, from grey of 8 or 16 bits or colour."""
    if image.mode == "I;16":
        return np.asarray(image).astype(np.float32) / np.float32(65535)
    return np.asarray(flattened(image).convert("L")).astype(np.float32) / np.float32(255)


# ---------------------------------------------------------------- geometry
def _fitted(image: Image.Image, width: int, height: int, resize: str, resampling: Image.Resampling) -> Image.Image:
    if image.size == (width, height):
        return image
    if resize not in RESIZES:
        raise ValueError(f"{resize!r} is not a resize mode; known are: {', '.join(RESIZES)}")
    if resize == JUST:
        return _scaled(image, (width, height), (0, 0, *image.size), resampling)
    inner = inner_size(image.size, (width, height), covers=resize == CROP)
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    if resize == FILL:
        return _edges_stretched(_scaled(image, inner, (0, 0, *image.size), resampling), left, top, width, height)
    across, down = image.width / inner[0], image.height / inner[1]  # only what is kept is computed: a long strip costs no more than a square
    right, bottom = min((width - left) * across, image.width), min((height - top) * down, image.height)
    return _scaled(image, (width, height), (-left * across, -top * down, right, bottom), resampling)


def inner_size(size: tuple[int, int], target: tuple[int, int], covers: bool) -> tuple[int, int]:
    """The size, of the picture's own shape, that just covers the target or just lies within it (rounded down, as A1111)."""
    (w, h), (width, height) = size, target
    by_width = width * h > w * height if covers else width * h < w * height
    return (width, max(1, h * width // w)) if by_width else (max(1, w * height // h), height)


def _scaled(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float], resampling: Image.Resampling) -> Image.Image:
    if image.mode != "I;16":
        return image.resize(size, resampling, box)
    values = Image.fromarray(np.asarray(image).astype(np.float32)).resize(size, resampling, box)  # Pillow has few filters for 16 bits
    return Image.fromarray(np.rint(np.clip(np.asarray(values), 0, 65535)).astype(np.uint16))


def _edges_stretched(image: Image.Image, left: int, top: int, width: int, height: int) -> Image.Image:
    pixels = np.asarray(image)
    margins = [(top, height - top - image.height), (left, width - left - image.width)]
    return Image.fromarray(np.pad(pixels, margins + [(0, 0)] * (pixels.ndim - 2), mode="edge"))
