"""Headers of safetensors files: what is whole is read, what is damaged or something else is refused in words and at once."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.models import header


def safetensors(entries, data: bytes, claimed: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


def entry(start: int, stop: int, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": shape or [(stop - start) // 4], "data_offsets": [start, stop]}


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    return path


def test_names_types_and_shapes_are_read_without_the_weights(tmp_path):
    entries = {"a": entry(0, 24, [2, 3]), "b": entry(24, 28, [2], "F16"), "__metadata__": {"format": "pt"}}
    found = header.read(written(tmp_path, safetensors(entries, bytes(28))))
    assert found.shape("a") == (2, 3) and found.tensors["b"].dtype == "F16"
    assert found.shape("c") == () and found.metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\x00" * 7, "damaged"),
        (safetensors({"a": entry(0, 8)}, bytes(8))[:-1], "interrupted download"),
        (safetensors({"a": entry(0, 8)}, bytes(9)), "damaged"),
        (safetensors({"a": entry(0, 8)}, bytes(8), claimed=2**63), "damaged"),
        (safetensors({"a": entry(0, 8)}, bytes(8), claimed=200_000_000), "damaged"),
        (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "damaged"),
        (safetensors({"a": entry(0, 8), "b": entry(12, 16)}, bytes(16)), "damaged"),
        (safetensors({"a": entry(0, 8, [3])}, bytes(8)), "damaged"),
        (safetensors({"a": entry(0, 8, [-2])}, bytes(8)), "damaged"),
        (safetensors({"a": entry(0, 8, dtype="OBJECT")}, bytes(8)), "damaged"),
        (safetensors({"a": 5}, b""), "damaged"),
        (safetensors(b'{"a": ', b""), "damaged"),
        (safetensors(b'{"a":' * 100_000, b""), "damaged"),
        (pickle.dumps({"a": 1}), "pickle"),
        (pickle.dumps({"a": list(range(1000))}, protocol=2), "pickle"),
        (b"<!doctype html><title>404</title>", "web page"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    ],
)
def test_what_is_not_a_whole_safetensors_file_is_refused_in_words(tmp_path, data, why):
    with pytest.raises(header.Unreadable, match=why):
        header.read(written(tmp_path, data))


def test_a_torch_archive_is_a_pickle_whatever_its_name(tmp_path):
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    with pytest.raises(header.Unreadable, match="pickle"):
        header.read(path)


@given(data=st.binary(max_size=200), at=st.integers(0, 60), byte=st.integers(0, 255))
def test_no_file_however_damaged_raises_anything_else(tmp_path_factory, data, at, byte):
    whole = bytearray(safetensors({"a": entry(0, 8), "b": entry(8, 16)}, bytes(16)))
    whole[at] = byte
    for content in (data, bytes(whole), safetensors(data, b"")):
        path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
        path.write_bytes(content)
        try:
            header.read(path)
        except header.Unreadable as error:
            assert str(error)
