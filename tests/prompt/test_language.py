"""A prompt is read in A1111's order: comments, networks, AND with its weights, schedules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt import comments, composition, language
from sd_ui.prompt.schedule import Until


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a :1.2 AND b AND c :-0.5", [("a", 1.2), (" b", 1.0), (" c", -0.5)]),
        ("a cat :1.2", [("a cat", 1.2)]),
        ("a: .5 ", [("a", 0.5)]),
        ("a\nb: 2.\n", [("a\nb", 2.0)]),
        ("a:b", [("a:b", 1.0)]),
        ("a:1e3", [("a:1e3", 1.0)]),
        ("sAND hAND ANDs", [("sAND hAND ANDs", 1.0)]),
        ("AND", [("", 1.0), ("", 1.0)]),
        ("(a AND b:1.3)", [("(a", 1.0), (" b:1.3)", 1.0)]),
    ],
)
def test_and_divides_a_prompt(text, parts):
    assert [(part.text, part.weight) for part in composition.split(text)] == parts


@given(st.text(st.sampled_from(list("ab:1. \n")), max_size=30))
def test_no_text_is_too_strange(text):
    assert all(text[part.start : part.end].startswith(part.text) for part in composition.split(text))


@pytest.mark.parametrize("text", [" " * 100_000 + ":", "a:" * 50_000, "AND " * 25_000, ":1" * 50_000, "#" * 100_000, "#\n" * 50_000])
def test_long_runs_of_one_thing_are_no_trouble(text):
    assert composition.split(text) and comments.stripped(text) is not None


def test_comments_are_for_people():
    assert comments.stripped("# all of it\na cat # a dog\non a mat") == "\na cat \non a mat"
    assert comments.stripped("a cat") == "a cat"
    text = "a # b\nc #d"
    assert comments.masked(text) == "a     c   " and len(comments.masked(text)) == len(text)


def test_everything_together():
    (first, second) = language.positive("[a:b:0.5] <lora:x:1> # AND c\n AND d :2", 10)
    assert first.weight == 1.0 and [until.last for until in first.texts] == [5, 10]
    assert [until.text.strip() for until in first.texts] == ["a", "b"]
    assert second == language.Timed(2.0, (Until(10, " d"),))


def test_a_negative_prompt_knows_schedules_and_neither_and_nor_networks():
    assert language.negative("[a:b:2] AND c :2 <lora:x:1>", 10) == (
        language.Timed(1.0, (Until(2, "a AND c :2 <lora:x:1>"), Until(10, "b AND c :2 <lora:x:1>"))),
    )
