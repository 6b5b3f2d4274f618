"""What was written becomes what each picture is told, and what cannot be is refused in words, with the field that it belongs to."""

from dataclasses import replace

import pytest

from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.wording import Wording
from sd_ui.services import open_wording
from sd_ui.settings import Settings
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest, Words

BASE = GenerationRequest("a cat", "blurry", seed=7, count=3)


@pytest.fixture
def wording(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "colour.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "styles.csv").write_text(
        'name,prompt,negative_prompt\nOil,"oil painting of {prompt}",photo\nWild,__colour__ light,\nTwice,"{prompt} {prompt}",\n'
    )
    return Wording((tmp_path / "styles.csv",), WildcardFiles((tmp_path / "lists",)))


def test_a_prompt_that_says_it_itself_stays_as_it_is(wording):
    for prompt in ("a cat", "a (cat:1.2) # {not} a comment", "{masterpiece} [a|b]"):
        request = replace(BASE, prompt=prompt)
        assert wording.worded(request) == request


def test_styles_are_joined_to_both_prompts_and_their_names_are_kept(wording):
    request = wording.worded(replace(BASE, styles=("oil",)))
    assert request.prompt == "a cat" and request.styles == ("oil",)
    assert request.words == (Words("oil painting of a cat", "blurry, photo"),) * 3


def test_each_picture_has_its_own_choice_and_it_is_that_of_its_seed_alone(wording):
    request = wording.worded(replace(BASE, prompt="a __colour__ {cat|dog|hen}", styles=("Wild",), count=12))
    assert len(set(request.words)) > 3
    for index in (0, 5, 11):
        alone = wording.worded(replace(BASE, prompt="a __colour__ {cat|dog|hen}", styles=("Wild",), count=1, seed=BASE.seed_of(index)))
        assert alone.words == (request.words[index],)


def test_a_picture_alone_is_a_plain_request(wording):
    request = wording.worded(replace(BASE, prompt="a {cat|dog}", styles=("Oil",)))
    plain = request.plain(1)
    assert plain.words == plain.styles == () and plain.prompt == request.words[1].prompt
    assert wording.worded(plain) == plain and BASE.plain(2) == BASE


def test_comments_are_not_resolved(wording):
    assert wording.worded(replace(BASE, prompt="{cat|cat} # {a|b} __nothing__", count=1)).words == (Words("cat \n", "blurry"),)


def test_a_comment_does_not_swallow_a_style(wording):
    request = wording.worded(replace(BASE, prompt="a cat # mine", styles=("Oil",), count=1))
    assert request.words[0].prompt.split() == ["oil", "painting", "of", "a", "cat"] and request.prompt == "a cat # mine"


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"prompt": "a __color__ cat"}, "prompt", "did you mean colour"),
        ({"negative_prompt": "{__colr__|a}"}, "negative_prompt", "did you mean colour"),
        ({"styles": ("Oli",)}, "styles", "did you mean Oil"),
        ({"prompt": "x" * 20_000, "styles": ("Twice",)}, "prompt", "longer than 32000"),
        ({"prompt": "a (cat:5000)"}, "prompt", r"5000 is out of range \(-1000 to 1000\) \(at character 4\)"),
        ({"prompt": "{" + "x" * 11_000 + "1|" + "x" * 11_000 + "2}" + "{1|2|3|4|5|6|7|8|9}" * 5, "count": 64}, "prompt", "ask for fewer pictures"),
    ],
)
def test_what_cannot_be_is_refused(wording, change, field, why):
    with pytest.raises(BadRequest, match=why) as refused:
        wording.worded(replace(BASE, **change))
    assert refused.value.field == field


def test_without_any_styles_it_says_so():
    with pytest.raises(BadRequest, match="there are no styles"):
        Wording().worded(replace(BASE, styles=("Oil",)))


def test_what_comes_with_the_program_can_be_used():
    wording = open_wording(Settings())
    assert {"Photograph", "At night"} <= wording.styles().keys() and {"colour", "season"} <= set(wording.wildcards.names())
    for name in wording.wildcards.names():
        request = wording.worded(replace(BASE, prompt=f"__{name}__ {{2$$__{name}__}}", styles=tuple(wording.styles())[:16]))
        assert all("__" not in said.prompt for said in request.words)
