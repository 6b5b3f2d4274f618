"""Scenes follow from numbers, and captions from scenes."""

from random import Random

import pytest

from training import prompts
from training.captions import FULL, MANNERS, bare, caption, captions, relations
from training.scenes import APART, Scene, Thing, across, numbered
from training.world import SYNONYMS

SCENES = [numbered(5, i) for i in range(200)]


def thing(x, z, colour="red", shape="cube"):
    return Thing(shape, colour, "matte", True, 0.5, x, z, 0.0, 1.0)


def scene(*things):
    return Scene(things, "green", "at night", 0.0, (0.0, 1.4, -4.6))


def test_a_scene_follows_from_its_number():
    assert numbered(5, 17) == numbered(5, 17) != numbered(5, 18)
    assert numbered(6, 17) != numbered(5, 17)


def test_things_stand_apart_and_in_view_from_left_to_right():
    for made in SCENES:
        seen = [across(thing, made.camera) for thing in made.things]
        assert seen == sorted(seen) and all(abs(x) < 1 for x in seen)
        for a, b in zip(made.things, made.things[1:], strict=False):
            assert (a.x - b.x) ** 2 + (a.z - b.z) ** 2 >= (APART * (a.radius + b.radius)) ** 2


def test_small_things_are_large_enough_to_be_drawn():
    assert all(thing.radius >= 0.45 for made in SCENES for thing in made.things)


@pytest.mark.parametrize("made", SCENES[:40], ids=lambda made: f"{len(made.things)} things")
def test_a_caption_says_what_is_there(made):
    told = caption(made, Random(1), FULL)
    for thing in made.things:
        size = "large" if thing.large else "small"
        assert f"{size} {thing.material} {thing.colour} {thing.shape}" in told
    assert f"on a {made.floor} floor" in told and told.endswith(made.sky)


def test_left_is_left_and_in_front_is_nearer():
    beside = relations(scene(thing(-1, 0), thing(1, 0)), thing(-1, 0), thing(1, 0), "a", "b")
    assert "a left of b" in beside and "b to the right of a" in beside and not [told for told in beside if "front" in told]
    near, far = thing(0, -1), thing(0.1, 1)
    behind = relations(scene(near, far), near, far, "a", "b")
    assert "a in front of b" in behind and "b behind a" in behind and not [told for told in behind if "left" in told]


def test_short_prompts_are_learned_too():
    told = [captions(made, Random(i)) for i, made in enumerate(SCENES)]
    assert all(len(some) == len(MANNERS) for some in told)
    assert min(len(sentence.split()) for some in told for sentence in some) <= 3


def test_other_words_for_the_same_are_heard():
    words = {word for i, made in enumerate(SCENES) for sentence in captions(made, Random(i)) for word in bare(sentence).split()}
    assert {other for others in SYNONYMS.values() for other in others} <= words


def test_training_never_sees_the_examination():
    secret = prompts.secret()
    assert len(prompts.questions()) == 256 and len(secret) > 250
    question = prompts.questions()[0]
    seen = {bare(sentence) for i in range(300) for sentence in captions(question.scene, Random(i), secret)}
    assert not seen & secret and seen


def test_the_two_of_a_question_stand_clearly_left_and_right():
    for question in prompts.some(2, 96):
        left, right = question.scene.things
        assert across(right, question.scene.camera) - across(left, question.scene.camera) > prompts.CLEARLY
        assert " front " not in question.prompt
