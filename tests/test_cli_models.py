"""`models`: the facts that the page shows, too."""

import json

import pytest

from sd_ui.cli import main
from sd_ui.spec.cards import Own
from tests.models.library import index, lora


@pytest.fixture
def flags(tmp_path):
    path = lora(tmp_path / "models" / "ink.safetensors")
    path.with_suffix(".png").write_bytes(b"")
    path.with_suffix(".json").write_text(json.dumps({"activation text": "inked", "sd version": "SD1"}))
    (tmp_path / "outputs").mkdir()
    models = index(tmp_path / "models", keep=tmp_path / "outputs")
    models.hashes.of(path)
    models.describe("ink", Own(True, "mine"))
    models.describe("embedded", Own(defaults={"steps": 33}))
    return ["--models-dir", str(tmp_path / "models"), "--outputs-dir", str(tmp_path / "outputs")]


def test_as_json_everything_is_said(flags, tmp_path, capsys):
    assert main(["models", *flags, "--json"], {}) == 0
    box, _, ink = sorted(json.loads(capsys.readouterr().out), key=lambda row: ("embedded", "dawn", "ink").index(row["name"]))
    assert (ink["starred"], ink["notes"], ink["base"], ink["triggers"]) == (True, "mine", "SD1", ["inked"])
    assert len(ink["sha256"]) == 64 and ink["preview"].endswith("ink.png") and ink["path"].endswith("ink.safetensors")
    assert box["defaults"]["steps"] == 33 and box["sha256"] == ""


def test_in_words_star_hash_and_trigger_words_are_said(flags, capsys):
    assert main(["models", *flags], {}) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ink  [" in line]
    assert line.startswith("★ ink  [") and "inked" in line


def test_without_an_outputs_folder_none_is_made(tmp_path, capsys):
    assert main(["models", "--models-dir", str(tmp_path), "--outputs-dir", str(tmp_path / "outputs")], {}) == 0
    assert not (tmp_path / "outputs").exists() and "embedded" in capsys.readouterr().out
