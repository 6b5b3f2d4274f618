"""The tab Models, without a browser: what is asked, what is shown, and who may change it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sd_ui.services import open_services
from sd_ui.settings import Settings
from sd_ui.spec.cards import Defaults
from sd_ui.spec.limits import Limits
from sd_ui.ui import shelf
from sd_ui.ui.parts import shelving
from sd_ui.ui.parts.choosing import best_of
from sd_ui.ui.parts.shelving import Asked
from tests.models.library import lora
from tests.ui.cards import EMBEDDED_CARD

OWN = 130
EVERY = OWN + 3  # with a damaged one, the model in the box and its LoRA


@pytest.fixture
def services(tmp_path):
    for i in range(OWN):
        lora(tmp_path / "models" / f"{i:03d}.safetensors", 768 if i % 2 else 2048)
    (tmp_path / "models" / "bad.safetensors").write_bytes(b"<html>")
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",)), open_driver=lambda tell: None)
    yield services
    services.close()


def asked(**said):
    return Asked.of(SimpleNamespace(**said))


def test_thousands_of_models_come_a_page_at_a_time(services):
    view = shelving.seen(services, asked())
    assert len(view["cards"]) == shelf.PAGE and (view["total"], view["every"]) == (EVERY, EVERY)
    assert len(shelving.seen(services, asked(count=120))["cards"]) == 120
    assert len(shelving.seen(services, asked(count=10**9))["cards"]) == EVERY
    assert view["families"] == [["sd1", "SD 1.x"], ["sdxl", "SDXL"]] and [kind for kind, _ in view["kinds"]] == ["checkpoint", "lora"]


def test_a_card_says_what_is_known_and_why_it_cannot_be_used(services):
    (ink,) = shelving.seen(services, asked(text="001"))["cards"]
    assert ink["facts"] == ["LoRA", "SD 1.x", "9 kB"] and ink["hash"] == ink["fault"] == ink["preview"] == ""
    sha256 = services.models.hashes.of(services.models.card("001").path)
    assert shelving.seen(services, asked(text=sha256[:10]))["cards"][0]["hash"] == sha256[:10]
    bad = shelving.seen(services, asked(text="bad", name="bad"))
    assert "web page" in bad["cards"][0]["fault"] and bad["detail"]["use"] == "" and bad["detail"]["fields"] == []


def test_an_open_card_shows_the_settings_it_starts_with(services):
    services.models.settle("embedded", {"steps": 33}, "mine", Limits())
    detail = shelving.seen(services, asked(name="embedded"))["detail"]
    steps = next(field for field in detail["fields"] if field["name"] == "steps")
    assert (steps["usual"], steps["value"], detail["notes"], detail["changed"]) == ("20", "33", "mine", True)
    assert {field["name"] for field in detail["fields"]} >= {"width", "sampler", "cfg_scale", "clip_skip", "vae", "negative_prompt"}
    assert all(field["label"] and field["help"] for field in detail["fields"])


def test_what_is_refused_is_said_and_changes_nothing(services):
    question = asked(name="embedded")
    view = shelving.changed(services, question, lambda: services.models.settle("embedded", {"steps": 0}, "", services.limits), "Saved.")
    assert view["message"]["kind"] == "error" and view["message"]["field"] == "steps" and "1 to 150" in view["message"]["text"]
    assert services.models.card("embedded").own.defaults == {}


SERVERS = [
    ({}, True),
    ({"host": "0.0.0.0", "auth": ("a:b",)}, True),
    ({"host": "0.0.0.0", "no_auth": True}, False),
    ({"space": "x.hf.space"}, False),
    ({"space": "x.hf.space", "auth": ("a:b",)}, True),
]


@pytest.mark.parametrize(("settings", "may"), SERVERS)
def test_strangers_change_nothing(services, settings, may):
    served = replace(services, settings=replace(services.settings, **settings))
    view = shelving.changed(served, asked(name="001"), lambda: served.models.star("001", True))
    assert served.models.card("001").own.starred == may == view["editable"] == (view["message"] is None)


@pytest.mark.parametrize(
    "said", [{"text": 5, "count": "many", "starred": "yes"}, {"kind": ["x"], "name": {"a": 1}}, {"text": "x" * 10_000, "count": -1}]
)
def test_whatever_a_browser_asks_is_answered(services, said):
    assert shelving.seen(services, asked(**said))["every"] == EVERY


def test_a_lora_is_asked_for_by_the_shortest_name_that_means_it_alone(services, tmp_path):
    cards = services.models.cards()
    assert shelving.tag(cards["001"], cards.values()) == "<lora:001:1>"
    lora(tmp_path / "models" / "sub" / "001.safetensors")
    services.models.refresh()
    cards = services.models.cards()
    assert shelving.tag(cards["sub/001"], cards.values()) == "<lora:sub/001:1>"


@pytest.mark.parametrize(("count", "words"), [(0, ""), (2_100, "2 kB"), (13_000_000, "13 MB"), (2_132_625_612, "2.1 GB")])
def test_sizes_are_said_as_people_say_them(count, words):
    assert shelf.size(count) == words


def test_a_vae_that_came_with_a_model_leaves_with_it_and_one_that_was_chosen_stays():
    class Named(dict):
        def __missing__(self, name):
            return name

    plain, special = EMBEDDED_CARD, replace(EMBEDDED_CARD, name="y", defaults=Defaults(vae="better"))
    cards, layout = {"x": plain, "y": special}, type("Layout", (), {"shared": Named()})
    assert best_of(layout, special, cards, "", "mine")["vae"] == "better"
    assert [best_of(layout, plain, cards, "", vae)["vae"] for vae in ("better", "mine", "Automatic")] == ["Automatic", "mine", "Automatic"]
