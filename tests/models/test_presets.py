"""What a preset says reaches the card; what makes no sense is left out, with a reason in the log."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.models import presets
from sd_ui.spec.cards import Defaults, ModelCard

SHIPPED = Path(__file__).parents[2] / "presets" / "models"


def card(name: str, family: str = "sd1") -> ModelCard:
    return ModelCard(name, "checkpoint", family, Path("x"), "file", 1)


def test_a_preset_of_the_name_comes_before_that_of_the_family():
    read = presets.read(SHIPPED)
    assert presets.applied(read, card("embedded")).defaults.width == 128
    assert presets.applied(read, card("sub/Something")).defaults.schedule == "Karras"
    assert presets.applied(read, card("other", "sd9")) == card("other", "sd9")


@pytest.mark.parametrize(
    ("name", "family", "steps", "cfg", "sampler", "size"),
    [
        ("sd_xl_base_1.0", "sdxl", 25, 6.0, "DPM++ 2M", 1024),
        ("sd_xl_turbo_1.0_fp16", "sdxl", 2, 1.0, "Euler a", 512),
        ("DreamShaperXL_v21TurboDPMSDE", "sdxl", 7, 2.0, "DPM++ SDE", 1024),
        ("juggernautXL_v9Lightning", "sdxl", 8, 1.0, "Euler", 1024),
        ("folder/sdxl_lightning_4step", "sdxl", 4, 1.0, "Euler", 1024),
        ("HyperRealism_v3", "sdxl", 25, 6.0, "DPM++ 2M", 1024),
        ("Hyper-SDXL-1step-Unet", "sdxl", 8, 1.0, "Euler", 1024),
        ("dreamshaper_8LCM", "sd1", 6, 1.5, "LCM", 512),
        ("sd_turbo", "sd2", 2, 1.0, "Euler a", 512),
        ("sd3_medium_incl_clips", "sd3", 28, 4.5, "Euler", 1024),
        ("sd3.5_medium", "sd3", 40, 4.5, "Euler", 1024),
        ("stable-diffusion-3.5-large", "sd3", 28, 3.5, "Euler", 1024),
        ("sd3.5_large_turbo", "sd3", 4, 1.0, "Euler", 1024),
    ],
)
def test_models_of_few_steps_are_told_by_their_names(name, family, steps, cfg, sampler, size):
    side = 1024 if family in ("sdxl", "sd3") else 512
    found = presets.applied(presets.read(SHIPPED), replace(card(name, family), defaults=Defaults(side, side)))
    assert (found.defaults.steps, found.defaults.cfg_scale, found.defaults.sampler, found.defaults.width) == (steps, cfg, sampler, size)
    assert found.examples and found.about, "what the preset of its name leaves out, that of the family says"


def test_all_shipped_presets_are_read(caplog):
    with caplog.at_level(logging.WARNING):
        assert set(presets.read(SHIPPED)) == {path.stem for path in SHIPPED.glob("*.toml")}
    assert not caplog.records


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "unknown = 1",
        "title = 3",
        "examples = 'one'",
        "defaults = 1",
        "[defaults]\nwidth = 'wide'",
        "names = ['*x*']",
        "family = 'sd1'\nnames = 'x'",
        "prediction = 'w'",
        "[defaults]\nsampler = 'Magic'",
    ],
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
