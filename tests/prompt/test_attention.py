"""Weights of words mean what they mean in AUTOMATIC1111."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.attention import parse

SYNTAX = st.lists(st.sampled_from([*"ab ,.:|()[]\\1257\n-+", "BREAK", " BREAK ", ":1.2)", "(a:1.3)", "((", "))"]), max_size=40).map("".join)
WORDS = st.text("abc ,", min_size=1, max_size=6)
FACTORS = st.sampled_from(["1.2", "0.5", "+1.25", "-1", " 2 ", ".7", "3."])
PROMPTS = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        inner.map("({})".format),
        inner.map("[{}]".format),
        st.tuples(inner, FACTORS).map(lambda said: "({}:{})".format(*said)),
        inner.map("{} BREAK ".format),
    ),
    max_leaves=12,
)


def slowly(text: str) -> list[tuple[str, float]]:
    """The published rules, word by word: every bracket that closes multiplies all that stands behind its opening one."""
    found: list[list] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(since: int, factor: float) -> None:
        for piece in found[since:]:
            piece[1] *= factor

    for token in re.findall(r"\\[()\[\]\\]|\\|[()\[\]]|:\s*[+-]?[.\d]+\s*\)|:|[^\\()\[\]:]+", text):
        if token[0] == "\\":
            found.append([token[1:], 1.0])
        elif token in ("(", "["):
            opened[token].append(len(found))
        elif token[0] == ":" and token[-1] == ")" and opened["("]:
            multiply(opened["("].pop(), float(token[1:-1]))
        elif token == ")" and opened["("]:
            multiply(opened["("].pop(), 1.1)
        elif token == "]" and opened["["]:
            multiply(opened["["].pop(), 1 / 1.1)
        else:
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", token)):
                found.extend([["BREAK", -1.0]] if i else [])
                found.append([part, 1.0])
    for since in opened["("]:
        multiply(since, 1.1)
    for since in opened["["]:
        multiply(since, 1 / 1.1)
    merged: list[list] = []
    for text, weight in found:
        if merged and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return [(text, weight) for text, weight in merged] or [("", 1.0)]


def said(text: str, emphasis: str = "Original") -> list[tuple[str, float]]:
    return [(piece.text, piece.weight) for piece in parse(text, emphasis)]


@given(PROMPTS)
def test_weights_are_those_of_the_slow_rules_to_the_last_bit(text):
    assert said(text) == slowly(text)


@given(SYNTAX)
def test_so_they_are_for_brackets_that_do_not_match(text):
    if not re.search(r":\s*[+-]?[.\d]+\s*\)", text) or all(is_number(n) for n in re.findall(r":\s*([+-]?[.\d]+)\s*\)", text)):
        assert said(text) == slowly(text)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@given(st.text(max_size=200))
def test_no_text_is_too_strange(text):
    pieces = parse(text)
    assert pieces and all(0 <= piece.start <= piece.end <= len(text) for piece in pieces)
    assert all(a.end <= b.start for a, b in itertools.pairwise(pieces))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(open", [("open", 1.1)]),
        (r"\(literal\] \\ \x", [(r"(literal] \ x", 1.0)]),
        ("(un)(necessary)", [("unnecessary", 1.1)]),
        ("(((house:1.3)) [on]", [("house", 1.5730000000000004), (" ", 1.1), ("on", 1.0)]),
        ("(a:1.2.3)b", [("a:1.2.3", 1.1), ("b", 1.0)]),
        ("a :1.2) b", [("a :1.2) b", 1.0)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
        ("", [("", 1.0)]),
    ],
)
def test_examples(text, pieces):
    assert said(text) == pieces


def test_a_break_outside_of_brackets_ends_a_chunk_and_inside_it_is_a_word():
    assert [piece.is_break for piece in parse("a BREAK b")] == [False, True, False]
    assert not any(piece.is_break for piece in parse("(a BREAK b:1.2)"))
    assert said("a  BREAK\n b") == [("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]


def test_emphasis_can_be_ignored_or_not_be_read_at_all():
    assert said("(a:2) BREAK b", "Ignore") == [("a", 1.0), ("", 1.0), ("BREAK", -1.0), ("b", 1.0)]
    assert said("(a:2) [b]", "None") == [("(a:2) [b]", 1.0)]
    assert said("(a:2)", "No norm") == said("(a:2)", "Original") == [("a", 2.0)]


@pytest.mark.parametrize("text", ["(" * 100_000, "[" * 100_000 + "a", "(a" * 50_000 + ")" * 50_000, "([a" * 30_000, ")" * 100_000, "\\" * 100_001])
def test_a_hundred_thousand_brackets_are_no_trouble(text):
    assert parse(text)


@pytest.mark.parametrize(
    "text", [" " * 100_000, (" " * 1000 + "BREAK") * 100, ":" * 100_000, ":" + " " * 100_000, "(a:" + "1" * 100_000, "((a:1.1) " * 20_000]
)
def test_long_runs_of_one_thing_are_no_trouble(text):
    assert parse(text)


def test_places_are_those_of_the_words():
    text = "a (red:1.2) cat"
    assert [text[piece.start : piece.end] for piece in parse(text)] == ["a ", "red", " cat"]
