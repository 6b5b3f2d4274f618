"""From every way to write pixels to the four that we keep: RGB, RGBA and L in sRGB, and I;16 (16-bit grey)."""

import io

import numpy as np
from PIL import Image, ImageChops, ImageFile

KEPT = ("RGB", "RGBA", "L", "I;16")
WHITE = (255, 255, 255)


def plain(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """A loaded picture in one of the kept modes, and what had to be changed, in words. A damaged colour profile is ignored."""
    profile = image.info.get("icc_profile")
    notes: tuple[str, ...] = ()
    if image.mode.startswith(("I", "F")):
        image, notes = sixteen_bit(image)
    else:
        image = to_srgb(_direct(image), profile if isinstance(profile, bytes) else b"")
    if image.info or isinstance(image, ImageFile.ImageFile):
        image = image.copy()  # without the file behind it
        image.info = {}  # a profile or a comment must not be applied or saved a second time
    return image, notes


def flattened(image: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """As RGB, composited on the background where it is transparent."""
    image, _ = plain(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image if image.mode == "RGB" else eight_bit(image).convert("RGB")


def eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to L, scaled and rounded (Pillow's convert would clip it to white)."""
    if image.mode != "I;16":
        return image
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))


def sixteen_bit(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Grey of 16 or 32 bits, whole or floating, as I;16: 16-bit values and 0 .. 1 as they are, everything else stretched."""
    if image.mode == "I;16":
        return image, ()
    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    notes: tuple[str, ...] = ()
    one = 1.0 if image.mode == "F" else 65535.0
    if low < 0 or high > one:
        notes = (f"Its grey values, {low:g} to {high:g}, were stretched to black .. white.",)
    else:
        low, high = 0.0, one
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scaled = (values - low) * (65535 / max(high - low, 1e-300))
    return Image.fromarray(np.rint(scaled).astype(np.uint16)), notes


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """L, RGB, RGBA, CMYK or LAB to L, RGB or RGBA."""
    if image.mode == "RGBA":
        coloured = to_srgb(image.convert("RGB"), profile) if profile else image
        if profile:
            coloured.putalpha(image.getchannel("A"))
        return coloured
    managed = _managed(image, profile) if profile or image.mode == "LAB" else None
    if managed is None:
        return image if image.mode in KEPT else image.convert("RGB")
    return managed.convert("L") if image.mode == "L" else managed


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """By its colour profile; None where that is damaged, does not fit, or is sRGB already (then the pixels stay exactly as they are)."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).casefold():
            return None
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _direct(image: Image.Image) -> Image.Image:
    """Without palettes, bits and premultiplied alpha: L, RGB, RGBA, CMYK or LAB."""
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        return ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's, which are inverted
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in (*KEPT, "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
