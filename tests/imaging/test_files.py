"""Whatever is dropped on the page is a picture in RGB, RGBA, L or I;16, or is refused in words that name the field."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from sd_ui.imaging import files
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits
from tests.imaging.test_png import chunk, noise, with_chunks

PHOTO = Image.merge("RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90)]).resize((48, 32))
ODD = PHOTO.crop((0, 0, 24, 16))


def saved(image: Image.Image, format: str, **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **how)
    return out.getvalue()


def refused(data: bytes, limits: Limits = Limits()) -> str:
    with pytest.raises(BadRequest) as caught:
        files.decode(data, "init", limits)
    assert caught.value.field == "init"
    assert "\n" not in caught.value.why
    return caught.value.why


def decoded(data: bytes) -> Image.Image:
    image = files.decode(data, "init").image
    assert image.mode in ("RGB", "RGBA", "L", "I;16")
    assert type(image) is Image.Image and not image.info
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one).astype(float) - np.asarray(other).astype(float)).mean())


# ---------------------------------------------------------------- what is taken
@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_lossless_picture_comes_in_exactly(format: str) -> None:
    image = PHOTO.quantize(64).convert("RGB") if format == "GIF" else PHOTO
    assert decoded(saved(image, format)).tobytes() == image.tobytes()


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_in(format: str) -> None:
    assert difference(decoded(saved(PHOTO, format, quality=95)), PHOTO) < 8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
def test_the_kept_modes_stay_as_they_are(mode: str) -> None:
    image = noise(mode, 12, 10)
    back = decoded(saved(image, "PNG"))
    assert (back.mode, back.tobytes()) == (mode, image.tobytes())


def test_a_picture_is_known_by_its_content_and_needs_no_name() -> None:
    assert files.decode(saved(PHOTO, "PNG"), "named.jpg").image.size == PHOTO.size


@pytest.mark.parametrize("how", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "jpeg"}])
def test_every_usual_tiff_is_read(how: dict[str, str]) -> None:
    assert difference(decoded(saved(PHOTO, "TIFF", **how)), PHOTO) < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_in_upright(format: str, orientation: int) -> None:
    turned_back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that undoes a reader's, in Pillow's numbers
    stored = PHOTO if orientation == 1 else PHOTO.transpose(Image.Transpose(turned_back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 100, "subsampling": 0} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    image = decoded(saved(stored, format, exif=exif, **how))
    assert image.size == PHOTO.size
    assert difference(image, PHOTO) < 3


@pytest.mark.parametrize("how", [{}, {"compression": "tiff_lzw"}])
def test_a_packed_tiff_is_turned_once(how: dict[str, str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(saved(PHOTO.transpose(Image.Transpose.ROTATE_90), "TIFF", exif=exif, **how)).tobytes() == PHOTO.tobytes()


def test_a_palette_with_transparency_keeps_it() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    back = decoded(saved(image, "PNG", transparency=0))
    assert (back.mode, back.getpixel((0, 0)), back.getpixel((1, 1))) == ("RGBA", (0, 0, 0, 0), (255, 0, 0, 255))
    assert decoded(saved(image, "PNG", transparency=bytes([7, 255]))).getpixel((0, 0)) == (0, 0, 0, 7)
    assert decoded(saved(image, "PNG")).mode == "RGB"


def test_grey_with_alpha_and_a_transparent_colour_become_rgba() -> None:
    assert decoded(saved(Image.new("LA", (8, 8), (90, 40)), "PNG")).getpixel((0, 0)) == (90, 90, 90, 40)
    assert decoded(saved(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == (1, 2, 3, 0)
    assert decoded(saved(Image.new("1", (8, 8), 1), "PNG")).getpixel((0, 0)) == 255


def test_the_background_shows_through_transparency() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert files.flattened(image).getpixel((0, 0)) == (255, 255, 255)
    assert files.flattened(image, (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    assert files.flattened(Image.new("RGBA", (8, 8), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)
    assert files.flattened(PHOTO) is PHOTO


# ---------------------------------------------------------------- deep and foreign colours
def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    image = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    back = decoded(saved(image, "PNG"))
    assert (back.mode, back.getpixel((0, 0))) == ("I;16", 32768)
    assert files.flattened(back).getpixel((0, 0)) == (128, 128, 128)
    assert files.flattened(Image.fromarray(np.full((8, 8), 65535, np.uint16))).getpixel((0, 0)) == (255, 255, 255)


def test_big_endian_16_bit_tiff_keeps_its_values() -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    tags = {256: 8, 257: 8, 258: 16, 259: 1, 262: 1, 273: 8 + 2 + 7 * 12 + 4, 279: 128}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + values.astype(">u2").tobytes()
    assert np.array_equal(np.asarray(decoded(data)), values)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_png_is_scaled(channels: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, {3: 2, 4: 6}[channels], 0, 0, 0))
    row = b"\0" + np.full((8, channels), 32768, ">u2").tobytes()
    image = decoded(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b""))
    assert image.getpixel((3, 3)) == (128,) * channels


@pytest.mark.parametrize(
    ("values", "low", "high", "is_told"),
    [
        (np.linspace(0, 1, 64), 0, 65535, False),
        (np.linspace(0.25, 0.5, 64), 16384, 32768, False),
        (np.linspace(-3, 40, 64), 0, 65535, True),
        (np.full(64, 7.5), 0, 0, True),
        (np.where(np.arange(64) < 32, np.nan, np.linspace(0, 1, 64)), 0, 65535, False),
        (np.where(np.arange(64) < 32, -np.inf, np.linspace(0, 1, 64)), 0, 65535, False),
        (np.full(64, np.nan), 0, 0, False),
    ],
)
def test_floats_are_scaled(values: np.ndarray, low: int, high: int, is_told: bool) -> None:
    image = files.decode(saved(Image.fromarray(values.astype(np.float32).reshape(8, 8)), "TIFF"), "depth")
    assert image.image.mode == "I;16"
    assert image.image.getextrema() == (low, high)
    assert bool(image.notes) == is_told


def test_32_bit_grey_is_scaled() -> None:
    assert decoded(saved(Image.fromarray(np.full((8, 8), 40_000, np.int32)), "TIFF")).getpixel((0, 0)) == 40_000
    assert decoded(saved(Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8) * 10_000_000), "TIFF")).getextrema() == (0, 65535)


def test_cmyk_is_taken_for_what_it_is_with_and_without_adobes_inversion() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    adobe = saved(red, "JPEG", quality=100)
    start = adobe.index(b"\xff\xee")
    length = int.from_bytes(adobe[start + 2 : start + 4], "big")
    plain = adobe[:start] + adobe[start + 2 + length :]  # the same numbers without Adobe's marker mean the inverse
    assert difference(decoded(adobe), Image.new("RGB", (16, 16), (255, 0, 0))) < 4
    assert difference(decoded(plain), Image.new("RGB", (16, 16), (0, 0, 0))) < 4  # full key, as ImageMagick reads it
    assert difference(decoded(saved(red, "TIFF")), Image.new("RGB", (16, 16), (255, 0, 0))) < 4


def test_lab_becomes_rgb() -> None:
    lab = ImageCms.profileToProfile(PHOTO, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    assert difference(decoded(saved(lab, "TIFF")), PHOTO) < 6


def xyz_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def swapped_profile() -> bytes:
    """sRGB with red and blue exchanged: a profile whose effect nobody overlooks."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    tags = {bytes(data[p : p + 4]): p for p in range(132, 132 + 12 * count, 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_applied(format: str) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    how = {"quality": 100} if format in ("JPEG", "WEBP") else {}
    image = decoded(saved(red, format, icc_profile=swapped_profile(), **how))
    r, _, b = image.getpixel((4, 4))
    assert b > 240 and r < 15


def test_a_profile_leaves_alpha_alone() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 77))
    back = decoded(saved(image, "PNG", icc_profile=swapped_profile()))
    assert back.getpixel((0, 0))[2:] == (255, 77)


def test_an_srgb_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decoded(saved(PHOTO, "PNG", icc_profile=profile)).tobytes() == PHOTO.tobytes()


@pytest.mark.parametrize("profile", [b"broken", bytes(200), swapped_profile()[:150], xyz_profile()])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    for image in (PHOTO, PHOTO.convert("L"), PHOTO.convert("RGBA")):
        assert decoded(saved(image, "PNG", icc_profile=profile)).size == image.size
    assert decoded(saved(PHOTO, "PNG", icc_profile=profile[:150])).tobytes() == PHOTO.tobytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "exif", [b"", b"broken", b"MM\0*\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(40), b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0aaaa"]
)
def test_a_broken_exif_is_ignored(exif: bytes) -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        assert decoded(saved(PHOTO, format, exif=b"Exif\0\0" + exif)).size == PHOTO.size


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_the_first_is_taken_and_it_is_said(format: str) -> None:
    first, second = Image.new("RGB", (16, 16), (250, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 250))
    how = {"lossless": True} if format == "WEBP" else {}
    several = files.decode(saved(first, format, save_all=True, append_images=[second], **how), "init")
    assert files.flattened(several.image).tobytes() == first.tobytes()
    assert several.notes == ("Only its first frame or page is used.",)
    assert files.decode(saved(first, format, **how), "init").notes == ()


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "data",
    [
        b"just text",
        b"<!DOCTYPE html><html>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"8BPS\0\1" + bytes(100),
        b"MZ\x90\0" + bytes(100),
        b"SIMPLE  =                    T",
        b"\xd7\xcd\xc6\x9a" + bytes(100),
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x1cftypavif",
        b"\0",
    ],
)
def test_no_picture_is_refused_with_what_is_accepted(data: bytes) -> None:
    why = refused(data)
    assert "PNG, JPEG, WebP, GIF, BMP and TIFF" in why


def test_an_empty_file_is_refused() -> None:
    assert "empty" in refused(b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore")
def test_a_truncated_file_is_damaged(format: str, part: float) -> None:
    data = saved(noise("RGB", 64, 64), format)
    assert "damaged" in refused(data[: int(len(data) * part)])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.integers(4, 400), st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_a_picture_or_a_refusal(format: str, place: int, patch: bytes) -> None:
    data = saved(ODD, format)
    try:
        decoded(data[:place] + patch + data[place + len(patch) :])
    except BadRequest as error:
        assert error.field == "init"


def bomb_png(side: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND", b"")


def bomb_webp(side: int) -> bytes:
    data = saved(PHOTO, "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08")
    assert data[12:16] == b"VP8X"
    return data[:24] + (side - 1).to_bytes(3, "little") * 2 + data[30:]


def bomb_gif(side: int) -> bytes:
    data = saved(PHOTO.quantize(4), "GIF")
    return data[:6] + struct.pack("<HH", side, side) + data[10:]


def bomb_tiff(side: int) -> bytes:
    data = bytearray(saved(PHOTO.convert("L"), "TIFF"))
    for tag in (256, 257):
        place = data.index(struct.pack("<HH", tag, 4) if struct.pack("<HH", tag, 4) in data else struct.pack("<HH", tag, 3))
        data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, side)
    return bytes(data)


def bomb_of_one_tile(side: int) -> bytes:
    """A TIFF of 64x64 pixels in a tile of side x side."""
    body = zlib.compress(bytes(10_000_000))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 134, 325: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + body


def bomb_bmp(side: int) -> bytes:
    data = saved(PHOTO, "BMP")
    return data[:18] + struct.pack("<ii", side, side) + data[26:]


def bomb_jpeg(side: int) -> bytes:
    data = saved(PHOTO, "JPEG")
    place = data.index(b"\xff\xc0")
    return data[: place + 5] + struct.pack(">HH", side, side) + data[place + 9 :]


BOMBS = (bomb_png, bomb_webp, bomb_gif, bomb_tiff, bomb_of_one_tile, bomb_bmp, bomb_jpeg)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("side", [16_000, 13_000])
def test_a_huge_picture_is_refused_with_its_size_and_the_limit(bomb, side: int) -> None:
    why = refused(bomb(side))
    assert f"{side}x{side}" in why and "64 megapixels" in why


def test_50000_by_50000_is_refused_too() -> None:
    why = refused(bomb_png(50_000))
    assert "50000x50000" in why and "2500.0 megapixels" in why


def test_a_bomb_costs_less_than_10_megabytes(tmp_path: Path) -> None:
    """In a process of its own, since the most memory a process ever had never sinks again."""
    pytest.importorskip("resource")
    warm = [saved(PHOTO, format) for format in ("PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG")]
    for i, data in enumerate([*warm, bomb_png(50_000), *(bomb(16_000) for bomb in BOMBS), *map(with_chunks, map(swollen, SWOLLEN))]):
        (tmp_path / f"{i:02}").write_bytes(data)
    grown = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path), str(len(warm))], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 10_000, grown.stdout


MEASURE = """
import resource, sys
from pathlib import Path
from sd_ui.imaging import files
from sd_ui.spec.errors import BadRequest
paths, warm = sorted(Path(sys.argv[1]).iterdir()), int(sys.argv[2])
largest = max(path.stat().st_size for path in paths)
buffer = bytearray(b'1' * largest)  # reading the file itself is not what is measured
for path in paths[:warm]:
    files.decode(path.read_bytes(), 'init')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in paths[warm:]:
    try:
        files.decode(path.read_bytes(), 'init')
    except BadRequest:
        continue
    sys.exit(f'{path} was taken')
unit = 1024 if sys.platform == 'darwin' else 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // unit)
"""


def test_the_limits_are_the_servers() -> None:
    data = saved(PHOTO, "PNG")
    assert "48x32" in refused(data, Limits(input_pixels=1000))
    assert "MB" in refused(data, Limits(input_bytes=100))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (7, 8), (8, 7)])
def test_a_tiny_picture_is_refused(size: tuple[int, int]) -> None:
    assert f"{size[0]}x{size[1]}" in refused(saved(Image.new("RGB", size), "PNG"))


def test_the_smallest_and_the_longest_are_taken() -> None:
    assert decoded(saved(Image.new("RGB", (8, 8)), "PNG")).size == (8, 8)
    assert decoded(saved(Image.new("RGB", (160, 10)), "PNG")).size == (160, 10)


SWOLLEN = ("64 MB of text", "2 MB of text", "64 MB of profile", "100000 chunks")


def swollen(name: str) -> bytes:
    """Chunks that look small and are not."""
    if name == "100000 chunks":
        return chunk(b"teST", b"") * 100_000
    amount, _, _, kind = name.split()
    return chunk({"text": b"zTXt", "profile": b"iCCP"}[kind], b"a\0\0" + zlib.compress(bytes(int(amount) * 1_000_000), 1))


@pytest.mark.parametrize("name", SWOLLEN)
def test_a_bomb_inside_a_png_is_refused(name: str) -> None:
    assert "damaged" in refused(with_chunks(swollen(name)))


@pytest.mark.parametrize(
    ("how", "kind"), [({"lossless": True}, b"VP8L"), ({"quality": 50}, b"VP8 "), ({"exif": b"Exif\0\0MM\0*\0\0\0\x08"}, b"VP8X")]
)
@pytest.mark.parametrize("size", [(8, 8), (300, 17), (1025, 513)])
def test_a_webps_size_stands_in_its_header(how: dict[str, object], kind: bytes, size: tuple[int, int]) -> None:
    data = saved(Image.new("RGB", size, (9, 99, 199)), "WEBP", **how)
    assert (data[12:16], files.webp_size(data)) == (kind, size)
