"""A sampling method on its way down the model's noise levels: the loop's `Plan`. It keeps nothing between two runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sd_ui.engine.denoise import Ask, Prediction, Randomness, Sampling, Start, Step
from sd_ui.engine.guidance import Guide, plain
from sd_ui.engine.samplers.brownian import BrownianPath
from sd_ui.engine.samplers.levels import NoiseLevels
from sd_ui.engine.samplers.method import Method, Point, Run, Said, Tools


def usual() -> Guide:
    return plain


@dataclass(frozen=True)
class SigmaPlan:
    """sigmas: of this run; they fall, but where a restart goes back up. whole: lowest and highest of the schedule that they were cut from.

    guides: makes what joins the predictions with and without the prompt, anew for each run: what it remembers is in the tape, too.
    keeps_variance: the method was published for latents of unit variance: the run starts and ends with them (DDIM, PLMS, UniPC, TCD).
    """

    method: Method
    levels: NoiseLevels
    sigmas: Sequence[float]
    whole: tuple[float, float]
    keeps_variance: bool
    device: torch.device
    guides: Callable[[], Guide] = usual

    @property
    def total(self) -> int:
        return sum(target < sigma for sigma, target in pairwise(self.sigmas))

    @property
    def first(self) -> float:
        return self.sigmas[0]

    def from_noise(self, noise: Tensor) -> Tensor:
        return noise * ((self.first**2 + 1) ** 0.5 if self.keeps_variance else self.first)

    def noised(self, clean: Tensor, noise: Tensor) -> Tensor:
        return self.levels.noised(clean, noise, self.first)

    def sample(self, start: Start, randomness: Randomness) -> Sampling:
        run = self.method(start.latents, self.sigmas, self.tools(start.latents.shape, randomness))
        guide = self.guides()
        point: Point | None = next(run)
        assert point is not None
        x = point.x
        while point is not None:
            t = self.timestep(point.sigma)
            prediction = yield Ask(self.levels.scaled(x, point.sigma), t)
            said = self.understood(guide, prediction, x, point.sigma)
            asked, point, x = point, *self.advanced(run, said)
            if start.held is not None:
                x = start.held.into(x, self.kept(start, point), point.step / self.total if point else 1)
            yield Step(asked.step + 1, self.total, t, asked.sigma, x, said.denoised, prediction)
        return x

    def advanced(self, run: Run, said: Said) -> tuple[Point | None, Tensor]:
        """The method's next question and its latents; None and the last latents at its end."""
        try:
            point = run.send(said)
        except StopIteration as end:
            x: Tensor = end.value
            return None, self.levels.scaled(x, self.sigmas[-1]) if self.keeps_variance else x
        return point, point.x

    def understood(self, guide: Guide, prediction: Prediction, x: Tensor, sigma: float) -> Said:
        def clean(said: Tensor) -> Tensor:
            return self.levels.denoised(said, x, sigma)

        denoised = guide(prediction, clean)
        return Said(denoised, x, denoised if prediction.uncond is None else clean(prediction.uncond))

    def kept(self, start: Start, point: Point | None) -> Tensor:
        """The held part as noisy as the rest is at the next question, and clean after the last."""
        assert start.held is not None
        return start.held.clean if point is None else self.levels.noised(start.held.clean, start.held.noise, point.sigma)

    def timestep(self, sigma: float) -> Tensor:
        return torch.tensor(self.levels.timestep(sigma), dtype=torch.float32, device=self.device)

    def tools(self, shape: torch.Size, randomness: Randomness) -> Tools:
        along, (low, high) = self.levels.along, self.whole
        path = BrownianPath(randomness.seed, along(low), along(high), lambda seed: randomness.unit(seed, shape))
        return Tools(
            self.levels,
            noise=lambda: randomness.normal(shape).to(self.device),
            brownian=lambda sigma, target: path.between(along(sigma), along(target)).to(self.device),
        )
