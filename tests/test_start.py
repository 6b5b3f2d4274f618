"""The start: the page is up before torch is, says where it is, asks for passwords where it must, and ends when it is told to."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AuthenticationError

from sd_ui import serve
from sd_ui.api.guard import OWNER_COOKIE
from sd_ui.cli import main
from sd_ui.jobs.lock import FolderInUse
from sd_ui.services import open_services
from sd_ui.settings import Settings, SettingsError

ROOT = Path(__file__).parents[1]
PAGE_ALONE = """
import sys
from pathlib import Path
from sd_ui.serve import launch
from sd_ui.services import open_services
from sd_ui.settings import Settings
services = open_services(Settings(port={port}, outputs_dir=Path({outputs!r}), models_dir=(), auth={auth!r}, max_request_mb=25))
page = launch(services)
print(page.local_url, flush=True)
sys.stdin.readline()
print(*(name for name in ("torch", "diffusers", "transformers") if name in sys.modules))
page.close(verbose=False)
services.close()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environ(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **more}


@dataclass(frozen=True)
class Running:
    """The real page behind the real guard in a process of its own; its engine is not started."""

    process: subprocess.Popen
    url: str
    auth: tuple[str, ...]
    outputs: Path


@contextmanager
def page_alone(outputs, auth=()):
    code = PAGE_ALONE.format(port=free_port(), outputs=str(outputs), auth=auth)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ(), cwd=outputs
    ) as process:
        try:
            yield Running(process, process.stdout.readline().strip().rstrip("/"), auth, outputs)
        finally:
            process.kill()


# ---------------------------------------------------------------- the whole program
def test_the_page_answers_before_torch_is_imported(tmp_path):
    with page_alone(tmp_path) as running:
        assert httpx.get(running.url).status_code == 200
        loaded, _ = running.process.communicate("\n")
        assert (loaded.split(), running.process.returncode) == ([], 0)


@contextmanager
def started(folder, *argv):
    """app.py as a user starts it, up to the line that says where it is."""
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(free_port()), *argv]
    with subprocess.Popen(command, cwd=folder, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process, next(line for line in process.stdout if "SD UI is at" in line)
        finally:
            process.kill()


def test_app_says_where_it_is_answers_and_ends_cleanly(tmp_path):
    with started(tmp_path) as (process, line):
        url = re.search(r"http://\S+", line)[0]
        assert url.startswith("http://127.0.0.1:")
        answer = httpx.get(url)
        assert answer.status_code == 200 and OWNER_COOKIE in answer.cookies
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait() == 0 and "Traceback" not in rest
    assert (tmp_path / "outputs" / "sd_ui.db").is_file()


# ---------------------------------------------------------------- what can go wrong
def test_a_taken_port_is_named(capsys, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "--outputs-dir", str(tmp_path)], {}) == 2
    err = capsys.readouterr().err
    assert f"port: {port} on 127.0.0.1 cannot be used" in err and "--port" in err


def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(SettingsError, match=r"port: 7860 on 192\.0\.2\.1 cannot be used"):
        serve.check_port(Settings(host="192.0.2.1"))


def test_mcp_without_its_package_is_refused_instead_of_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)  # as an import system says that there is none
    with pytest.raises(SettingsError, match="pip install 'mcp<2'"):
        serve.check_mcp(Settings(mcp=True))
    serve.check_mcp(Settings())


def test_a_second_server_in_the_same_folder_is_refused(tmp_path):
    settings = Settings(outputs_dir=tmp_path, models_dir=())
    first = open_services(settings)
    with pytest.raises(FolderInUse, match="--outputs-dir"):
        open_services(settings)
    first.close()
    open_services(settings).close()


def test_proxies_are_kept_out_of_the_way(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.delenv("no_proxy", raising=False)
    serve.around_proxies("127.0.0.1")
    assert os.environ["NO_PROXY"].split(",") == ["example.org", "localhost", "127.0.0.1", "::1", "127.0.0.1"]
    monkeypatch.setenv("no_proxy", "")


# ---------------------------------------------------------------- the page as it is launched
@pytest.fixture(scope="module", params=["open", "with a password"])
def running(request, tmp_path_factory):
    with page_alone(tmp_path_factory.mktemp("outputs"), () if request.param == "open" else ("ada:lovelace",)) as running:
        yield running


@pytest.fixture
def http(running):
    with httpx.Client(base_url=running.url) as http:
        if running.auth:
            http.post("/login", data={"username": "ada", "password": "lovelace"}).raise_for_status()
        yield http


def test_the_page_and_all_it_needs_come_from_here(http):
    page = http.get("/")
    assert page.status_code == 200
    parts = set(re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text))
    assert parts and not [part for part in parts if re.match(r"(https?:)?//", part) and not part.startswith(str(http.base_url))]
    assert {http.get(part).status_code for part in parts} == {200}


def test_the_guard_stands_before_what_gradio_answers(http):
    assert http.get("/config", headers={"Host": "evil.example"}).status_code == 403
    assert http.get("/config", headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.post("/gradio_api/upload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert http.post("/gradio_api/mcp/").status_code == 403
    assert http.get("/pictures/" + "0" * 32).status_code == 404


def test_files_of_this_machine_are_not_served(http, running):
    database = running.outputs / "sd_ui.db"
    for path in ("/etc/passwd", str(database), str(ROOT / "app.py"), "../app.py"):
        assert http.get(f"/gradio_api/file={path}").status_code in (403, 404), path


def test_an_upload_that_is_too_large_is_refused(http):
    assert http.post("/gradio_api/upload", files={"files": ("a.png", b"\0" * 26_000_000)}).status_code == 413


def test_gradios_client_logs_in_and_reads_the_api(running, http):
    auth = ("ada", "lovelace") if running.auth else None
    if auth:
        assert httpx.get(running.url + "/config").status_code == 401
        with pytest.raises(AuthenticationError):
            Client(running.url, auth=("ada", "wrong"), verbose=False)
    client = Client(running.url, auth=auth, verbose=False)
    assert OWNER_COOKIE in client.cookies
    assert {"/txt2img", "/img2img", "/inpaint", "/depth2img"} <= client.view_api(return_format="dict")["named_endpoints"].keys()


def test_the_greeting_tells_the_password_once_and_only_if_it_was_made():
    page = type("Page", (), {"local_url": "http://127.0.0.1:7860/", "share_url": None})()
    assert serve.greeting(page, Settings(), "") == ["SD UI is at http://127.0.0.1:7860  (Ctrl+C stops it)"]
    lines = serve.greeting(page, replace(Settings(), share=True), "s3cret")
    assert "no public link" in lines[1] and sum("s3cret" in line for line in lines) == 1


def test_uploads_outlive_a_restart_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored afterwards")
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    old, fresh = (tmp_path / "uploads" / name / "picture.png" for name in ("old", "fresh"))
    for upload in (old, fresh):
        upload.parent.mkdir(parents=True)
        upload.write_bytes(b"picture")
    os.utime(old, (0, 0))
    serve.keep_uploads(tmp_path)
    assert not old.parent.exists() and fresh.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "uploads")
