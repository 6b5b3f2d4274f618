"""A file is there whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from sd_ui import durable


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21" / "deeper" / "1.png"
    durable.write(path, b"one")
    durable.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["1.png"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    durable.write(path, b"old")
    with pytest.raises(TypeError):
        durable.write(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["1.png"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        durable.write(tmp_path / "folder", b"new")
    assert sorted(os.listdir(tmp_path)) == ["1.png", "folder"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, sizes = tmp_path / "x", set()
    contents = [bytes([i]) * 300_000 for i in range(8)]
    durable.write(path, contents[0])
    writer = threading.Thread(target=lambda: [durable.write(path, content) for content in contents * 3])
    writer.start()
    while writer.is_alive():
        data = path.read_bytes()
        sizes.add(len(data))
        assert len(set(data[::1000])) == 1
    writer.join()
    assert sizes <= {300_000}


def test_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    durable.write(tmp_path / ("n" * 255), b"data")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"data"
