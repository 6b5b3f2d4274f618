"""What of a picture is repainted: seen through a window, filled before it is painted, put back afterwards. Boxes are (left, top, right, bottom)."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sd_ui.imaging import ops
from sd_ui.imaging.colour import eight_bit, flattened, plain
from sd_ui.imaging.ops import Plane
from sd_ui.spec.request import RESIZES, Inpaint

Box = tuple[int, int, int, int]
FILL = RESIZES[2]
FADES = (256, 64, 16, 4, 1)  # pixels: colours are carried into the mask from ever nearer
CARRIED = 1 / 512  # of a place's weight that must come from outside the mask, or a wider fade decides


def shaded(source: Inpaint, mask: Image.Image) -> Image.Image:
    """Any picture as the mask that is meant: L, lighter where more may change; black and white where its edge is hard."""
    mask = shades_from(mask) if source.is_soft else ops.mask_from(mask)
    return inverted(mask) if source.is_inverted else mask


def shades_from(image: Image.Image) -> Image.Image:
    """Any picture as a mask with shades: L, the lighter the more new content. By alpha or luminance, as ops.mask_from."""
    image, _ = plain(image)
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    return eight_bit(image).convert("L") if alpha is None or alpha.getextrema()[0] == 255 else alpha


def inverted(mask: Image.Image) -> Image.Image:
    return mask.point(range(255, -1, -1))


def any_of(mask: Image.Image) -> Image.Image:
    """Black and white: white where anything at all may change."""
    return mask.point([0] + [255] * 255)


def degrees(mask: Image.Image, blur: int) -> Plane:
    """How much each place may change: the mask's own shade, less towards its blurred edge."""
    return np.asarray(mask).astype(np.float32) / np.float32(255) * ops.soft_mask(any_of(mask), blur)


# ---------------------------------------------------------------- the window
@dataclass(frozen=True)
class Window:
    """box: the part of a picture that is painted. size: width and height at which it is painted."""

    box: Box
    size: tuple[int, int]

    @classmethod
    def around(cls, mask: Image.Image, padding: int, size: tuple[int, int]) -> "Window":
        """The mask with `padding` pixels around it, grown to the shape of `size` as far as the picture goes, as A1111 does. mask: not all black."""
        found = mask.getbbox()
        assert found is not None
        left, right = grown(found[0] - padding, found[2] + padding, 0, mask.width)
        top, bottom = grown(found[1] - padding, found[3] + padding, 0, mask.height)
        width, height = right - left, bottom - top
        if width * size[1] > height * size[0]:
            top, bottom = grown(top, bottom, -(-width * size[1] // size[0]), mask.height)
        else:
            left, right = grown(left, right, -(-height * size[0] // size[1]), mask.width)
        return cls((left, top, right, bottom), size)

    def seen(self, image: Image.Image) -> Image.Image:
        """What is painted over. Where the picture was too small for the shape of `size`, its edge is stretched."""
        return ops.fit(image.crop(self.box), *self.size, FILL)

    def seen_mask(self, mask: Image.Image) -> Image.Image:
        return ops.fit_shades(mask.crop(self.box), *self.size, FILL)

    def put_back(self, picture: Image.Image, painted: Image.Image) -> Image.Image:
        """The picture with what was painted in the window's place."""
        left, top, right, bottom = self.box
        inner = ops.inner_size((right - left, bottom - top), self.size, covers=False)
        x, y = self.size[0] // 2 - inner[0] // 2, self.size[1] // 2 - inner[1] // 2
        part = painted.resize((right - left, bottom - top), Image.Resampling.LANCZOS, (x, y, x + inner[0], y + inner[1]))
        whole = flattened(picture).copy()
        whole.paste(part, (left, top))
        return whole


def looked_at(source: Inpaint, mask: Image.Image, size: tuple[int, int]) -> tuple[Window | None, Image.Image]:
    """The window, where there is one, and the mask as it is painted: of width and height `size`. mask: as `shaded` gives it, not all black."""
    if not source.is_window:
        return None, ops.fit_shades(mask, *size, source.resize)
    window = Window.around(mask, source.mask_padding, size)
    return window, window.seen_mask(mask)


def grown(low: int, high: int, wanted: int, most: int) -> tuple[int, int]:
    """A stretch of the line from 0 to `most`: cut to the line, grown to the length `wanted` about its middle, and pushed back onto the line."""
    low, high = max(0, low), min(most, high)
    length = min(max(wanted, high - low), most)
    low = min(max(0, low - (length - (high - low)) // 2), most - length)
    return low, low + length


# ---------------------------------------------------------------- filling
def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """RGB: inside the mask the colours around it, blurred the more the farther they were carried; outside the picture, bit for bit."""
    from scipy import ndimage

    pixels, hole = np.asarray(flattened(image)), np.asarray(mask) > 0
    if hole.all():
        return Image.new("RGB", image.size, (127, 127, 127))
    outside = (~hole).astype(np.float32)
    result = np.broadcast_to(pixels[~hole].mean(axis=0, dtype=np.float32), pixels.shape).copy()
    for fade in FADES:
        weight = ndimage.gaussian_filter(outside, fade, mode="nearest")
        near = weight > CARRIED
        for channel in range(3):
            carried = ndimage.gaussian_filter(pixels[..., channel] * outside, fade, mode="nearest")
            result[..., channel][near] = carried[near] / weight[near]
    return Image.fromarray(np.where(hole[..., None], np.rint(np.clip(result, 0, 255)).astype(np.uint8), pixels))
