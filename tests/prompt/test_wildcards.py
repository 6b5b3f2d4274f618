"""The seed decides what a template becomes, and whatever a template says, it comes to an end."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.variants import parse
from sd_ui.prompt.wildcards import LONGEST, Unresolvable, resolved, unknown_names


@dataclass
class Lists:
    of: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self) -> list[str]:
        return list(self.of)

    def lines(self, name: str) -> tuple[str, ...]:
        return self.of[name]


LISTS = Lists({"colour": ("red", "green", "blue"), "animal/cat": ("lion", "lynx"), "animal/dog": ("wolf",), "thing": ("a __colour__ {box|ball}",)})
SEEDS = range(60)


def outcomes(text: str, lists: Lists = LISTS) -> set[str]:
    return {resolved(text, seed, lists) for seed in SEEDS}


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("a {b|c} d", {"a b d", "a c d"}),
        ("{a|}", {"a", ""}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("__colour__", {"red", "green", "blue"}),
        ("__COLOUR__ __dog__", {"red wolf", "green wolf", "blue wolf"}),
        ("__animal/*__", {"lion", "lynx", "wolf"}),
        ("__thing__", {f"a {colour} {thing}" for colour in ("red", "green", "blue") for thing in ("box", "ball")}),
        ("{2$$a|b|c}", {f"{x}, {y}" for x in "abc" for y in "abc" if x != y}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$-$$a|b}", {"a", "b", "a-b", "b-a"}),
        ("{-1$$a|b}", {"a", "b"}),
        ("{2-$$$$a|b}", {"ab", "ba"}),
        ("{5$$a|b}", {"a, b", "b, a"}),
        ("{0$$a|b}c", {"c"}),
        ("{2$$__colour__}", {f"{x}, {y}" for x in ("red", "green", "blue") for y in ("red", "green", "blue") if x != y}),
        ("{1::a|0::b}", {"a"}),
        ("{~a|b}", {"a", "b"}),
        ("${x=!{a|b}}${x} ${x}", {"a a", "b b"}),
        ("${x={a|b}}${x}${x}", {"aa", "ab", "ba", "bb"}),
        ("${x:none}", {"none"}),
        ("[a|b] {c|c}", {"[a|b] c"}),
        (r"\{a|b\} \__colour__", {r"\{a|b\} \__colour__"}),
        ("{masterpiece} ({x}) }{ $ % __ ____ a_b", {"{masterpiece} ({x}) }{ $ % __ ____ a_b"}),
        ("{a|b", {"{a|b"}),
        ("{0.5::a} {2$$ x $$ y", {"{0.5::a} {2$$ x $$ y"}),
        ("50%{a|b}", {"50%a", "50%b"}),
    ],
)
def test_what_may_come_of_it(text, results):
    assert outcomes(text) == results


def test_weights_are_proportions():
    counts = Counter(resolved("{3::a|b}", seed, LISTS) for seed in range(2000))
    assert 1400 < counts["a"] < 1600
    lists = Lists({"w": ("9::often", "seldom")})
    assert Counter(resolved("__w__", seed, lists) for seed in range(1000))["often"] > 850


def test_the_same_seed_makes_the_same_choice_everywhere():
    assert [resolved("{a|b|c|d} __colour__", seed, LISTS) for seed in range(4)] == ["b red", "b blue", "b blue", "b red"]
    assert resolved("{a|b|c|d|e|f|g|h}", 3, LISTS, "prompt") != resolved("{a|b|c|d|e|f|g|h}", 3, LISTS, "negative_prompt")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__color__", "did you mean colour"),
        ("{__nothing/*__|__nothing/*__}", "is not known"),
        ("{@a|b}", "the seed decides"),
        ("__@colour__", "the seed decides"),
        ("%{a ... b$$c}", "not supported"),
        ("${x}", "has no value"),
        ("{0::a|0::b}", "all weights"),
        ("__loop__", "in a circle: loop → pool → loop"),
        ("${x=${x}a}${x}", "never come to an end"),
        ("__empty__", "is an empty file"),
        ("__bad__", "the seed decides"),
    ],
)
def test_what_cannot_be_resolved_is_said_in_words(text, why):
    lists = Lists(LISTS.of | {"loop": ("__pool__",), "pool": ("__loop__",), "empty": (), "bad": ("{@a|b}",)})
    with pytest.raises(Unresolvable, match=why):
        resolved(text, 1, lists)


def test_lists_that_grow_each_other_come_to_an_end():
    lists = Lists({f"l{i}": (f"__l{i + 1}__ " * 10,) for i in range(40)} | {"l40": ("x" * 100,)})
    with pytest.raises(Unresolvable, match=f"longer than {LONGEST}"):
        resolved("__l0__", 1, lists)


def test_a_long_list_can_be_drawn_from_often():
    assert resolved("__long__" * 1000, 1, Lists({"long": tuple(map(str, range(50_000)))}))


DEEP = ["{" * 100_000, "{a|" * 30_000 + "}" * 30_000, "}" * 100_000, "{" * 50_000 + "}" * 50_000, "_" * 100_000]
DEEPER = ["${x=" * 20_000 + "}" * 20_000, "__a" * 30_000, "%{" * 40_000 + "}" * 40_000, "{1$$" * 20_000 + "}" * 20_000]


@pytest.mark.parametrize("text", DEEP + DEEPER)
def test_a_hundred_thousand_braces_are_no_trouble(text):
    assert parse(text).items
    with contextlib.suppress(Unresolvable):
        assert len(resolved(text, 1, LISTS)) <= len(text)


@given(st.text(st.sampled_from(list("ab{}|$_:.~@%=! -*\\/2")), max_size=60))
def test_no_text_is_too_strange(text):
    try:
        assert parse(resolved(text, 1, LISTS)).items is not None
    except Unresolvable as error:
        assert str(error) and 0 <= error.fault.start <= error.fault.end <= len(text)


@given(st.text(max_size=60).filter(lambda text: "{" not in text and "__" not in text))
def test_a_text_with_nothing_to_choose_stays_as_it_is(text):
    assert resolved(text, 1, LISTS) == text


def test_unknown_names_are_found_where_they_stand():
    text = "a {__colour__|{b|__colr__}} __dog__"
    (fault,) = unknown_names(text, LISTS)
    assert text[fault.start : fault.end] == "__colr__" and "colour" in fault.why


def test_files_of_folders_and_their_folders(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "a.txt").write_text("\ufeff# list\nfirst  # once\n\n 2::second \n", encoding="utf-8")
    (tmp_path / "one" / "deep" / "b.TXT").write_bytes(b"caf\xe9\n")
    (tmp_path / "two" / "a.txt").write_text("own")
    (tmp_path / "two" / "no.md").write_text("x")
    files = WildcardFiles((tmp_path / "one",))
    assert files.names() == ("a", "deep/b") and files.lines("a") == ("first", "2::second") and files.lines("deep/b") == ("caf\ufffd",)
    assert WildcardFiles((tmp_path / "one", tmp_path / "two", tmp_path / "missing")).lines("a") == ("own",)
