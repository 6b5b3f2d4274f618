"""The doctor: says what this installation can do, and how to get what is missing, without the network."""

import json

import pytest

from sd_ui import doctor
from sd_ui.cli import main
from sd_ui.settings import Settings


def settings(tmp_path, **more):
    return Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",), **more)


def test_a_whole_installation_has_nothing_to_complain_about(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--json"], {}) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["torch"]["says"] and told["engine: attention"]["says"] and told["engine: device"]["says"]
    assert not [name for name, row in told.items() if row["fault"]]
    assert {"Python", "gradio", "xformers", "controlnet-aux", "embedded model", "outputs"} <= told.keys()
    assert not (tmp_path / "outputs").exists()


def test_a_device_that_is_not_there_is_a_fault_with_a_remedy(tmp_path):
    (found,) = doctor.engine(settings(tmp_path, device="cuda:7"))
    assert found.fault and "cuda:7" in found.says and "--device" in found.remedy


@pytest.mark.parametrize("check", [doctor.xformers, doctor.controlnet_aux])
def test_what_is_optional_is_never_a_fault(tmp_path, monkeypatch, check):
    for version in ("1.0", ""):
        monkeypatch.setattr(doctor, "version_of", lambda package, version=version: version)
        (found,) = check(settings(tmp_path))
        assert not found.fault and found.says


def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda package: "")
    found = list(doctor.packages(settings(tmp_path)))
    assert all(row.fault and "requirements.txt" in row.remedy for row in found)


def test_a_model_that_cannot_be_used_is_named_with_the_reason(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "old.ckpt").write_bytes(b"\x80\x02")
    found = {row.name: row for row in doctor.models(settings(tmp_path))}
    assert found["model old"].says.startswith("cannot be used: ") and not found["embedded model"].fault


def test_a_full_disk_is_said_before_it_hurts(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOM_MB", 10**12)
    (found,) = doctor.outputs(settings(tmp_path))
    assert found.fault and "--outputs-dir" in found.remedy
