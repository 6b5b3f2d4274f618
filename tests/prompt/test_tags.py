"""Lists of tags: read as a1111-tagcomplete writes them, and found as people type."""

import random

import pytest

from sd_ui.prompt.tags import BETWEEN, Tag, TagFiles, TagList, folded, rows

CSV = """1girl,0,6008644,"1girls,sole_female"
blue_hair,0,810000,
long_hair,0,4350743,"/lh,longhair"
hair_bow,0,540000,
chair,0,90000,
ganyu_(genshin_impact),4,35000,"ganyu"
^_^,0,120000,
"""


@pytest.fixture
def tags(tmp_path):
    path = tmp_path / "danbooru.csv"
    path.write_text(CSV, encoding="utf-8")
    return TagFiles([path])


def names(found):
    return [tag.name for tag in found]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hair", ["long_hair", "blue_hair", "hair_bow", "chair"]),  # by use; where it stands inside of a word, last
        ("long hair", ["long_hair"]),
        ("LONG_HA", ["long_hair"]),
        ("chair", ["chair"]),
        ("genshin", ["ganyu_(genshin_impact)"]),
        ("ai", []),  # too short for the middle of a word
        ("xyz", []),
        ("_", []),
        ("", []),
    ],
)
def test_a_tag_is_found_by_its_words_the_most_used_first(tags, asked, found):
    assert names(tags.now().found(asked, 10)) == found


def test_the_very_name_comes_first_and_another_name_says_what_it_is(tags):
    assert tags.now().found("sole female", 5) == (Tag("1girl", 6008644, "sole_female"),)
    assert names(tags.now().found("hair", 2)) == ["long_hair", "blue_hair"]
    many = TagList.of([(Tag(f"cat_{i}", 10 + i), ()) for i in range(100)] + [(Tag("cat", 1), ())])
    assert names(many.found("cat", 3)) == ["cat", "cat_99", "cat_98"]


def test_a_search_is_the_slow_one_that_looks_at_every_line():
    draw = random.Random(3)
    syllables = ["ka", "shi", "er", "hair", "long", "blue", "in"]
    every = {"_".join("".join(draw.choices(syllables, k=2)) for _ in range(draw.randint(1, 3))): draw.randint(1, 10**6) for _ in range(500)}
    tags = TagList.of((Tag(name, count), (f"{name[::-1]}",) if count % 3 == 0 else ()) for name, count in every.items())
    for asked in ("hair", "er", "long", "shihair", "blue_", "kaka", "gnol"):
        lines = [("".join(f"_{folded(name)} " for name in line.split(BETWEEN)), line.split(BETWEEN)[0]) for line in tags.lines]
        slow = [name for line, name in lines if f"_{asked}" in line]
        slow += [name for line, name in lines if asked in line and name not in slow] if len(asked) > 2 else []
        slow = [name for name in slow if name == asked] + [name for name in slow if name != asked]
        assert names(tags.found(asked, 20)) == slow[:20], asked


def test_a_list_is_read_again_when_it_has_changed(tags, tmp_path):
    before = tags.now()
    assert tags.now() is before
    (tmp_path / "danbooru.csv").write_text("new_tag,0,5,\n")
    assert names(tags.now().found("new", 5)) == ["new_tag"] and tags.now().found("hair", 5) == ()


def test_what_is_missing_or_odd_in_a_file_keeps_nothing_from_being_found(tmp_path, caplog):
    path = tmp_path / "odd.csv"
    path.write_bytes(
        b'\xef\xbb\xbfname,type,count,aliases\nplain\ncounted,12\n\n ,0,3\n"quo""ted",0,7,"a,,b"\n\xff\xfe,0,2,\nmuch,0,99999999999999999\n'
    )
    found = {tag.name: (tag.count, aliases) for tag, aliases in rows(path)}
    assert found["plain"] == (0, ()) and found["counted"] == (12, ()) and found['quo"ted'] == (7, ("a", "b")) and "name" not in found
    assert rows(tmp_path / "none.csv") == [] and "none.csv is not used" in caplog.text
    assert TagFiles([tmp_path / "none.csv"]).now().found("plain", 3) == () == TagFiles().now().found("plain", 3)
