"""A judge that is no network: the hue in the middle of what is known to be a thing, against the hue of the colour that was asked for."""

import colorsys

import numpy as np
import torch
from torch import Tensor

from training.render import toned
from training.world import COLOURS

WITHIN = 20 / 360  # of the colour circle
PALE = 0.30  # white, gray and black have less saturation than this
DARK, BRIGHT = 0.30, 0.62  # their brightness: black is below, white is above, gray is between


def follows(image: Tensor, thing: Tensor, colour: str) -> bool:
    """image (3, h, w) in 0..1; thing (h, w), true where it is. Whether it has the colour."""
    hue, saturation, value = median(image[:, thing])
    if colour in ("white", "gray", "black"):
        return saturation < PALE and colour == ("black" if value < DARK else "white" if value > BRIGHT else "gray")
    asked, _, _ = colorsys.rgb_to_hsv(*toned(torch.tensor(COLOURS[colour])).tolist())
    away = abs(hue - asked)
    return saturation >= PALE / 2 and min(away, 1 - away) <= WITHIN


def median(pixels: Tensor) -> tuple[float, float, float]:
    """pixels (3, n) -> hue, saturation and value, each 0..1; the median of hues is taken on the circle, weighted by saturation."""
    rows = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels.T.tolist()])
    around = np.exp(2j * np.pi * rows[:, 0]) * rows[:, 1]
    middle = np.angle(np.median(around.real) + 1j * np.median(around.imag)) / (2 * np.pi) % 1
    return float(middle), float(np.median(rows[:, 1])), float(np.median(rows[:, 2]))
