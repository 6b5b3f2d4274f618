"""Components that take pictures: by opening, dropping, pasting, or from one's own results. What they hand on is checked here."""

import base64
import binascii
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from sd_ui.imaging import files
from sd_ui.spec.errors import BadRequest
from sd_ui.ui.components.component import Component

MASK_CHARACTERS = 40_000_000  # of a mask as a data-URI: far more than a mask of the largest picture takes
PAINT = (255, 56, 116)  # as in static/mask.js


@dataclass(frozen=True)
class Given:
    """A picture as the page names it. path: in the upload cache; picture: the id of an own result; one of them is empty.

    mask: a PNG data-URI of a mask canvas, "" where nothing is painted; None for a picture without a canvas.
    """

    path: str = ""
    picture: str = ""
    mask: str | None = None

    @property
    def value(self) -> dict[str, Any]:
        """What a component shows for it."""
        return result_of(self.picture) if self.picture else {"path": self.path, "url": f"gradio_api/file={self.path}", "mask": self.mask or None}


class PictureInput(Component):
    """value: {"path", "url"} of an upload, {"picture", "url"} of an own result, or None."""

    files = "picture"

    def preprocess(self, payload: Any) -> Given | None:  # type: ignore[override]
        if not isinstance(payload, dict) or not (payload.get("path") or payload.get("picture")):
            return None
        return Given(str(payload.get("path") or ""), str(payload.get("picture") or ""))


class MaskCanvas(PictureInput):
    """A picture with a mask painted over it. value: as a PictureInput's, and "mask": a PNG data-URI whose alpha is the mask, or None."""

    files = "mask"

    def preprocess(self, payload: Any) -> Given | None:  # type: ignore[override]
        given = super().preprocess(payload)
        return None if given is None else replace(given, mask=str(payload.get("mask") or ""))


def value_of(path: Path, mask: str | None = None) -> dict[str, Any]:
    """A file of ours, copied to where this browser may fetch it."""
    cached = save_file_to_cache(path, get_upload_folder())
    return {"path": cached, "url": f"gradio_api/file={cached}", "mask": mask}


def result_of(picture_id: str) -> dict[str, Any]:
    return {"picture": picture_id, "url": f"pictures/{picture_id}", "mask": None}


def uploaded(path: str, field: str) -> bytes:
    """The path comes from the client: only what lies in the upload cache is read."""
    if not is_uploaded(path):
        raise BadRequest(field, "is no longer on the server; open it again")
    return Path(path).read_bytes()


def is_uploaded(path: str) -> bool:
    if not path or "\0" in path:
        return False
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(get_upload_folder()))
    return real.is_relative_to(root) and real.is_file()


# ---------------------------------------------------------------- masks
def painted(mask: str) -> Image.Image:
    """The mask canvas's data-URI as a picture, L, the lighter the more new content."""
    if not mask:
        raise BadRequest("mask", "is empty: paint over the part that should change, or open a mask")
    if len(mask) > MASK_CHARACTERS:
        raise BadRequest("mask", f"{len(mask)} characters are too many (at most {MASK_CHARACTERS})")
    try:
        data = base64.b64decode(mask.partition(",")[2], validate=True)
    except binascii.Error:
        raise BadRequest("mask", "is not a PNG that can be read") from None
    image = files.decode(data, "mask").image  # its size is checked before its pixels are read
    return image.convert("RGBA").getchannel("A")


def as_paint(mask: Image.Image) -> str:
    """The way back: what the mask canvas shows for a mask of an earlier request."""
    paint = Image.new("RGBA", mask.size, (*PAINT, 0))
    paint.putalpha(mask.convert("L"))
    data = io.BytesIO()
    paint.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
