"""What is wrong in a prompt is said with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.problems import MOST_PARTS, found
from tests.prompt.test_wildcards import LISTS


def said(text: str, **how) -> list[tuple[str, str]]:
    return [(text[problem.start : problem.end], problem.why) for problem in found(text, **how)]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("a (cat", "(", "never closed"),
        ("a [cat", "[", "never closed"),
        ("a cat)", ")", "closes nothing"),
        ("a cat:1.2)", ":1.2)", "closes nothing"),
        ("a {b|c", "{", "never closed"),
        ("(a BREAK b:1.2)", "BREAK", "read as a word"),
        ("[cat:1.2]", "[cat:1.2]", "not reached in 20 steps"),
        ("[cat:30]", "[cat:30]", "not reached in 20 steps"),
        ("[a:b:3] x|y", "|", "nothing is scheduled"),
        ("a ratio of 16:9", ":9", "weighs the whole prompt: 9"),
        ("a __colr__ cat", "__colr__", "did you mean colour"),
    ],
)
def test_a_problem_has_a_place_and_words(text, place, why):
    ((where, words),) = said(text, steps=20, wildcards=LISTS)
    assert where == place and why in words


@pytest.mark.parametrize(
    "text", ["", "a cat, (red:1.2) [x] \\( [a:b:0.5] [a|b] BREAK x AND y :2", "a # ((\n cat", "<lora:a(b:1> cat", "{a|b} __colour__"]
)
def test_a_proper_prompt_has_none(text):
    assert said(text, steps=20, wildcards=LISTS) == []


def test_a_place_is_that_of_the_text_as_it_was_written():
    text = "<lora:x:1> # (\n a <lora:y:1> (cat"
    ((problem),) = found(text)
    assert problem.start == text.index("(cat")


FATAL = ["(a:1001)", "a :1001", "a" + " AND b" * MOST_PARTS, "((((a:99):99):99)", "(" * 10_000 + "a", "[a|b]" * 501, "__colr__", "{@a|b}"]


@pytest.mark.parametrize("text", FATAL)
def test_what_cannot_be_used_is_fatal(text):
    assert any(problem.fatal for problem in found(text, wildcards=LISTS))


def test_without_emphasis_brackets_are_characters():
    assert said("a (cat", emphasis="None") == []


def test_a_negative_prompt_has_no_parts_and_no_networks():
    assert [where for where, _ in said("a AND b <lora:x:1>", negative=True)] == ["AND", "<lora:x:1>"]
    assert said("ratio 16:9", negative=True) == []


@given(st.text(st.sampled_from(list("ab:|()[]{}\\.05\n <>#_$AND")), max_size=60))
def test_no_text_is_too_strange(text):
    assert all(0 <= problem.start <= problem.end <= len(text) and problem.why for problem in found(text, 20, wildcards=LISTS))


@pytest.mark.parametrize("text", ["(" * 30_000, "[a|b]" * 6_000, "{a|" * 10_000, ":" * 30_000, "AND " * 8_000, "BREAK " * 5_000])
def test_long_prompts_are_no_trouble(text):
    found(text, 20, wildcards=LISTS)
