"""What a model that reads plain text is told of our language, and what of it is refused."""

import pytest

from sd_ui.prompt import plain


@pytest.mark.parametrize(("text", "emphasis", "told"), [
    ("a cat", "Original", "a cat"), ("a (red) cat", "Original", "a (red) cat"), ("a (red:1.5) cat", "Ignore", "a red cat"),
    ("a (red:1.5) cat", "None", "a (red:1.5) cat"), ("a cat # not a dog", "Original", "a cat \n"),
])  # fmt: skip
def test_it_is_told_every_character_but_for_comments(text, emphasis, told):
    assert plain.told(text, emphasis) == told


@pytest.mark.parametrize(("text", "said"), [
    ("a cat <lora:dawn:1>", "<lora:dawn:1>"), ("a [cat:dog:0.5]", "[cat:dog:0.5]"), ("a [cat|dog]", "[cat|dog]"), ("a (red:1.5) cat", "weight"),
])  # fmt: skip
def test_what_it_cannot_be_told_is_refused_with_the_place(text, said):
    assert said in plain.refused(text, "Original")


@pytest.mark.parametrize("text", ["", "a cat", "a (red) cat", "at 12:30", 'a sign "ROCK AND ROLL"', "a # <lora:x:1>"])
def test_plain_text_is_accepted(text):
    assert plain.refused(text, "Original") == ""


def test_a_weight_is_accepted_where_emphasis_takes_it_for_text():
    assert plain.refused("(red:1.5)", "None") == plain.refused("(red:1.5)", "Ignore") == ""


def test_what_means_something_elsewhere_is_said_to_be_text():
    assert len(plain.notes("a (red) cat AND a dog BREAK x", "Original")) == 3
    assert plain.notes("a red cat", "Original") == plain.notes("a (red) cat", "None") == ()
    assert plain.notes("ROCK AND ROLL", "Original", negative=True) == ()
