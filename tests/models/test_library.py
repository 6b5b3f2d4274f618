"""What is known of a model besides its weights: what lies beside it, what people say of it, and how it is found."""

import json
import logging
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.models import beside, own
from sd_ui.spec.cards import Beside, Defaults, ModelCard, Own
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits
from tests.checkpoints import tiny_folder, tiny_vae_file
from tests.models.library import index, lora

CIVITAI = {
    "name": "v2", "trainedWords": ["ink style", "black lines, paper"], "baseModel": "SD 1.5", "description": "second",
    "model": {"name": "Ink", "description": "<p>Draws <b>ink</b>.</p><script>1</script><p>a &lt; b</p>"}, "files": [{"hashes": {"AutoV2": "1"}}],
}  # fmt: skip
A1111 = {"description": "mine", "sd version": "SDXL", "activation text": "inked, ", "preferred weight": 0.7, "notes": "good at 0.7"}
CHECKPOINT = ModelCard("x", "checkpoint", "sd1", Path("x"), "file", 1, ("txt2img",), defaults=Defaults(512, 512, 20, 7.0))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


# ---------------------------------------------------------------- beside the file
@pytest.mark.parametrize("ending", [".png", ".preview.png", ".jpg", ".webp", ".preview.webp", ".JPEG"])
def test_a_picture_beside_a_model_is_its_preview(tmp_path, ending):
    lora(tmp_path / "Ink.v2.safetensors")
    (tmp_path / f"Ink.v2{ending}").write_bytes(b"")
    (tmp_path / "Ink.png.txt").write_bytes(b"")
    card = index(tmp_path).card("Ink.v2")
    assert card.beside.preview == card.lora.preview == tmp_path / f"Ink.v2{ending}"


def test_a_folder_has_its_picture_beside_it(tmp_path):
    tiny_folder(tmp_path / "model.v1")
    (tmp_path / "model.v1.png").write_bytes(b"")
    assert index(tmp_path).card("model.v1").beside.preview == tmp_path / "model.v1.png"


def test_a_link_is_no_preview(tmp_path):
    lora(tmp_path / "m" / "ink.safetensors")
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "m" / "ink.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "m" / "ink.json").symlink_to(tmp_path / "secret.png")
    assert index(tmp_path / "m").card("ink").beside == Beside()


def test_what_civitai_says_of_a_model_is_read_as_plain_text(tmp_path):
    lora(tmp_path / "ink.safetensors")
    (tmp_path / "ink.civitai.info").write_text(json.dumps(CIVITAI))
    card = index(tmp_path).card("ink")
    assert (card.beside.title, card.beside.base, card.triggers) == ("Ink", "SD 1.5", ("ink style", "black lines, paper"))
    assert card.beside.about.startswith("Draws ink.") and "<" not in card.beside.about.replace("a < b", "")


def test_what_a_person_wrote_down_comes_before_what_civitai_says(tmp_path):
    lora(tmp_path / "ink.safetensors")
    (tmp_path / "ink.civitai.info").write_text(json.dumps(CIVITAI))
    (tmp_path / "ink.json").write_text(json.dumps(A1111))
    found = index(tmp_path).card("ink").beside
    assert (found.triggers, found.weight, found.notes) == (("inked",), 0.7, "good at 0.7")
    assert found.title == "Ink", "what the one does not say, the other does"


def test_words_that_the_file_tells_stand_in_for_words_that_nobody_wrote_down(tmp_path):
    path = lora(tmp_path / "ink.safetensors", ss_tag_frequency=json.dumps({"x": {"ink": 3}}))
    assert index(tmp_path).card("ink").triggers == ("ink",)
    path.with_suffix(".json").write_text(json.dumps(A1111))
    assert index(tmp_path).card("ink").triggers == ("inked",)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"nan", b"\xff", b'{"trainedWords": 5, "baseModel": [], "model": "x", "preferred weight": 1e9}', b"[" * 100_000, b"<![if]>"]
)
def test_damaged_notes_say_nothing(text):
    assert beside.told([text]) == Beside()


@given(st.dictionaries(st.sampled_from(["trainedWords", "description", "notes", "baseModel", "sd version", "model"]), st.recursive(
    st.none() | st.floats() | TEXTS | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)))  # fmt: skip
def test_no_note_is_too_strange(data):
    found = beside.told([json.dumps(data).encode()])
    assert all(c.isprintable() or c in "\n\u200d" for c in found.about + found.notes + found.base) and all(found.triggers)


def test_notes_are_read_once(tmp_path, monkeypatch):
    (tmp_path / "outputs").mkdir()
    lora(tmp_path / "m" / "ink.safetensors")
    (tmp_path / "m" / "ink.json").write_text(json.dumps(A1111))
    first = index(tmp_path / "m", keep=tmp_path / "outputs").card("ink")
    monkeypatch.setattr(beside, "told", lambda notes: pytest.fail("read again"))
    assert index(tmp_path / "m", keep=tmp_path / "outputs").card("ink") == first


# ---------------------------------------------------------------- what people say
def test_what_somebody_says_of_a_model_is_there_after_a_restart(tmp_path):
    lora(tmp_path / "m" / "sub" / "ink.safetensors")
    (tmp_path / "outputs").mkdir()
    models = index(tmp_path / "m", keep=tmp_path / "outputs")
    assert models.describe("sub/ink", Own(True, "mine\n“quoted”")) == models.card("sub/ink")
    assert index(tmp_path / "m", keep=tmp_path / "outputs").card("sub/ink").own == Own(True, "mine\n“quoted”")
    models.refresh()
    assert models.card("sub/ink").own.starred and not models.usual("sub/ink").own.starred
    models.describe("sub/ink", Own())
    assert list((tmp_path / "outputs" / "presets").iterdir()) == []


def test_own_settings_come_before_the_shipped_ones_and_only_what_differs_is_kept(tmp_path):
    (tmp_path / "outputs").mkdir()
    models = index(keep=tmp_path / "outputs")
    usual = models.usual("embedded")
    values = own.said(usual, {"steps": "33", "width": 128, "sampler": "Euler", "schedule": "", "negative_prompt": "dark"}, models.cards(), Limits())
    assert values == {"steps": 33, "sampler": "Euler", "negative_prompt": "dark", "schedule": "Automatic"}
    card = models.describe("embedded", Own(defaults=values))
    assert (card.defaults.steps, card.defaults.width, card.defaults.cfg_scale) == (33, 128, usual.defaults.cfg_scale)
    assert models.usual("embedded") == usual and own.said(usual, {}, models.cards(), Limits()) == {}


@given(TEXTS, TEXTS, st.booleans(), st.floats(-100, 100), TEXTS)
def test_whatever_is_said_is_read_back_as_itself(name, notes, starred, cfg, negative):
    said = Own(starred, notes[: own.LONGEST_NOTES], {"cfg_scale": cfg, "negative_prompt": negative})
    assert own.parsed(own.written(name, said)) == (name, said)
    tomllib.loads(own.written(name, said))


@given(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
def test_each_model_has_a_file_of_its_own_that_every_disk_can_hold(names):
    files = [own.file_name(name) for name in names]
    assert files[0].casefold() != files[1].casefold() and all(file.isascii() and "/" not in file and len(file) < 100 for file in files)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"width": 100_000}, "width"),
        ({"cfg_scale": "nan"}, "cfg_scale"),
        ({"clip_skip": 99}, "clip_skip"),
        ({"sampler": "Magic"}, "sampler"),
        ({"schedule": "Odd"}, "schedule"),
        ({"vae": "gone"}, "vae"),
        ({"vae": ["x"]}, "vae"),
        ({"path": "x"}, "path"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(values, field):
    with pytest.raises(BadRequest) as error:
        own.said(CHECKPOINT, values, {"x": CHECKPOINT}, Limits())
    assert error.value.field == field


def test_a_refused_setting_changes_nothing(tmp_path):
    (tmp_path / "outputs").mkdir()
    models = index(keep=tmp_path / "outputs")
    models.star("embedded", True)
    models.settle("embedded", {"steps": 9}, "mine", Limits())
    before = models.card("embedded")
    assert before.own == Own(True, "mine", {"steps": 9})
    for values, notes in (({"steps": 0}, ""), ({}, "x" * 10_001)):
        with pytest.raises(BadRequest):
            models.settle("embedded", values, notes, Limits())
    assert models.card("embedded") == before == index(keep=tmp_path / "outputs").card("embedded")
    assert not models.star("embedded", False).own.starred and models.card("embedded").own.notes == "mine"


def test_notes_have_an_end():
    assert own.noted(None) == "" and own.noted(" a ") == "a"
    for bad in ("x" * 10_001, 5):
        with pytest.raises(BadRequest, match="notes"):
            own.noted(bad)


@pytest.mark.parametrize("text", ["=", 'model = "x"\nodd = 1', "model = 5", 'model = "x"\nstarred = 1', 'model = "x"\n[defaults]\nsteps = "many"'])
def test_a_file_that_makes_no_sense_is_left_out_and_left_alone(tmp_path, caplog, text):
    (tmp_path / "bad.toml").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert own.OwnPresets(tmp_path).read() == {}
    assert "bad.toml" in caplog.text and (tmp_path / "bad.toml").read_text() == text


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "presets").write_text("a file, not a folder")
    with pytest.raises(BadRequest, match="cannot be described"):
        own.OwnPresets(tmp_path / "presets").write("x", Own(True))
    with pytest.raises(BadRequest, match="keeps no settings"):
        own.OwnPresets(None).write("x", Own(True))


def test_a_vae_of_its_own_goes_with_the_model_as_long_as_it_is_there(tmp_path, caplog):
    models, outputs = tmp_path / "m", tmp_path / "outputs"
    outputs.mkdir()
    tiny_folder(models / "plain")
    tiny_vae_file(models / "VAE" / "better.safetensors")
    known = index(models, keep=outputs)
    values = own.said(known.usual("plain"), {"vae": "better"}, known.cards(), Limits())
    assert values == {"vae": "better"} and known.describe("plain", Own(defaults=values)).defaults.vae == "better"
    (models / "VAE" / "better.safetensors").unlink()
    with caplog.at_level(logging.WARNING):
        assert index(models, keep=outputs).card("plain").defaults.vae == ""
    assert "better" in caplog.text


# ---------------------------------------------------------------- finding
@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "outputs").mkdir()
    for name, width in (("people/ada", 768), ("ink", 2048), ("pen", 768)):
        lora(folder / "m" / f"{name}.safetensors", width)
    (folder / "m" / "bad.safetensors").write_bytes(b"")
    (folder / "m" / "pen.json").write_text(json.dumps(A1111))
    models = index(folder / "m", keep=folder / "outputs")
    models.hashes.of(models.card("ink").path)
    models.describe("pen", Own(True, "for letters"))
    return models


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["pen", "embedded", "ink", "people/ada", "bad"]),
        ({"text": "INK"}, ["pen", "ink"]),  # a trigger word, and a name
        ({"text": "letters pen"}, ["pen"]),
        ({"text": "letters ink ada"}, []),
        ({"kind": "lora"}, ["pen", "ink", "people/ada"]),
        ({"kind": "lora", "family": "sdxl"}, ["ink"]),
        ({"starred": True}, ["pen"]),
    ],
)
def test_models_are_found_by_words_kind_family_and_star(shelf, query, names):
    assert [card.name for card in shelf.find(**query)] == names


def test_a_model_is_found_by_its_hash(shelf):
    card = shelf.card("ink")
    assert [found.name for found in shelf.find(shelf.hashes.known(card.path)[:10].upper())] == ["ink"]


def test_a_card_is_a_value(shelf):
    assert replace(shelf.card("ink")) == shelf.card("ink")
