"""A kept picture is found again by its content, and by nothing else."""

import os
from pathlib import Path

import pytest
from PIL import Image

from sd_ui.imaging.blobs import Blobs
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import ImageRef
from tests.imaging.test_png import noise


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
def test_a_picture_comes_back_exactly(blobs: Blobs, mode: str) -> None:
    image = noise(mode, 20, 12)
    ref = blobs.put(image)
    back = blobs.open(ref)
    assert (ref.width, ref.height, back.mode, back.tobytes()) == (20, 12, mode, image.tobytes())
    assert blobs.path(ref) == blobs.folder / ref.sha256[:2] / f"{ref.sha256}.png"


def test_the_hash_is_of_mode_size_and_pixels_and_is_the_same_everywhere(blobs: Blobs) -> None:
    assert blobs.put(Image.new("L", (8, 16))).sha256 != blobs.put(Image.new("L", (16, 8))).sha256
    assert blobs.put(Image.new("L", (24, 8))).sha256 != blobs.put(Image.new("RGB", (8, 8))).sha256
    assert blobs.put(Image.new("L", (8, 8))).sha256 == "30b80ea133b9149c8ee4eb54f6fc1b032254842d4c3524ef85b75d0a99b3efab"


def test_other_modes_become_one_that_is_kept(blobs: Blobs) -> None:
    assert blobs.open(blobs.put(Image.new("1", (8, 8), 1))).getpixel((0, 0)) == 255
    assert blobs.open(blobs.put(Image.new("CMYK", (8, 8)))).mode == "RGB"
    assert blobs.open(blobs.put(Image.new("LA", (8, 8)))).mode == "RGBA"
    assert blobs.open(blobs.put(Image.new("F", (8, 8), 0.5))).getpixel((0, 0)) == 32768


def test_what_a_picture_carries_besides_pixels_does_not_count(blobs: Blobs) -> None:
    image = noise("RGB", 8, 8)
    image.info["comment"] = "private"
    assert blobs.put(image) == blobs.put(noise("RGB", 8, 8))
    assert b"private" not in blobs.path(blobs.put(image)).read_bytes()


def test_the_second_time_nothing_is_written(blobs: Blobs) -> None:
    ref = blobs.put(noise("RGB", 30, 30))
    before = blobs.path(ref).stat()
    assert blobs.put(noise("RGB", 30, 30)) == ref
    assert blobs.path(ref).stat().st_mtime_ns == before.st_mtime_ns
    assert len([file for _, _, files in os.walk(blobs.folder) for file in files]) == 1


@pytest.mark.parametrize(
    "sha", ["", "..", "../../etc/passwd", "a" * 63, "a" * 65, "A" * 64, "a" * 63 + "/", "a" * 64 + "\n", "\0" * 64, None, 7, "é" * 64]
)
def test_a_reference_that_is_no_hash_touches_no_file(blobs: Blobs, sha: str) -> None:
    for use in (blobs.open, blobs.path):
        with pytest.raises(BadRequest, match="64 hexadecimal"):
            use(ImageRef(sha, 8, 8))


def test_a_picture_that_is_not_here_is_said_to_be_missing(blobs: Blobs) -> None:
    with pytest.raises(FileNotFoundError, match=r"aaaaaaaaaaaa \(8x8\) is not kept here"):
        blobs.open(ImageRef("a" * 64, 8, 8))


def test_a_reference_with_the_wrong_size_is_refused(blobs: Blobs) -> None:
    ref = blobs.put(noise("RGB", 20, 12))
    with pytest.raises(BadRequest, match="20x12, not 12x20"):
        blobs.open(ImageRef(ref.sha256, 12, 20))


def test_a_damaged_or_exchanged_file_is_noticed(blobs: Blobs) -> None:
    ref, other = blobs.put(noise("RGB", 20, 12)), blobs.put(noise("RGB", 21, 12))
    good = blobs.path(ref).read_bytes()
    for bad in (b"", good[:100], blobs.path(other).read_bytes()):
        blobs.path(ref).write_bytes(bad)
        with pytest.raises(BadRequest):
            blobs.open(ref)
