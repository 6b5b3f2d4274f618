"""Samplers of models that were distilled into a few steps: LCM and TCD."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from sd_ui.engine.samplers.method import Point, Run, Tools

DATA = 0.5  # the spread of the data that LCM's boundary condition was written with
TIMES = 10.0  # and its factor for timesteps
GAMMA = 0.3  # TCD: how much of a step is noise; 0 is deterministic, 1 is LCM's


def lcm(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Latent consistency (Luo et al. 2023): jump to the clean latent, then add the noise of the next level. Levels: the distilled ones."""
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        t = tools.levels.timestep(sigma) * TIMES
        x = t / math.hypot(t, DATA) * denoised + DATA**2 / (t**2 + DATA**2) * x
        if target > 0:
            x = x + tools.noise() * target
    return x


def tcd(x: Tensor, sigmas: Sequence[float], tools: Tools) -> Run:
    """Trajectory consistency (Zheng et al. 2024, algorithm 4): go below the next level, then come back up to it with fresh noise."""
    last = len(sigmas) - 2
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        denoised, x, _ = yield Point(x, sigma, i)
        below = tools.levels.sigma(math.floor((1 - GAMMA) * tools.levels.timestep(target)))
        x = denoised + (x - denoised) / sigma * below
        if i < last:
            x = x + tools.noise() * (target**2 - below**2) ** 0.5
    return x
