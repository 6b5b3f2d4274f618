"""Our PNGs are exact, and no PNG's texts can make the reader slow."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sd_ui.imaging import png


def noise(mode: str, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    shape = {"L": (height, width), "I;16": (height, width), "RGB": (height, width, 3), "RGBA": (height, width, 4)}[mode]
    return Image.fromarray(rng.integers(0, 65536 if mode == "I;16" else 256, shape).astype(np.uint16 if mode == "I;16" else np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(chunks: bytes) -> bytes:
    data = png.encode(noise("L", 8, 8))
    return data[:33] + chunks + data[33:]  # behind IHDR


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (8, 1), (1, 9), (17, 13), (64, 64)])
def test_every_pixel_comes_back(mode: str, size: tuple[int, int]) -> None:
    image = noise(mode, *size)
    back = Image.open(io.BytesIO(png.encode(image)))
    back.verify()
    back = Image.open(io.BytesIO(png.encode(image)))
    assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(TEXTS, TEXTS)
def test_texts_come_back(parameters: str, other: str) -> None:
    data = png.encode(Image.new("L", (8, 8)), [("parameters", parameters), ("other", other)])
    assert png.texts(data) == {"parameters": parameters, "other": other}
    assert Image.open(io.BytesIO(data)).info["parameters"] == parameters


def test_pillow_and_we_read_the_same_texts() -> None:
    from PIL.PngImagePlugin import PngInfo

    info, out = PngInfo(), io.BytesIO()
    info.add_text("plain", "Häuschen")
    info.add_text("packed", "so long " * 99, zip=True)
    info.add_itxt("international", "🌋", "en", "key")
    info.add_itxt("packed too", "🌋 " * 99, "en", "key", zip=True)
    Image.new("L", (8, 8)).save(out, "PNG", pnginfo=info)
    expected = {"plain": "Häuschen", "packed": "so long " * 99, "international": "🌋", "packed too": "🌋 " * 99}
    assert png.texts(out.getvalue()) == expected


def test_a_text_behind_the_pixels_is_found() -> None:
    data = png.encode(Image.new("L", (8, 8)))
    assert png.texts(data[:-12] + chunk(b"tEXt", b"late\0here") + data[-12:]) == {"late": "here"}


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64_000_000), 9)),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(64_000_000), 9)),
        chunk(b"tEXt", b"a\0" + bytes(5_000_000)),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9)) * 30,
        chunk(b"teST", b"") * 100_000,
    ],
    ids=["packed", "packed international", "plain", "many packed", "100000 chunks"],
)
def test_a_bomb_is_refused(chunks: bytes) -> None:
    with pytest.raises(ValueError, match="more than"):
        png.texts(with_chunks(chunks))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(tail: bytes) -> None:
    try:
        png.texts(png.SIGNATURE + tail)
    except ValueError as error:
        assert "more than" in str(error)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_damaged_text_is_no_error(kind: bytes) -> None:
    for body in (b"", b"a", b"a\0", b"a\0\1", b"a\0\0not packed", b"a\0\1\0\0\0not packed"):
        png.texts(with_chunks(chunk(kind, body)))
