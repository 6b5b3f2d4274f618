"""The judge: a small CNN that says what stands in a picture. It is trained on renders only and never sees what the model draws."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from training.captions import SIDE_BY_SIDE
from training.scenes import Scene, across
from training.world import COLOURS, FLOORS, SHAPES, SKIES

SIDE = 128  # at 64 pixels small things are too small to be told apart
UNASKED = -100  # where a question has no answer, such as the second thing's colour where there is one thing
FIRST, SECOND = ("colour", "shape"), ("second colour", "second shape")
ANSWERS: Mapping[str, Sequence[str]] = {
    "floor": tuple(FLOORS),
    "sky": tuple(SKIES),
    "things": ("one", "two"),
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "second colour": tuple(COLOURS),
    "second shape": SHAPES,
}


class Judge(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        widths = (5, width, 2 * width, 4 * width, 6 * width, 6 * width)
        self.trunk = nn.Sequential(
            *(layer(before, after, 2 if i < 4 else 1) for i, (before, after) in enumerate(pairwise(widths))),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(16 * widths[-1], 256),
            nn.ReLU(),
        )
        self.heads = nn.ModuleDict({question: nn.Linear(256, len(answers)) for question, answers in ANSWERS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images (n, 3, h, w) in 0..1 -> scores by question"""
        if images.shape[-1] != SIDE:
            images = interpolate(images, (SIDE, SIDE), mode="area" if images.shape[-1] > SIDE else "bilinear")
        seen = self.trunk(torch.cat([images * 2 - 1, places(images)], 1))
        return {question: head(seen) for question, head in self.heads.items()}


def layer(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def places(images: Tensor) -> Tensor:
    """(n, 2, h, w): where each pixel is, so that left and right, floor and sky can be told apart."""
    n, _, h, w = images.shape
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size, device=images.device, dtype=images.dtype) for size in (h, w)), indexing="ij")
    return torch.stack([x, y]).expand(n, 2, h, w)


def truth(scene: Scene) -> dict[str, int]:
    """The right answers. Which of two is the first is asked only where they stand clearly left and right of each other."""
    things = scene.things
    clear = len(things) == 1 or (len(things) == 2 and across(things[1], scene.camera) - across(things[0], scene.camera) > SIDE_BY_SIDE)
    told = {"floor": ANSWERS["floor"].index(scene.floor), "sky": ANSWERS["sky"].index(scene.sky), "things": min(len(things), 2) - 1}
    for questions, thing in ((FIRST, things[0]), (SECOND, things[1] if len(things) == 2 else None)):
        for question, of in zip(questions, ("colour", "shape"), strict=True):
            told[question] = ANSWERS[question].index(getattr(thing, of)) if clear and thing else UNASKED
    return told


def truths(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    told = [truth(scene) for scene in scenes]
    return {question: torch.tensor([one[question] for one in told]) for question in ANSWERS}


@torch.no_grad()
def answers(judge: Judge, images: Tensor) -> dict[str, Tensor]:
    """images (n, 3, h, w) in 0..1 -> the number of its answer, by question"""
    judge.eval()
    said = [judge(some) for some in images.split(64)]
    return {question: torch.cat([one[question] for one in said]).argmax(1) for question in ANSWERS}


def right(said: Mapping[str, Tensor], asked: Mapping[str, Tensor]) -> dict[str, float]:
    """The share of right answers among those that were asked, by question."""
    shares = {}
    for question, correct in asked.items():
        counts = correct != UNASKED
        if counts.any():
            shares[question] = float((said[question][counts] == correct[counts]).float().mean())
    return shares


def confusion(said: Tensor, asked: Tensor, names: Sequence[str]) -> str:
    """A table: what it was, downwards; what the judge said, across."""
    rows = [" " * 10 + "".join(f"{name[:8]:>9}" for name in names)]
    for i, name in enumerate(names):
        counts = torch.bincount(said[asked == i], minlength=len(names)).tolist()
        rows.append(f"{name:<10}" + "".join(f"{count:>9}" for count in counts))
    return "\n".join(rows)
