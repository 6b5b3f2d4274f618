"""All texts that a picture's file carries, by the names of their places. Nothing of it is believed."""

import re
from xml.sax.saxutils import unescape

from PIL import Image

from sd_ui.imaging import files, png, stealth, xmp

EXIF_IFD, USER_COMMENT, MAKER_NOTE = 0x8769, 0x9286, 0x927C
PLACES = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software"}  # of EXIF's first part; ComfyUI uses two for JSON
XMP_KEY, OURS = "XML:com.adobe.xmp", "sdui"
ENTITIES = {"&#13;": "\r", "&#xA;": "\n", "&#10;": "\n", "&quot;": '"', "&apos;": "'", "&#34;": '"', "&#39;": "'"}
XMP_COMMENT = re.compile(r'<exif:UserComment>\s*(?:<rdf:Alt>\s*<rdf:li[^<>]{0,80}>)?([^<>]*)|exif:UserComment="([^"<>]*)"')
USUAL = ("parameters", "UserComment", "Comment", "prompt", OURS)
MOST = 4_000_000  # characters that are looked through


def of(image: Image.Image, data: bytes) -> dict[str, str]:
    """Of an opened PNG, JPEG, WebP, GIF and so on. "parameters" is A1111's text wherever it stood, "sdui" our own record.

    Pixels are decoded only where a text may be hidden in them: in transparency, and where no other text is.
    Raises what `imaging.files.damage_said` tells of.
    """
    found = {} if image.format == "PNG" and "exif" not in image.info else _exif(image)
    packet = b""
    match image.format:
        case "PNG":
            said = png.texts(data)
            packet = said.pop(XMP_KEY, "").encode("utf-8", "replace")
            found |= said
        case "JPEG":
            packet = xmp.from_jpeg_segments(body for app, body in getattr(image, "applist", ()) if app == "APP1")
            found["Comment"] = _decoded(image.info.get("comment", b""))
        case "GIF":
            found["parameters"] = _decoded(image.info.get("comment", b""))
        case _:
            packet = image.info.get("xmp", b"")
    if isinstance(packet, bytes):
        found = _xmp(packet, image.format == "PNG") | {place: text for place, text in found.items() if text}
    if image.mode == "RGBA" and not any(found.get(place) for place in USUAL):
        found["hidden"] = stealth.hidden(image)
    return {place: text for place, text in found.items() if text}


def _xmp(packet: bytes, is_png: bool) -> dict[str, str]:
    own = {} if is_png else {"parameters": xmp.text(packet, "parameters"), OURS: xmp.text(packet, "record")}
    comment = XMP_COMMENT.search(packet[:MOST].decode("utf-8", "replace"))
    return own | {"UserComment": unescape(comment[1] or comment[2] or "", ENTITIES) if comment else ""}


def _exif(image: Image.Image) -> dict[str, str]:
    """What is missing or damaged is left out."""
    try:
        exif = image.getexif()
        found = {name: _decoded(exif.get(tag, "")) for tag, name in PLACES.items()}
        inner = exif.get_ifd(EXIF_IFD)
        return found | {"UserComment": _comment(inner.get(USER_COMMENT, b"")), "MakerNote": _decoded(inner.get(MAKER_NOTE, b""))}
    except files.DAMAGED:
        return {}


def _decoded(said: object) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return text.rstrip("\0") if isinstance(text, str) else ""


def _comment(comment: object) -> str:
    """EXIF's UserComment, with the codes that are met in the wild."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    code, body = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        big, little = body.decode("utf-16-be", "replace"), body.decode("utf-16-le", "replace")
        return little if _latin(little) > _latin(big) else big
    return (body if code in (b"ASCII\0\0\0", b"\0" * 8) else comment).decode("utf-8", "replace").rstrip("\0")


def _latin(text: str) -> int:
    """Letters of the keys that every such text has: the wrong order of bytes leaves none."""
    return sum("\t" <= letter <= "~" for letter in text[:2000] + text[-2000:])
