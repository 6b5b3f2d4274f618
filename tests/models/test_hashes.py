"""Hashes name weights: the same bytes, the same name, wherever they lie."""

import hashlib

from sd_ui.models.hashes import Hashes
from tests.checkpoints import tiny_folder


def test_a_files_hash_is_its_sha256_and_follows_its_content(tmp_path):
    hashes, path = Hashes(), tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    assert hashes.of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert hashes.of(path) == hashlib.sha256(b"three").hexdigest()


def test_a_folders_hash_depends_on_its_weights_alone(tmp_path):
    one, two, three = tiny_folder(tmp_path / "one"), tiny_folder(tmp_path / "two"), tiny_folder(tmp_path / "three", seed=1)
    (two / "model_index.json").write_text("{}")
    assert Hashes().of(one) == Hashes().of(two) != Hashes().of(three)


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    hashes, path = Hashes(), tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    first = hashes.of(path)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert hashes.of(path) == first
