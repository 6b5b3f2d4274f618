"""The noise levels of rectified flow (Liu et al. 2022), for families that were trained so: latents lie on the line from the clean ones to noise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from sd_ui.engine.samplers.levels import NoiseLevels, Numbers

FAINTEST = 1e-4  # of the way: what is left of the signal at its beginning
FLOW = "flow_prediction"  # the prediction type: noise less the clean latents


@dataclass(frozen=True, eq=False)
class FlowLevels(NoiseLevels):
    """sigma: the share of noise, 0 to 1. shift: towards noise, for large pictures (Esser et al. 2024, equation 23).

    whole_steps: evenly means equal parts of the whole way from noise to nothing (Flux); otherwise the last step begins at the lowest level.

    Euler and Heun (and what else only follows slopes) are the same here: (x - clean) / sigma is what the model says. Methods that suppose
    clean + sigma * noise are given `RatioLevels`.
    """

    shift: float = 1.0
    whole_steps: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "FlowLevels":
        steps, shift = facts["num_train_timesteps"], float(facts.get("shift") or 1.0)
        return cls(shifted(np.arange(1, steps + 1) / steps, shift), FLOW, shift, bool(facts.get("whole_steps")))

    def evenly(self, points: int) -> Numbers:
        return np.linspace(len(self), len(self) / points, points) if self.whole_steps else super().evenly(points)

    @property
    def ends(self) -> tuple[float, float]:
        """As diffusers has them: the lowest level is shifted once more."""
        return self.lowest * len(self), float(len(self))

    def timestep(self, sigma: float) -> float:
        return sigma * len(self)

    def sigma(self, timestep: float) -> float:
        return float(shifted(timestep / len(self), self.shift))

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        return x

    def noised(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        return (1 - sigma) * clean + sigma * noise

    def denoised(self, said: Tensor, x: Tensor, sigma: float) -> Tensor:
        return x - said * sigma


def shifted(sigma: Any, shift: float) -> Any:
    return shift * sigma / (1 + (shift - 1) * sigma)


@dataclass(frozen=True, eq=False)
class RatioLevels(NoiseLevels):
    """The same flow for methods that suppose clean + sigma * noise. sigma: noise over signal, s / (1 - s) for a share of noise s.

    A flow's latents are (1 - s) * clean + s * noise: those of such a method, shrunk by 1 + sigma. Nothing else is approximated; where the flow
    begins with noise alone, the signal is that of the ten-thousandth part of the way.
    """

    flow: FlowLevels = field(kw_only=True)

    @classmethod
    def over(cls, flow: FlowLevels) -> "RatioLevels":
        return cls(np.asarray([cls.ratio(flow, float(share)) for share in flow.sigmas]), FLOW, flow=flow)

    @staticmethod
    def ratio(flow: FlowLevels, share: float) -> float:
        share = min(share, float(shifted(1 - FAINTEST, flow.shift)))
        return share / (1 - share)

    @property
    def ends(self) -> tuple[float, float]:
        return self.flow.ends

    def evenly(self, points: int) -> Numbers:
        return self.flow.evenly(points)

    def along(self, sigma: float) -> float:
        return sigma / (1 + sigma)

    def timestep(self, sigma: float) -> float:
        return self.flow.timestep(self.along(sigma))

    def sigma(self, timestep: float) -> float:
        return self.ratio(self.flow, self.flow.sigma(timestep))

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        return x / (1 + sigma)

    def denoised(self, said: Tensor, x: Tensor, sigma: float) -> Tensor:
        return x / (1 + sigma) - said * self.along(sigma)
