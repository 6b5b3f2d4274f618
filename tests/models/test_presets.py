"""What a preset says reaches the card; what makes no sense is left out, with a reason in the log."""

import logging
from pathlib import Path

import pytest

from sd_ui.models import presets
from sd_ui.spec.cards import ModelCard

SHIPPED = Path(__file__).parents[2] / "presets" / "models"


def card(name: str, family: str = "sd1") -> ModelCard:
    return ModelCard(name, "checkpoint", family, Path("x"), "file", 1)


def test_a_preset_of_the_name_comes_before_that_of_the_family():
    read = presets.read(SHIPPED)
    assert presets.applied(read, card("embedded")).defaults.width == 128
    assert presets.applied(read, card("sub/Something")).defaults.schedule == "Karras"
    assert presets.applied(read, card("other", "sd9")) == card("other", "sd9")


def test_all_shipped_presets_are_read(caplog):
    with caplog.at_level(logging.WARNING):
        assert set(presets.read(SHIPPED)) == {path.stem for path in SHIPPED.glob("*.toml")}
    assert not caplog.records


@pytest.mark.parametrize(
    "text", ["=", "unknown = 1", "title = 3", "examples = 'one'", "defaults = 1", "[defaults]\nwidth = 'wide'", "[defaults]\nsampler = 'Magic'"]
)
def test_a_preset_that_makes_no_sense_is_left_out_and_named(tmp_path, caplog, text):
    (tmp_path / "bad.toml").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert presets.read(tmp_path) == {}
    assert "bad.toml" in caplog.text


def test_a_strip_of_pictures_beside_a_preset_belongs_to_it(tmp_path):
    for name in ("with", "without"):
        (tmp_path / f"{name}.toml").write_text('examples = ["a red cube"]')
    (tmp_path / "with.webp").write_bytes(b"pictures")
    found = presets.read(tmp_path)
    assert found["with"].samples == tmp_path / "with.webp" and found["without"].samples is None


def test_a_preset_cannot_name_a_strip_elsewhere():
    with pytest.raises(ValueError, match="unknown samples"):
        presets.parsed('samples = "/etc/passwd"')
