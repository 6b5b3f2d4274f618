"""A model's noise levels: from the betas that it was trained with to sigma, noise over signal; between two of them, log sigma is interpolated."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]

FAINTEST = 4.8973451890853435e-08  # what A1111 leaves of the signal where a model was trained with none: sigma stays finite
DISTILLED = 50  # the steps in which LCM was taught (Luo et al. 2023)


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """sigmas: ascending, one for each training step. prediction: what the model says, "epsilon", "v_prediction" or "sample".

    Latents of a sampler are clean + sigma * noise; the model sees them with unit variance (Karras et al. 2022, table 1, "DDIM").
    """

    sigmas: Numbers
    prediction: str = "epsilon"

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "NoiseLevels":
        """facts: of `Loaded.scheduler_config`: trained_betas, or beta_schedule with beta_start and beta_end; rescale_betas_zero_snr."""
        kept = np.cumprod(1 - betas(facts))
        if facts.get("rescale_betas_zero_snr"):
            kept = without_signal_at_the_end(kept)
        rough = kept.astype(np.float32)  # as precise as published programs keep it, so that their sigmas are ours
        return cls((((1 - rough) / rough) ** 0.5).astype(np.float64), facts.get("prediction_type") or "epsilon")

    def __len__(self) -> int:
        return len(self.sigmas)

    @cached_property
    def log_sigmas(self) -> Numbers:
        return np.log(self.sigmas)

    @property
    def lowest(self) -> float:
        return float(self.sigmas[0])

    @property
    def highest(self) -> float:
        return float(self.sigmas[-1])

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last training step."""
        return 0.0, len(self) - 1.0

    def evenly(self, points: int) -> Numbers:
        """Timesteps from the last to the first."""
        first, last = self.ends
        return np.linspace(last, first, points)

    def along(self, sigma: float) -> float:
        """Where a path of noise is at this level; any rising function of sigma would do."""
        return sigma

    def timestep(self, sigma: float) -> float:
        """Between 0 and the number of training steps - 1, with a fraction."""
        return float(np.interp(np.log(sigma), self.log_sigmas, np.arange(len(self))))

    def sigma(self, timestep: float) -> float:
        return float(np.exp(np.interp(timestep, np.arange(len(self)), self.log_sigmas)))

    # ---------------------------------------------------------------- latents
    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        """As the model wants to see it."""
        return x / (sigma**2 + 1) ** 0.5

    def noised(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        return clean + noise * sigma

    def denoised(self, said: Tensor, x: Tensor, sigma: float) -> Tensor:
        """What the model said of x, solved for the clean latent. v: Salimans and Ho 2022."""
        match self.prediction:
            case "epsilon":
                return x - said * sigma
            case "v_prediction":
                return x / (sigma**2 + 1) - said * (sigma / (sigma**2 + 1) ** 0.5)
        return said


@dataclass(frozen=True, eq=False)
class DistilledLevels(NoiseLevels):
    """The few levels at which LCM was taught: the model is asked at the nearest of them. Level i is training step first + i * every."""

    first: int = 0
    every: int = 1

    @classmethod
    def thinned(cls, levels: NoiseLevels) -> "DistilledLevels":
        every = max(1, len(levels) // DISTILLED)
        first = (len(levels) - 1) % every
        return cls(levels.sigmas[first::every], levels.prediction, first, every)

    @property
    def ends(self) -> tuple[float, float]:
        return float(self.first), float(self.first + (len(self) - 1) * self.every)

    def timestep(self, sigma: float) -> float:
        return float(self.first + int(np.abs(np.log(sigma) - self.log_sigmas).argmin()) * self.every)

    def sigma(self, timestep: float) -> float:
        return super().sigma((timestep - self.first) / self.every)


def betas(facts: Mapping[str, Any]) -> Numbers:
    """How much noise each training step adds. squaredcos_cap_v2: Nichol and Dhariwal 2021."""
    if facts.get("trained_betas") is not None:
        return np.asarray(facts["trained_betas"], dtype=np.float64)
    steps, first, last = facts["num_train_timesteps"], facts["beta_start"], facts["beta_end"]
    match facts["beta_schedule"]:
        case "scaled_linear":
            return np.linspace(first**0.5, last**0.5, steps) ** 2
        case "squaredcos_cap_v2":
            kept = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
            return np.minimum(1 - kept[1:] / kept[:-1], 0.999)
    return np.linspace(first, last, steps)


def without_signal_at_the_end(kept: NDArray[Any]) -> NDArray[Any]:
    """Shifts and scales what is kept of the signal, so that the last step keeps none (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(kept)
    shifted = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return np.append(shifted[:-1] ** 2, FAINTEST)
