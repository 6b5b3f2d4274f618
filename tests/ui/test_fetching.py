"""Models from a hub on the page, without a browser: what is shown, and who may fetch."""

import threading
from dataclasses import replace

import pytest

from sd_ui.hub.downloads import Downloads, Fetch
from sd_ui.hub.fetch import Fetcher
from sd_ui.hub.hub import Hub
from sd_ui.services import open_services
from sd_ui.settings import Settings
from sd_ui.ui.parts import fetching
from tests.hub.fakehub import FakeHub, serving
from tests.models import library


@pytest.fixture
def fake(tmp_path):
    files = {"ink.safetensors": library.lora(tmp_path / "ink.safetensors").read_bytes()}
    with serving(FakeHub({"artist/ink": files, "artist/many": {**files, "b.safetensors": files["ink.safetensors"]}})) as fake:
        yield fake


@pytest.fixture
def services(tmp_path, fake):
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",)), open_driver=lambda tell: None)
    fetcher = Fetcher(Hub(fake.endpoint), tmp_path / "models", lambda folder: 10**12)
    services = replace(services, downloads=Downloads(fetcher, services.models.refresh))
    yield services
    services.close()


def test_a_model_is_looked_at_then_fetched_and_is_in_the_list_without_a_restart(services):
    view = fetching.planned(services, "artist/ink")
    assert view["answer"] and "artist/ink/ink.safetensors: 1 file" in view["plan"]["said"] and "free" in view["plan"]["said"] and not view["fetches"]
    (one,) = fetching.done(services, lambda: services.downloads.begin("artist/ink"))["fetches"]
    assert one["name"] == "artist/ink/ink.safetensors"
    pause = threading.Event()
    while fetching.seen(services)["fetches"][0]["state"] != "done":
        pause.wait(0.005)
    assert services.models.card("artist/ink/ink").kind == "lora" and "here" in fetching.seen(services)["fetches"][0]["said"].lower()
    assert fetching.done(services, lambda: services.downloads.discard(one["key"]))["fetches"] == []


def test_a_choice_is_offered_and_what_is_refused_is_said(services):
    view = fetching.planned(services, "artist/many")
    assert [one["text"] for one in view["choices"]] == ["artist/many/ink.safetensors", "artist/many/b.safetensors"] and view["plan"] is None
    for odd in ("", None, {"a": 1}, "no/body", "https://example.com/a/b"):
        wrong = fetching.planned(services, odd)
        assert wrong["message"]["kind"] == "error" and wrong["message"]["text"].startswith("Hugging Face: ")


MAY = [
    ({}, True),
    ({"auth": ("a:b",)}, True),
    ({"auth": ("a:b", "c:d")}, False),
    ({"share": True, "auth": ("a:b",)}, False),
    ({"host": "0.0.0.0", "auth": ("a:b",)}, False),
    ({"allowed_host": ("sd.example",)}, False),
    ({"root_path": "/sd"}, False),
    ({"space": "x.hf.space", "auth": ("a:b",)}, False),
    ({"share": True, "allow_downloads": True}, True),
]


@pytest.mark.parametrize(("settings", "may"), MAY)
def test_only_whoever_owns_the_machine_fills_its_disk(services, fake, settings, may):
    services = replace(services, settings=replace(services.settings, **settings))
    assert services.settings.may_download is may
    assert bool(fetching.seen(services)["why"]) is not may
    if not may:
        refused = [fetching.planned(services, "artist/ink"), fetching.done(services, lambda: services.downloads.begin("artist/ink"))]
        assert all("--allow-downloads" in view["message"]["text"] for view in refused) and not fake.asked and services.downloads.view() == []


def test_on_a_space_there_is_nothing_to_see(services):
    assert fetching.seen(replace(services, settings=replace(services.settings, space="x.hf.space")))["hidden"]


def test_how_far_it_is_is_said_in_bytes_rate_and_time():
    def said(**more):
        return fetching.fetch_view(Fetch("k", "n", **({"state": "running", "done": 1_500_000_000, "total": 6_000_000_000} | more)))["said"]

    assert said(rate=50e6) == "1.5 GB of 6.0 GB (25%) · 50.0 MB/s · 90 s left".replace("90 s", "2 min")
    assert said() == "1.5 GB of 6.0 GB (25%)" and said(state="stopped").startswith("Stopped · ") and said(state="failed", text="gone") == "gone"
    assert said(rate=1e5).endswith("12.5 h left") and said(rate=1e9).endswith("4 s left")
