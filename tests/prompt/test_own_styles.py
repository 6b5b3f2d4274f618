"""Styles that people write on the page: kept in a file of their own, and never lost to another's."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_ui.prompt import styles
from sd_ui.prompt.own_styles import LONGEST_NAME, MOST, OwnStyles, written
from sd_ui.prompt.styles import Style
from sd_ui.spec.errors import BadRequest

NIGHT = Style("At night", "{prompt}, at night", "sun")


@pytest.fixture
def own(tmp_path):
    return OwnStyles(tmp_path / "presets" / "styles" / "own.toml")


def test_a_style_is_kept_changed_renamed_and_deleted(own):
    own.keep(Style("  Ink   drawing ", " ink ", ""))
    own.keep(NIGHT)
    assert list(own.read().values()) == [Style("Ink drawing", "ink"), NIGHT]
    own.keep(Style("Pen", "pen", "colour"), was="Ink drawing")
    assert list(own.read().values()) == [Style("Pen", "pen", "colour"), NIGHT]  # in its old place
    own.keep(Style("Pen", "a pen"), was="Pen")
    own.delete("At night")
    assert styles.read([own.path]) == {"Pen": Style("Pen", "a pen")}


@pytest.mark.parametrize(
    ("style", "was", "field", "says"),
    [
        (Style("", "x"), "", "name", "1 to 80 characters"),
        (Style("x" * (LONGEST_NAME + 1), "x"), "", "name", "1 to 80 characters"),
        (Style("a, b", "x"), "", "name", "no comma"),
        (Style("a\x00b", "x"), "", "name", "unprintable"),
        (Style("At night", "x"), "", "name", "another style of yours"),
        (Style("At night", "x"), "Pen", "name", "another style of yours"),
        (Style("Empty", "  ", "\n"), "", "prompt", "is empty"),
        (Style("Long", "x" * 32_001), "", "prompt", "at most 32000"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words_and_changes_nothing(own, style, was, field, says):
    own.keep(NIGHT)
    own.keep(Style("Pen", "pen"))
    before = own.path.read_bytes()
    with pytest.raises(BadRequest) as wrong:
        own.keep(style, was)
    assert wrong.value.field == field and says in wrong.value.why and own.path.read_bytes() == before


def test_there_is_an_end_to_them(own):
    own.path.parent.mkdir(parents=True)
    own.path.write_text(written({f"s{i}": Style(f"s{i}", "x") for i in range(MOST)}))
    with pytest.raises(BadRequest, match="are enough"):
        own.keep(NIGHT)
    own.keep(Style("s1", "changed"), was="s1")
    assert own.read()["s1"].prompt == "changed"


def test_a_file_that_was_damaged_by_hand_is_not_written_over(own):
    own.path.parent.mkdir(parents=True)
    own.path.write_text('["Mine"\nprompt = "years of work"')
    for act in (lambda: own.keep(NIGHT), lambda: own.delete("Mine")):
        with pytest.raises(BadRequest, match="mend it or take it away"):
            act()
    assert "years of work" in own.path.read_text()
    own.path.unlink()
    with pytest.raises(BadRequest, match="is no style of yours"):
        own.delete("Mine")


def test_of_two_who_write_at_once_neither_loses_anything(own):
    threads = [threading.Thread(target=own.keep, args=(Style(f"style {i}", "x"),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(own.read()) == 8


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_kept_is_read_back(tmp_path_factory, name, prompt, negative):
    own = OwnStyles(tmp_path_factory.mktemp("own") / "own.toml")
    try:
        own.keep(Style(name, prompt, negative))
    except BadRequest:
        return
    (kept,) = own.read().values()
    assert kept == Style(" ".join(name.split()), prompt.strip(), negative.strip())


def test_half_a_character_is_refused_in_words(own):
    with pytest.raises(BadRequest, match="half of a character") as wrong:
        own.keep(Style("Torn", "a \ud83d"))
    assert wrong.value.field == "prompt" and not own.path.exists()


def test_the_file_never_grows_so_large_that_it_cannot_be_read(own, monkeypatch):
    monkeypatch.setattr(styles, "LARGEST", 400)
    own.keep(NIGHT)
    with pytest.raises(BadRequest, match="too long together"):
        own.keep(Style("Long", "x" * 300))
    assert own.read() == {"At night": NIGHT}
