"""Input pictures by content: the same pixels are kept once, and a request names them by their hash."""

import hashlib
import re
from pathlib import Path

from PIL import Image

from sd_ui import durable
from sd_ui.imaging import colour, files
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits
from sd_ui.spec.request import ImageRef

SHA256 = re.compile(r"[0-9a-f]{64}")
UNLIMITED = Limits(input_pixels=2**62, input_bytes=2**62)  # what lies here has passed the door


class Blobs:
    """`<folder>/<ab>/<sha256>.png`. Safe for many threads and processes: a file is whole from the moment it has its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, image: Image.Image) -> ImageRef:
        """An upright picture. RGB, RGBA, L and I;16 are kept exactly; other modes become one of these."""
        image, _ = colour.plain(image)
        ref = ImageRef(content_hash(image), image.width, image.height)
        path = self.path(ref)
        if not path.exists():
            durable.write(path, files.png(image))
        return ref

    def open(self, ref: ImageRef) -> Image.Image:
        """Raises FileNotFoundError where it is not kept here, BadRequest where the reference or the file is not what it says."""
        path = self.path(ref)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"the picture {ref.sha256[:12]} ({ref.width}x{ref.height}) is not kept here any more") from None
        image = files.decode(data, "image", UNLIMITED).image
        if content_hash(image) != ref.sha256:
            raise BadRequest("image", f"the kept picture {ref.sha256[:12]} is damaged")
        if image.size != (ref.width, ref.height):
            raise BadRequest("image", f"the picture {ref.sha256[:12]} is {image.width}x{image.height}, not {ref.width}x{ref.height}")
        return image

    def path(self, ref: ImageRef) -> Path:
        if not isinstance(ref.sha256, str) or not SHA256.fullmatch(ref.sha256):
            raise BadRequest("image", f"{ref.sha256!r:.80} is not the sha256 of a picture (64 hexadecimal digits)")
        return self.folder / ref.sha256[:2] / f"{ref.sha256}.png"


def content_hash(image: Image.Image) -> str:
    """Over mode, size and pixels (16-bit ones in little-endian order): the same on every machine."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
