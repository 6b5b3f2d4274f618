"""Settings: which source wins, and what an error says."""

import dataclasses
from pathlib import Path

import pytest

from sd_ui.kinds import is_loopback
from sd_ui.services import open_services
from sd_ui.settings import ROWS, Settings, SettingsError, read, with_password
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_said_means_this_machine_only():
    settings = read([], {})
    assert (settings.host, settings.port, settings.share, settings.auth) == ("127.0.0.1", 7860, False, ())
    assert settings.models_dir == (Path("models"),) and settings.outputs_dir == Path("outputs")
    assert not settings.open_to_others


def test_the_command_line_wins_over_environment_over_file_over_defaults(elsewhere):
    (elsewhere / "sdui.toml").write_text("port = 1\nhost = 'localhost'\ndevice = 'cpu'\n")
    environ = {"SDUI_PORT": "2", "SDUI_HOST": "::1"}
    settings = read(["--port", "3"], environ)
    assert (settings.port, settings.host, settings.device, settings.dtype) == (3, "::1", "cpu", "auto")


def test_memory_can_be_saved_by_the_flags_that_people_know(elsewhere):
    settings = read(["--medvram", "--vram-budget", "5.5"], {})
    assert (settings.memory_mode, settings.vram_budget, settings.fp8) == ("medium", 5.5, False)
    (elsewhere / "sdui.toml").write_text("lowvram = true\nvram_budget = 4\n")
    assert (read([], {}).memory_mode, read([], {}).vram_budget) == ("low", 4.0)
    assert read(["--settings", str(elsewhere / "sdui.toml"), "--fp8"], {}).fp8


def test_a_named_settings_file_is_read_instead(elsewhere):
    (elsewhere / "sdui.toml").write_text("port = 1\n")
    (elsewhere / "mine.toml").write_text('models_dir = ["a", "b"]\nshare = true\nauth = ["me:secret"]\n')
    settings = read(["--settings", "mine.toml"], {})
    assert (settings.port, settings.share, settings.logins) == (7860, True, {"me": "secret"})
    assert settings.models_dir == (Path("a"), Path("b"))
    assert read([], {"SDUI_SETTINGS": "mine.toml"}) == settings


def test_repeated_flags_and_separated_variables_are_lists():
    assert read(["--models-dir", "a", "--models-dir", "b"], {}).models_dir == (Path("a"), Path("b"))
    assert read([], {"SDUI_AUTH": "a:1,b:2:3"}).logins == {"a": "1", "b": "2:3"}
    assert read(["--auth", "a:x,y"], {}).logins == {"a": "x,y"}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--port", "0"], "port: '0' is not allowed (from --port); allowed: a whole number from 1 to 65535"),
        (["--port", "seven"], "port: 'seven'"),
        (["--preview", "sharp"], "preview: 'sharp' is not allowed (from --preview); allowed: one of predicted, noisy, off"),
        (["--device", "toaster"], "device: 'toaster' is not allowed (from --device); allowed: one of auto, cpu, cuda, cuda:N, mps"),
        (["--host", "http://x"], "host: 'http://x'"),
        (["--root-path", "sd"], "root_path: 'sd'"),
        (["--settings", "none.toml"], "settings: none.toml cannot be read"),
        (["--lowvram", "--highvram"], "highvram: true is not allowed together with lowvram; give one of them"),
        (["--vram-budget", "lots"], "vram_budget: 'lots' is not allowed (from --vram-budget); allowed: a number from 0 to 1024"),
        (["--vram-budget", "nan"], "vram_budget: 'nan'"),
        (["--auth", "a:b", "--no-auth"], "no_auth: true is not allowed together with auth"),
        (["--max-upload-mb", "200"], "max_request_mb: 100 is not allowed; allowed: max_upload_mb (200) or more"),
    ],
)
def test_an_error_names_setting_value_and_what_is_allowed(argv, says):
    with pytest.raises(SettingsError) as error:
        read(argv, {})
    assert says in str(error.value)


def test_an_error_about_a_password_does_not_repeat_it():
    with pytest.raises(SettingsError) as error:
        read(["--auth", "onlysecret"], {})
    assert "onlysecret" not in str(error.value) and "user:password" in str(error.value)


def test_the_environment_is_named_where_it_is_to_blame():
    with pytest.raises(SettingsError, match=r"port: 'x' is not allowed \(from SDUI_PORT\)"):
        read([], {"SDUI_PORT": "x"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "prot: is not a setting (in sdui.toml); did you mean port?"),
        ("zzzzzz = 1", "known are: host, port"),
        ("port = true", "port: True is not allowed"),
        ("port = 1.5", "port: 1.5 is not allowed"),
        ("share = 3", "share: 3 is not allowed"),
        ("auth = 5", "auth: the value is not allowed"),
        ("port = ", "sdui.toml is not TOML"),
        ("[port]\na = 1", "port: {'a': 1} is not allowed"),
    ],
)
def test_a_wrong_settings_file_is_an_error_and_not_ignored(elsewhere, text, says):
    (elsewhere / "sdui.toml").write_text(text)
    with pytest.raises(SettingsError) as error:
        read([], {})
    assert says in str(error.value)


def test_a_space_listens_where_its_platform_says():
    environ = {"SPACE_ID": "Ada/my_pictures", "GRADIO_SERVER_NAME": "0.0.0.0"}
    settings = read([], environ)
    assert (settings.host, settings.port, settings.space) == ("0.0.0.0", 7860, "ada-my-pictures.hf.space")
    assert read([], environ | {"SPACE_HOST": "ada.hf.space"}).space == "ada.hf.space"
    assert not settings.open_to_others
    assert read([], {"GRADIO_SERVER_NAME": "0.0.0.0"}).host == "127.0.0.1"
    with pytest.raises(SettingsError, match="share: true is not allowed on a Space"):
        read(["--share"], environ)


@pytest.mark.parametrize("argv", [["--share"], ["--host", "0.0.0.0"], ["--host", "192.168.1.5"], ["--host", "::"], ["--host", "box.lan"]])
def test_whoever_opens_the_door_gets_a_password(argv):
    settings, password = with_password(read(argv, {}))
    assert len(password) >= 16 and settings.logins == {"sdui": password}
    assert with_password(read(argv, {}))[1] != password
    assert with_password(read([*argv, "--no-auth"], {})) == (read([*argv, "--no-auth"], {}), "")
    assert with_password(read([*argv, "--auth", "me:own"], {}))[1] == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_alone_needs_no_password(host):
    assert is_loopback(host) and with_password(read(["--host", host], {}))[1] == ""


def test_every_setting_has_help_and_is_told_apart():
    assert all(len(row.metadata["help"]) > 10 for row in ROWS.values())
    assert {f.name for f in dataclasses.fields(Settings)} - set(ROWS) == {"space"}


def test_limits_come_from_the_settings():
    limits = read(["--max-steps", "50", "--max-upload-mb", "5", "--max-batch", "4", "--max-pixels", "262144"], {}).limits
    assert (limits.steps, limits.input_bytes, limits.count, limits.pixels) == (50, 5_000_000, 4, 262144)


def test_a_full_queue_says_so(elsewhere):
    services = open_services(read(["--max-waiting", "2", "--models-dir", "models"], {}))
    for _ in range(2):
        services.queue.submit(GenerationRequest(), "ada")
    with pytest.raises(BadRequest, match="at most 2"):
        services.queue.submit(GenerationRequest(), "ada")
    services.close()


def test_a_misspelt_variable_is_an_error_and_not_ignored():
    with pytest.raises(SettingsError, match=r"prot: is not a setting \(in the environment's SDUI_PROT\); did you mean port"):
        read([], {"SDUI_PROT": "80"})


def test_what_is_set_for_results_reaches_those_who_do_not_say():
    assert read(["--format", "jpeg", "--preview", "noisy", "--preview-every", "3"], {}).delivery == Delivery("jpeg", 92, "noisy", 3)


def test_what_is_named_and_not_there_is_told():
    settings = read(["--tags-file", "none.csv", "--styles-file", "typo.csv", "--models-dir", "models"], {})
    assert [line.partition(":")[0] for line in settings.missing] == ["styles_file", "tags_file"]
