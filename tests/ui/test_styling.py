"""The editor of styles: what it shows, who may write, and what becomes of the styles that are selected in the form."""

from types import SimpleNamespace

import pytest

from sd_ui.prompt.own_styles import OwnStyles
from sd_ui.prompt.styles import Style
from sd_ui.prompt.wording import Wording
from sd_ui.ui.parts import styling
from sd_ui.ui.parts.styling import changed, view


@pytest.fixture
def services(tmp_path):
    (tmp_path / "program.toml").write_text('["Oil"]\nprompt = "oil"\n["Ink"]\nprompt = "ink"\n')
    own = OwnStyles(tmp_path / "own.toml")
    own.keep(Style("Ink", "my ink"))
    return SimpleNamespace(
        settings=SimpleNamespace(open_to_all=False),
        wording=Wording((tmp_path / "program.toml", own.path)),
        writing=SimpleNamespace(styles=own),
    )


@pytest.fixture
def layout():
    return SimpleNamespace(styles_editor="editor", shared={"styles": "styles"})


def named(shown):
    return [(style["name"], style["prompt"], style["own"], style["over"]) for style in shown["styles"]]


def test_own_styles_come_first_and_say_whom_they_hide(services):
    assert named(view(services)) == [("Ink", "my ink", True, True), ("Oil", "oil", False, False)] and view(services)["editable"]


def test_a_change_reaches_the_form_and_what_is_selected_follows(services, layout):
    keep = services.writing.styles.keep
    updates = changed(services, layout, ["Oil", "Ink"], lambda: keep(Style("Pen", "my pen"), "Ink"), "kept", {"Ink": "Pen"}, "Pen")
    assert updates["styles"].value == ["Oil", "Pen"] and [name for name, _ in updates["styles"].choices] == ["Oil", "Ink", "Pen"]
    assert updates["editor"]["message"]["kind"] == "note" and updates["editor"]["open"] == "Pen"
    updates = changed(services, layout, ["Oil", "Pen"], lambda: services.writing.styles.delete("Pen"), "deleted", {}, "Pen")
    assert updates["styles"].value == ["Oil"]
    assert named(updates["editor"]) == [("Oil", "oil", False, False), ("Ink", "ink", False, False)]  # the one that was hidden counts again


def test_a_refusal_names_the_field_and_leaves_the_form_alone(services, layout):
    updates = changed(services, layout, [], lambda: services.writing.styles.keep(Style("a, b", "x")), "", {}, "")
    assert set(updates) == {"editor"} and updates["editor"]["message"]["field"] == "name" and "Name: " in updates["editor"]["message"]["text"]


def test_where_everybody_may_come_nobody_writes(services, layout):
    services.settings.open_to_all = True
    before = services.writing.styles.path.read_bytes()
    updates = changed(services, layout, [], lambda: services.writing.styles.keep(Style("Pen", "pen")), "", {}, "")
    assert styling.NOT_YOURS in updates["editor"]["message"]["text"] and not view(services)["editable"]
    assert services.writing.styles.path.read_bytes() == before


def test_a_damaged_file_is_told_and_the_other_styles_are_still_there(services):
    services.writing.styles.path.write_text("[")
    shown = view(services)
    assert named(shown) == [("Oil", "oil", False, False), ("Ink", "ink", False, False)]
    assert not shown["editable"] and "own.toml cannot be read" in shown["why"]
