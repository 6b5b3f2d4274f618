"""The pictures of the docs: each is there, is shown somewhere, and can be drawn again."""

import re
from pathlib import Path

import pytest
from PIL import Image

from docs.make_pictures import FOLDER, STRIPS

DOCS = Path(__file__).parents[1] / "docs"


def shown() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")]
    return {name for text in texts for name in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", text)}


def test_what_the_docs_show_is_what_the_script_draws():
    assert shown() == {f"{name}.webp" for name in STRIPS} == {path.name for path in FOLDER.iterdir()}


def test_they_are_small():
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert max(sizes) < 60_000 and sum(sizes) < 600_000


@pytest.mark.parametrize("name", STRIPS)
def test_a_strip_has_a_caption_for_each_picture_and_is_as_it_was_drawn(name):
    strip = STRIPS[name]()
    captions = [one.caption for one in strip.shown]
    assert len(set(captions)) == len(captions) and all(captions) and len({one.request for one in strip.shown}) == len(captions)
    with Image.open(FOLDER / f"{name}.webp") as image:
        rows = -(-len(captions) // strip.columns)
        assert image.width >= strip.columns * strip.side and image.height >= rows * strip.side
