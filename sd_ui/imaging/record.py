"""A picture's file carries the request that made it: as A1111's text for everyone, as our own JSON for an exact replay, and the mark of AI."""

import hashlib
import io
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from sd_ui.imaging import files, infotext, png, texts, xmp
from sd_ui.imaging.colour import flattened
from sd_ui.spec.codec import dump, load
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.limits import Limits
from sd_ui.spec.made import VERSION, Record

ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp"}  # of files, by their format
METADATA = ("all", "infotext", "none")
KEY, TEXT_KEY, XMP_KEY = "sdui", "parameters", "XML:com.adobe.xmp"  # PNG texts
EXIF_HEADER = struct.pack(">6s2sHI HHHII I", b"Exif\0\0", b"MM", 42, 8, 1, 0x8769, 4, 1, 26, 0)  # IFD0 with the place of the next
LONGEST_EXIF_TEXT = (xmp.SEGMENT - 50 - 8) // 2  # UTF-16 units in a JPEG
TOO_LONG = "The parameters are too long for the EXIF of a JPEG: they stand in its XMP part, where few other programs look."


# ---------------------------------------------------------------- writing
def encode(image: Image.Image, record: Record, card_title: str, delivery: Delivery = Delivery(), metadata: str = "all") -> bytes:
    """The picture as a file. card_title: the model's name for human eyes.

    metadata: "all"; "infotext": without our own record; "none": nothing of the request. The mark that a machine made it is always there.
    PNG is exact, WebP is at quality 100. See `note_on` for what does not fit.
    """
    rgb = flattened(image)
    text = infotext.write(record, card_title) if metadata != "none" else ""
    told = to_json(record) if metadata == "all" else ""
    return _ENCODERS[delivery.format](rgb, record, text, told, delivery.quality)


def note_on(record: Record, card_title: str, delivery: Delivery = Delivery(), metadata: str = "all") -> str:
    """What the file format has no room for, in words; "" mostly."""
    is_long = delivery.format == "jpeg" and metadata != "none" and not _fits_exif(infotext.write(record, card_title))
    return TOO_LONG if is_long else ""


def pixels_hash(image: Image.Image) -> str:
    """sha256 of the RGB bytes, row by row."""
    return hashlib.sha256(flattened(image).tobytes()).hexdigest()


def to_json(record: Record) -> str:
    """In ASCII, so that every text field of every format can hold it."""
    return json.dumps(dump(record), separators=(",", ":"), sort_keys=True)


def _png(rgb: Image.Image, record: Record, text: str, told: str, quality: int) -> bytes:
    mark = xmp.packet(record.request.mode, record.made.app, {}).decode()
    return png.encode(rgb, [(key, value) for key, value in ((TEXT_KEY, text), (KEY, told), (XMP_KEY, mark)) if value])


def _jpeg(rgb: Image.Image, record: Record, text: str, told: str, quality: int) -> bytes:
    fits = _fits_exif(text)
    told_too = {"record": told} | ({} if fits else {"parameters": text})
    segments = xmp.jpeg_segments(record.request.mode, record.made.app, told_too)
    sampling = 0 if quality >= 90 else 2  # colour at full resolution where quality is wanted
    return _saved(rgb, "JPEG", quality=quality, subsampling=sampling, exif=exif(text) if fits else b"", extra=segments)


def _webp(rgb: Image.Image, record: Record, text: str, told: str, quality: int) -> bytes:
    packet = xmp.packet(record.request.mode, record.made.app, {"record": told})
    how: dict[str, Any] = {"lossless": True, "quality": 0, "method": 0} if quality == 100 else {"quality": quality}
    return _saved(rgb, "WEBP", exif=exif(text), xmp=packet, **how)


_ENCODERS: dict[str, Callable[[Image.Image, Record, str, str, int], bytes]] = {"png": _png, "jpeg": _jpeg, "webp": _webp}


def _saved(rgb: Image.Image, format: str, **how: Any) -> bytes:
    out = io.BytesIO()
    rgb.save(out, format, **how)
    return out.getvalue()


def exif(text: str) -> bytes:
    """A UserComment by hand: what Pillow writes some readers cannot load, and a Make or Model tag confuses others. "" gives nothing."""
    comment = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    return EXIF_HEADER + struct.pack(">HHHII I", 1, 0x9286, 7, len(comment), 44, 0) + comment if text else b""


def _fits_exif(text: str) -> bool:
    return len(text.encode("utf-16-be", "replace")) // 2 <= LONGEST_EXIF_TEXT


# ---------------------------------------------------------------- reading
@dataclass(frozen=True)
class Metadata:
    """record: our own, or None; fault: why a record that is there cannot be used. infotext: A1111's text, ours or another's; "" without one.

    texts: everything else that it says, by the names of `imaging.texts`, for whoever can read it.
    """

    record: Record | None = None
    infotext: str = ""
    fault: str = ""
    texts: dict[str, str] = field(default_factory=dict, compare=False)


def read(data: bytes, field: str = "image", limits: Limits = Limits()) -> Metadata:
    """What a PNG, JPEG or WebP remembers. Raises BadRequest where it is no picture that could be one of ours or theirs."""
    with files.damage_said(field):
        image = files.opened(data, field, limits)
        found = texts.of(image, data)
    told, text = found.pop(KEY, ""), found.get(TEXT_KEY) or found.get("UserComment", "")
    try:
        return Metadata(from_json(told) if told else None, text, texts=found)
    except (ValueError, RecursionError) as error:
        why = str(error)[:200].encode("utf-8", "replace").decode()
        return Metadata(None, text, f"Its record cannot be used: {why}", found)


def from_json(told: str) -> Record:
    """Raises ValueError in words."""
    data = json.loads(told, parse_constant=_no_number, parse_float=_finite)
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is int and version > VERSION:
        raise ValueError(f"it is of version {version}, and this program knows versions up to {VERSION}")
    record: Record = load(Record, data, "record")
    return record


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text[:20]} is not a finite number")
