"""What the renderer knows besides its pictures, as further lessons: heads that are trained along with a network and then thrown away.

A network that draws must know what stands where, but its own loss says so only faintly. Asked for it directly, inner features form several times
sooner: for the text encoder, what its sentence says; for the U-Net, what lies at each cell of the latent (compare Yu et al. 2024, "Representation
Alignment for Generation", who align a denoiser's features with those of a network that sees).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, log_softmax, one_hot

from training.judge import ANSWERS, UNASKED
from training.scenes import MOST_THINGS, Scene
from training.space import FIRST_THING, FLOOR, SKY
from training.world import COLOURS, FLOORS, SHAPES, SKIES

SURFACES = (*(f"sky {name}" for name in SKIES), *(f"floor {name}" for name in FLOORS), *COLOURS)
FORMS = ("none", *SHAPES)
IDS = FIRST_THING + MOST_THINGS


class Reading(nn.Module):
    """From the state of the first end token, which has seen the whole sentence: what the judge would be asked of its picture."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = nn.ModuleDict({question: nn.Linear(width, len(answers)) for question, answers in ANSWERS.items()})

    def forward(self, states: Tensor, tokens: Tensor, end: int) -> dict[str, Tensor]:
        """states (n, length, width), tokens (n, length) -> scores by question"""
        last = (tokens == end).int().argmax(1)
        read = states[torch.arange(len(states), device=states.device), last]
        return {question: head(read) for question, head in self.heads.items()}


def answered(said: Mapping[str, Tensor], asked: Mapping[str, Tensor]) -> Tensor:
    """The sum of all questions' mean losses; a question that nobody was asked costs nothing."""
    return torch.stack([mean_loss(said[question].float(), asked[question]) for question in said]).sum()


def mean_loss(scores: Tensor, asked: Tensor) -> Tensor:
    return cross_entropy(scores, asked, ignore_index=UNASKED, reduction="sum") / max(1, int((asked != UNASKED).sum()))


class Seeing(nn.Module):
    """From features of the U-Net at full latent size: what lies at each cell."""

    def __init__(self, width: int):
        super().__init__()
        self.surfaces, self.forms = nn.Conv2d(width, len(SURFACES), 1), nn.Conv2d(width, len(FORMS), 1)

    def loss(self, features: Tensor, shares: Tensor) -> Tensor:
        """shares: as `lying` says."""
        said = torch.cat([log_softmax(head(features).float(), 1) for head in (self.surfaces, self.forms)], 1)
        return -(shares * said).sum(1).mean()


def lying(ids: Tensor, scenes: Sequence[Scene], cell: int) -> Tensor:
    """ids (n, S, S) -> (n, surfaces and forms, S / cell, S / cell): the share of each cell that is of each surface and form."""
    covered = avg_pool2d(one_hot(ids.long(), IDS).movedim(-1, 1).float(), cell)
    return torch.einsum("nkhw,nkc->nchw", covered, torch.stack([kinds(scene) for scene in scenes]))


def kinds(scene: Scene) -> Tensor:
    """(ids, surfaces and forms): 1 where that which has the id is of the kind."""
    table = torch.zeros(IDS, len(SURFACES) + len(FORMS))
    of = {SKY: (f"sky {scene.sky}", "none"), FLOOR: (f"floor {scene.floor}", "none")}
    of |= {FIRST_THING + slot: (thing.colour, thing.shape) for slot, thing in enumerate(scene.things)}
    for i, (surface, form) in of.items():
        table[i, SURFACES.index(surface)] = table[i, len(SURFACES) + FORMS.index(form)] = 1
    return table
