"""Pictures that come in as bytes."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sd_ui.imaging.colour import flattened, plain
from sd_ui.imaging.png import SIGNATURE, texts
from sd_ui.imaging.png import encode as png
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits

__all__ = ["Decoded", "decode", "flattened", "opened", "png", "read"]
ACCEPTED = "PNG, JPEG, WebP, GIF, BMP and TIFF"
SMALLEST = 8  # pixels a side: one of the latent
READERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (  # by content, never by name
    (SIGNATURE, PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
)
# What Pillow's readers raise at damaged and at hostile files
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 0x0112, 322, 323  # tags of EXIF and TIFF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoded:
    """image: upright, sRGB, in one of the modes RGB, RGBA, L, I;16. notes: what the user should know, in words."""

    image: Image.Image
    notes: tuple[str, ...] = ()


def read(path: str, field: str) -> bytes:
    """A picture's file as somebody named it on the command line. Raises BadRequest(field, ...)."""
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home of somebody who is not known here
        raise BadRequest(field, f"{path!r} cannot be read ({getattr(error, 'strerror', None) or error}); give the path of a picture") from None


def decode(data: bytes, field: str, limits: Limits = Limits()) -> Decoded:
    """Raises BadRequest(field, ...) for what is no picture, damaged, too large or too small; sizes are read before anything is decoded."""
    if len(data) > limits.input_bytes:
        raise BadRequest(field, f"{len(data) / 1e6:.1f} MB are more than this server allows (at most {limits.input_bytes / 1e6:g} MB)")
    with damage_said(field):
        file = opened(data, field, limits)
        several = getattr(file, "is_animated", False)
        file.load()
        check_size(file.size, field, limits)  # once more: a GIF's frame may be larger than its header says
        image, notes = plain(upright(file))
    return Decoded(image, (("Only its first frame or page is used.",) if several else ()) + notes)


@contextmanager
def damage_said(field: str) -> Iterator[None]:
    """Whatever Pillow raises at a file's content becomes a BadRequest."""
    try:
        yield
    except BadRequest:
        raise
    except DAMAGED as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise BadRequest(field, f"is damaged: {why}") from error


def opened(data: bytes, field: str, limits: Limits = Limits()) -> ImageFile.ImageFile:
    """Its header is read, its pixels are not. The readers are called directly: `Image.open` would try others, and warn by a size of its own."""
    if not data:
        raise BadRequest(field, "is empty (0 bytes)")
    reader = next((reader for magic, reader in READERS if data.startswith(magic)), None)
    if reader is None or (reader is WebPImageFile and data[8:12] != b"WEBP"):
        raise BadRequest(field, f"is not a picture of a format that is accepted ({ACCEPTED})")
    if reader is PngImageFile:
        texts(data)  # raises at a bomb of texts or chunks
    if reader is WebPImageFile:
        check_size(webp_size(data), field, limits)  # its decoder takes memory for all pixels when it opens
    image = reader(io.BytesIO(data))
    check_size(image.size, field, limits)
    if isinstance(image, TiffImageFile) and TILE_WIDTH in image.tag_v2:
        check_size((image.tag_v2[TILE_WIDTH], image.tag_v2[TILE_HEIGHT]), field, limits)  # a small picture may consist of one huge tile
    return image


def check_size(size: tuple[int, int], field: str, limits: Limits) -> None:
    width, height = size
    if width * height > limits.input_pixels:
        allowed = f"at most {limits.input_pixels / 1e6:g} megapixels"
        raise BadRequest(field, f"{width}x{height} pixels ({width * height / 1e6:.1f} megapixels) are more than this server allows ({allowed})")
    if min(size) < SMALLEST:
        raise BadRequest(field, f"{width}x{height} pixels are too few (at least {SMALLEST} a side)")


def webp_size(data: bytes) -> tuple[int, int]:
    """As the header of a WebP says (RFC 9649)."""
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise ValueError("unknown kind of WebP")


def upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; a damaged EXIF is ignored. Pillow has already turned a TIFF when it loaded it."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGED:
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned
