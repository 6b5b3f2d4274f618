"""The examination: 256 fixed scenes and the sentences that say all of each. Training never sees these sentences as captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from training.captions import FULL, bare, caption
from training.scenes import Scene, across, numbered

SEED = 20_000  # of no training data
ALONE, PAIRS = 160, 96
CLEARLY = 0.5  # the two of a pair are seen at least so far apart, in halves of the picture


@dataclass(frozen=True)
class Question:
    scene: Scene
    prompt: str
    seed: int


def questions() -> tuple[Question, ...]:
    """First those of one thing, then those of two that stand left and right of each other."""
    alone = [asked(numbered(SEED, i, things=1), i) for i in range(ALONE)]
    pairs = [scene for i in range(4 * PAIRS) if side_by_side(scene := numbered(SEED + 1, i, things=2))]
    return (*alone, *(asked(scene, ALONE + i) for i, scene in enumerate(pairs[:PAIRS])))


def some(things: int, count: int) -> Sequence[Question]:
    return [question for question in questions() if len(question.scene.things) == things][:count]


def asked(scene: Scene, number: int) -> Question:
    rng = Random(number)
    told = (caption(scene, rng, FULL) for _ in iter(int, 1))
    return Question(scene, next(text for text in told if " front " not in text and " behind " not in text), 1000 + number)


def side_by_side(scene: Scene) -> bool:
    left, right = scene.things
    return across(right, scene.camera) - across(left, scene.camera) > CLEARLY


def secret() -> frozenset[str]:
    return frozenset(bare(question.prompt) for question in questions())
