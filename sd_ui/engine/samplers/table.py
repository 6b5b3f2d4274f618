"""Names of samplers to diffusers' scheduler classes: what each must be told so that it means what the name means elsewhere."""

from collections.abc import Mapping
from typing import Any

import diffusers

from sd_ui.spec.samplers import resolved

LINSPACE = {"timestep_spacing": "linspace", "steps_offset": 1}  # the offset is for "leading" alone; stock pipelines warn where it is missing
DPM = {**LINSPACE, "algorithm_type": "dpmsolver++"}
SDE = {**LINSPACE, "algorithm_type": "sde-dpmsolver++"}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {**DPM, "solver_order": 2}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {**SDE, "solver_order": 2}),
    "DPM++ 3M SDE": ("DPMSolverMultistepScheduler", {**SDE, "solver_order": 3}),
    "Euler": ("EulerDiscreteScheduler", LINSPACE),
    "Euler a": ("EulerAncestralDiscreteScheduler", LINSPACE),
    "Heun": ("HeunDiscreteScheduler", LINSPACE),
    "LMS": ("LMSDiscreteScheduler", LINSPACE),
    "DPM2": ("KDPM2DiscreteScheduler", LINSPACE),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", LINSPACE),
    "UniPC": ("UniPCMultistepScheduler", {**LINSPACE, "solver_order": 2}),
    "DEIS": ("DEISMultistepScheduler", {**LINSPACE, "solver_order": 2}),
    "DDIM": ("DDIMScheduler", {**LEADING, "clip_sample": False}),
    "PLMS": ("PNDMScheduler", {**LEADING, "skip_prk_steps": True}),
    "LCM": ("LCMScheduler", {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}),
}
FLAGS = {
    "Uniform": {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
}


def scheduler(name: str, schedule: str, model: Mapping[str, Any]) -> Any:
    """A fresh scheduler: it holds the state of one run. model: the model's own facts (betas, prediction type)."""
    kind, told = SCHEDULERS[name]
    facts = {key: value for key, value in model.items() if value is not None and key in ACCEPTED}
    return getattr(diffusers, kind)(**facts, **told, **FLAGS[resolved(name, schedule)])


ACCEPTED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
