"""The XMP packet of our files: that a machine made the picture, in the words of the IPTC, and our record where a format has no other place."""

import hashlib
import re
import struct
from collections.abc import Iterable
from xml.sax.saxutils import escape, unescape

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
SEGMENT = 65_533  # bytes that a JPEG segment can hold
PIECE = SEGMENT - len(JPEG_EXTENSION) - 32 - 4 - 4
NAMESPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "sdui": "urn:sdui:1",
}
NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
BACK = {"&#13;": "\r"}


def packet(mode: str, version: str, texts: dict[str, str]) -> bytes:
    """mode: of the request. texts: by our own names ("record", "parameters"); what XML cannot say becomes U+FFFD."""
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{_body(_marks(mode, version) | _ours(texts))}<?xpacket end="r"?>'.encode()


def text(xmp: bytes, name: str) -> str:
    """One of our texts, "" where it is missing. Found as a string, so that no XML of a stranger is ever parsed."""
    _, opening, rest = xmp.decode("utf-8", "replace").partition(f"<sdui:{name}>")
    value, closing, _ = rest.partition(f"</sdui:{name}>")
    return unescape(value, BACK) if opening and closing else ""


def jpeg_segments(mode: str, version: str, texts: dict[str, str]) -> bytes:
    """APP1 segments: one packet, or the mark in one and the texts in an extension of as many as they need (XMP part 3, 1.1.3.1)."""
    whole = packet(mode, version, texts)
    if len(JPEG_XMP + whole) <= SEGMENT:
        return _segment(JPEG_XMP + whole)
    extension = _body(_ours(texts)).encode()
    guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
    marks = _marks(mode, version) | {"xmpNote:HasExtendedXMP": guid}
    return b"".join([_segment(JPEG_XMP + _body(marks).encode()), *map(_segment, _pieces(guid.encode(), extension))])


def from_jpeg_segments(segments: Iterable[bytes]) -> bytes:
    """The bodies of APP1 segments -> the packet and its extension, one behind the other."""
    main, pieces = b"", dict[int, bytes]()
    start = len(JPEG_EXTENSION) + 32
    for body in segments:
        if body.startswith(JPEG_XMP):
            main = body[len(JPEG_XMP) :]
        elif body.startswith(JPEG_EXTENSION) and len(body) >= start + 8:
            pieces[struct.unpack_from(">I", body, start + 4)[0]] = body[start + 8 :]
    return main + b"".join(pieces[offset] for offset in sorted(pieces))


def _pieces(guid: bytes, extension: bytes) -> Iterable[bytes]:
    for offset in range(0, len(extension), PIECE):
        yield JPEG_EXTENSION + guid + struct.pack(">II", len(extension), offset) + extension[offset : offset + PIECE]


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _marks(mode: str, version: str) -> dict[str, str]:
    """txt2img: made by a model alone; everything else: composed of a picture and what a model made."""
    kind = "trainedAlgorithmicMedia" if mode == "txt2img" else "compositeWithTrainedAlgorithmicMedia"
    return {
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE + kind,
        "Iptc4xmpExt:AISystemUsed": "SD UI",
        "Iptc4xmpExt:AISystemVersionUsed": version,
        "xmp:CreatorTool": f"SD UI {version}".strip(),
    }


def _ours(texts: dict[str, str]) -> dict[str, str]:
    return {f"sdui:{name}": text for name, text in texts.items()}


def _body(elements: dict[str, str]) -> str:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    inner = "".join(f"<{name}>{_escaped(value)}</{name}>" for name, value in elements.items() if value)
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )


def _escaped(value: str) -> str:
    return escape(NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})
