"""The A/B of noise schedules: the same small U-Net, data, seed and number of samples under each; then the mildest that costs nothing.

Mild, so that image-to-image at a denoising strength of 0.3 is a light change; but at 0.75 it must be a strong one, in which the prompt prevails.
It comes before the long training, because the schedule is baked into the weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path

COSTS_NOTHING = 0.04  # below the best, in the mean of floor, sky and colour: what so few prompts cannot tell from chance
ASKED = ("floor", "sky", "colour")
LIGHT, STRONG, FULL = 0.3, 0.75, 0.95  # denoising strengths that are looked at
PREVAILS = 0.8  # of the repainted things have the colour that the prompt asks for at STRONG, at least

Figures = Mapping[str, Mapping[str, float]]  # by schedule, from the strongest to the mildest


def last_line(folder: Path) -> dict[str, float]:
    told: dict[str, float] = json.loads((folder / "figures.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return told


def best(figures: Figures) -> str:
    """The strongest is the usual one, which stands where no other will do."""
    score = {name: sum(told[question] for question in ASKED) / len(ASKED) for name, told in figures.items()}
    good = [name for name in figures if score[name] >= max(score.values()) - COSTS_NOTHING]
    return [next(iter(figures)), *(name for name in good if figures[name][f"colour at {STRONG}"] >= PREVAILS)][-1]


def write(folder: Path, figures: Figures) -> None:
    told = {"schedule": best(figures), "figures": figures}
    (folder / "chosen.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
