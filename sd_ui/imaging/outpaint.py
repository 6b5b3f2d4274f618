"""A picture grown beyond its edges: what is new starts as a mirror image of what is there, and is masked."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sd_ui.imaging.colour import flattened


@dataclass(frozen=True)
class Sides:
    """Pixels to add."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return any((self.left, self.right, self.top, self.bottom))

    def size(self, width: int, height: int) -> tuple[int, int]:
        return width + self.left + self.right, height + self.top + self.bottom

    def rounded(self, width: int, height: int) -> "Sides":
        """With the least more that makes both sides of the result multiples of 8: where something is added already, else right and below."""
        across, down = (-side % 8 for side in self.size(width, height))
        left = across if self.left and not self.right else 0
        top = down if self.top and not self.bottom else 0
        return Sides(self.left + left, self.right + across - left, self.top + top, self.bottom + down - top)


def extended(image: Image.Image, sides: Sides) -> Image.Image:
    """RGB. The old picture bit for bit, and around it its mirror images, as often as they are needed."""
    margins = ((sides.top, sides.bottom), (sides.left, sides.right), (0, 0))
    return Image.fromarray(np.pad(np.asarray(flattened(image)), margins, mode="symmetric"))


def extended_mask(mask: Image.Image | None, size: tuple[int, int], sides: Sides, overlap: int) -> Image.Image:
    """L, white in all that is new and `overlap` pixels into the old picture, so that a soft edge lies on it. mask: what else was painted, or None.

    size: of the old picture.
    """
    whole = Image.new("L", sides.size(*size), 255)
    inner = (
        sides.left + (overlap if sides.left else 0),
        sides.top + (overlap if sides.top else 0),
        sides.left + size[0] - (overlap if sides.right else 0) - 1,
        sides.top + size[1] - (overlap if sides.bottom else 0) - 1,
    )
    if inner[0] <= inner[2] and inner[1] <= inner[3]:
        ImageDraw.Draw(whole).rectangle(inner, fill=0)
    if mask is not None:
        whole.paste(255, (sides.left, sides.top), mask.convert("L"))
    return whole
