"""Texts in the lowest bits of a picture's transparency, where NovelAI and the "stealth" extensions of A1111 put them."""

import zlib

import numpy as np
from PIL import Image

MARKS = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}  # whether the text is packed (gzip)
MARK, LENGTH = 15, 4  # bytes: of a mark, and of the text's length in bits, the most significant one first
LARGEST = 4_000_000  # bytes of a text, unpacked
GZIP = 31  # for zlib: with a gzip header


def hidden(image: Image.Image) -> str:
    """The text of an RGBA picture, whose bits go down each column, from left to right; "" where there is none. Decodes the pixels."""
    bits = np.asarray(image)[:, :, 3].T & 1
    columns = -(-(MARK + LENGTH) * 8 // bits.shape[1])  # enough of them for the beginning
    begin = np.packbits(bits[:columns].reshape(-1)[: (MARK + LENGTH) * 8]).tobytes()
    packed = MARKS.get(begin[:MARK])
    length = int.from_bytes(begin[MARK:], "big") // 8
    if packed is None or not 0 < length <= min(LARGEST, bits.size // 8 - MARK - LENGTH):
        return ""
    said = np.packbits(bits.reshape(-1)[(MARK + LENGTH) * 8 : (MARK + LENGTH + length) * 8]).tobytes()
    return (_unpacked(said) if packed else said).decode("utf-8", "replace")


def _unpacked(said: bytes) -> bytes:
    """Never more than there may be; what is damaged is no text."""
    try:
        return zlib.decompressobj(GZIP).decompress(said, LARGEST)
    except zlib.error:
        return b""
