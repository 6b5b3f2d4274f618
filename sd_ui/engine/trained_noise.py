"""The noise that a model was trained with, as a scheduler's config tells it: checked, and told in a way that every sampler understands."""

from collections.abc import Mapping
from typing import Any

import torch

from sd_ui.engine import parts

FACTS = {  # the defaults are those of diffusers' schedulers, for configs that leave one out
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False, "trained_betas": None,
}  # fmt: skip
BETA_SCHEDULES, PREDICTIONS = ("linear", "scaled_linear", "squaredcos_cap_v2"), ("epsilon", "v_prediction", "sample")
LEAST = 4.8973451890853435e-08  # the signal that is left at the end where none should be, as in A1111: with none, sigma would be infinite


def facts(config: Mapping[str, Any], prediction: str = "") -> dict[str, Any]:
    """prediction: what counts instead of what the config says; "" where nothing does. Raises BadRequest where the config makes no sense."""
    found = {name: config.get(name, default) for name, default in FACTS.items()} | ({"prediction_type": prediction} if prediction else {})
    _check_names(found)
    _check_numbers(found)
    power = {"linear": 1, "scaled_linear": 2}.get(found["beta_schedule"])
    if found["rescale_betas_zero_snr"] and found["trained_betas"] is None and power is not None:
        found["trained_betas"] = without_signal_at_the_end(found["num_train_timesteps"], found["beta_start"], found["beta_end"], power)
    return found


def without_signal_at_the_end(steps: int, beta_start: float, beta_end: float, power: int) -> list[float]:
    """Betas, linear in their root of that power, moved and scaled so that the last step is noise alone (Lin et al. 2024, arXiv 2305.08891).

    As betas, because most schedulers know no other way to be told.
    """
    betas = torch.linspace(beta_start ** (1 / power), beta_end ** (1 / power), steps, dtype=torch.float64) ** power
    root = (1 - betas).cumprod(0).sqrt()
    signal = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    signal[-1] = LEAST
    alphas = torch.cat([signal[:1], signal[1:] / signal[:-1]])
    rescaled: list[float] = (1 - alphas).tolist()
    return rescaled


def _check_names(found: Mapping[str, Any]) -> None:
    if found["beta_schedule"] not in BETA_SCHEDULES or found["prediction_type"] not in PREDICTIONS:
        raise parts.unfit("the scheduler", f"beta_schedule {found['beta_schedule']!r}, prediction_type {found['prediction_type']!r} are not known")


def _check_numbers(found: Mapping[str, Any]) -> None:
    steps, *betas = found["num_train_timesteps"], found["beta_start"], found["beta_end"]
    if type(steps) is not int or not 1 <= steps <= 10_000 or not all(type(beta) is float and 0 < beta < 1 for beta in betas):
        raise parts.unfit("the scheduler", f"{steps!r} steps with betas from {betas[0]!r} to {betas[1]!r} make no sense")
    match found["trained_betas"]:
        case None:
            pass
        case [*own] if len(own) == steps and all(type(beta) is float and 0 < beta < 1 for beta in own):
            pass
        case _:
            raise parts.unfit("the scheduler", f"trained_betas must be {steps} numbers between 0 and 1")
