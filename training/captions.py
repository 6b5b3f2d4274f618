"""Sentences that are true of a scene. Attributes, floor and sky are left out at random, so that short prompts are learned too."""

from collections.abc import Set
from dataclasses import dataclass
from random import Random

from training.scenes import Scene, Thing, across
from training.world import SYNONYMS

SIDE_BY_SIDE = 0.25  # seen further apart than this, left and right are said
ONE_BEHIND_THE_OTHER = 1.0  # metres of depth between them


@dataclass(frozen=True)
class Manner:
    """How likely each is said. words: size and material. synonyms: another word for the same."""

    words: float
    place: float
    synonyms: float = 0.0


FULL = Manner(words=1, place=1)
MANNERS = (Manner(0.75, 0.95), Manner(0.5, 0.85, 0.15), Manner(0.2, 0.5, 0.1))  # one caption of each kind for every scene of the training


def caption(scene: Scene, rng: Random, manner: Manner) -> str:
    sentence = relation(scene, rng, manner)
    if rng.random() < manner.place:
        sentence += f" on a {said(scene.floor, rng, manner)} floor"
    if rng.random() < manner.place:
        sentence += rng.choice((", ", " ")) + scene.sky
    return sentence


def captions(scene: Scene, rng: Random, never: Set[str] = frozenset()) -> tuple[str, ...]:
    """One of each manner. never: sentences, without commas, that are kept for the examination."""
    return tuple(next(told for _ in iter(int, 1) if bare(told := caption(scene, rng, manner)) not in never) for manner in MANNERS)


def bare(sentence: str) -> str:
    """Without what changes nothing."""
    return sentence.replace(",", "")


def relation(scene: Scene, rng: Random, manner: Manner) -> str:
    phrases = [phrase(thing, rng, manner) for thing in scene.things]
    match scene.things:
        case (_,):
            return phrases[0]
        case (left, right):
            return rng.choice(relations(scene, left, right, *phrases))
        case _:
            return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def relations(scene: Scene, left: Thing, right: Thing, a: str, b: str) -> list[str]:
    """Everything that is true of where two things stand. a, b: what they are called."""
    found = []
    if across(right, scene.camera) - across(left, scene.camera) > SIDE_BY_SIDE:
        found += [f"{a} to the left of {b}", f"{a} left of {b}", f"{b} to the right of {a}", f"{b} right of {a}", f"{a} next to {b}", f"{a} and {b}"]
    if abs(left.z - right.z) > ONE_BEHIND_THE_OTHER or not found:
        front, back = (a, b) if left.z < right.z else (b, a)
        found += [f"{front} in front of {back}", f"{back} behind {front}"] * 2
    return found


def phrase(thing: Thing, rng: Random, manner: Manner) -> str:
    size = "large" if thing.large else "small"
    words = [word for word in (size, thing.material) if rng.random() < manner.words] + [thing.colour, thing.shape]
    sentence = " ".join(said(word, rng, manner) for word in words)
    return f"{'an' if sentence[0] in 'aeiou' else 'a'} {sentence}"


def said(word: str, rng: Random, manner: Manner) -> str:
    others = SYNONYMS.get(word, ())
    return rng.choice(others) if others and rng.random() < manner.synonyms else word
