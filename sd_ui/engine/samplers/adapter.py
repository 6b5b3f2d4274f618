"""Diffusers' schedulers as samplers that ask. What they compute is theirs, bit for bit; the clean latent at each call is worked out here."""

import inspect
from typing import Any

import torch
from torch import Generator, Tensor

from sd_ui.engine.denoise import Ask, Prediction, Sampling, Start, Step

SIGMA_SPACE = {
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
}


class SchedulerPlan:
    """A scheduler for one run: the last `run` of `steps` sampling steps. It holds that run's state, so it is used once."""

    def __init__(self, scheduler: Any, steps: int, run: int, device: torch.device) -> None:
        self._scheduler = scheduler
        allow(scheduler, steps)
        scheduler.set_timesteps(steps, device=device)
        first = (steps - run) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        self.timesteps: Tensor = scheduler.timesteps[first:]
        self.total = run

    def from_noise(self, noise: Tensor) -> Tensor:
        return noise * self._scheduler.init_noise_sigma

    def noised(self, clean: Tensor, noise: Tensor) -> Tensor:
        noisy: Tensor = self._scheduler.add_noise(clean, noise, self.timesteps[:1])
        return noisy

    def sample(self, start: Start, randomness: Generator) -> Sampling:
        scheduler, latents = self._scheduler, start.latents
        told = step_arguments(scheduler, randomness)
        for i, t in enumerate(self.timesteps):
            prediction = yield Ask(scheduler.scale_model_input(latents, t), t)
            signal, noise = noise_level(scheduler, t)
            denoised = predicted_clean(scheduler, prediction, latents, signal, noise)
            latents = scheduler.step(prediction.guided, t, latents, **told, return_dict=False)[0]
            if start.held is not None:
                latents = start.held.into(latents, self._kept(start, i))
            yield Step(self._number(i), self.total, t, float(noise / signal), latents, denoised, prediction)
        return latents

    def _number(self, call: int) -> int:
        """The sampling step that a model call belongs to, from 1. Not by its timestep: steps close together are rounded to the same one."""
        order = self._scheduler.order
        warming_up = len(self.timesteps) - (order * self.total - order + 1)  # PLMS calls once more than it has steps, and begins with it
        return max(0, call - warming_up) // order + 1

    def _kept(self, start: Start, i: int) -> Tensor:
        """The held part as noisy as the rest will be at the next model call, and clean after the last."""
        assert start.held is not None
        if i + 1 == len(self.timesteps):
            return start.held.clean
        noisy: Tensor = self._scheduler.add_noise(start.held.clean, start.held.noise, self.timesteps[i + 1 : i + 2])
        return noisy


def allow(scheduler: Any, steps: int) -> None:
    """LCM refuses more steps than it was distilled with; with as many as are asked for it spreads them over the whole schedule."""
    distilled = scheduler.config.get("original_inference_steps")
    if distilled is not None and distilled < steps:
        scheduler.register_to_config(original_inference_steps=steps)


def step_arguments(scheduler: Any, randomness: Generator) -> dict[str, Any]:
    accepted = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in {"generator": randomness, "eta": 0.0}.items() if name in accepted}


# ---------------------------------------------------------------- the predicted clean latent
def noise_level(scheduler: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """(a, s) with x = a * clean + s * noise, for the latents that are about to be stepped."""
    if getattr(scheduler, "sigmas", None) is None or not hasattr(scheduler, "_step_index"):  # DDIM, PNDM, LCM
        kept = scheduler.alphas_cumprod[int(t)]
        return kept.sqrt(), (1 - kept).sqrt()
    if scheduler.step_index is None:
        scheduler._init_step_index(t)
    sigma = sub_step_sigma(scheduler)
    if type(scheduler).__name__ in SIGMA_SPACE:
        return torch.ones_like(sigma), sigma
    signal = 1 / (sigma**2 + 1).sqrt()
    return signal, sigma * signal


def sub_step_sigma(scheduler: Any) -> Tensor:
    """The second-order KDPM2 schedulers ask the second time at a point between two sigmas."""
    name, i = type(scheduler).__name__, scheduler.step_index
    if name.startswith("KDPM2") and not scheduler.state_in_first_order:
        between: Tensor = scheduler.sigmas_interpol[i if name == "KDPM2DiscreteScheduler" else i - 1]
        return between
    sigma: Tensor = scheduler.sigmas[i]
    return sigma


def predicted_clean(scheduler: Any, prediction: Prediction, latents: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Solves the model's answer for the clean latent, for noise (epsilon), v (Salimans and Ho 2022) and sample prediction."""
    x, out = latents.float(), prediction.guided.float()
    match scheduler.config.prediction_type:
        case "epsilon":
            return (x - noise * out) / signal
        case "sample":
            return out
    if type(scheduler).__name__ in SIGMA_SPACE:
        return x / (noise**2 + 1) - out * noise / (noise**2 + 1).sqrt()
    return signal * x - noise * out
