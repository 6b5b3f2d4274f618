"""The flow that a model was trained on, as a scheduler's config tells it: checked, and fitted to the size of a picture."""

import math
from collections.abc import Mapping
from typing import Any

from sd_ui.engine import parts
from sd_ui.engine.samplers.flow import FLOW

PATCH = 16  # pixels of a token, along each side
FACTS = {  # the defaults are those of diffusers' scheduler, for configs that leave one out
    "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False, "base_shift": 0.5, "max_shift": 1.15,
    "base_image_seq_len": 256, "max_image_seq_len": 4096, "time_shift_type": "exponential",
}  # fmt: skip
NUMBERS = ("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len")
UNKNOWN = ("invert_sigmas", "shift_terminal")  # what other families' schedulers do


def facts(config: Mapping[str, Any], whole_steps: bool = False) -> dict[str, Any]:
    """whole_steps: see `Family`. Raises BadRequest where the config makes no sense."""
    found = {name: config.get(name, default) for name, default in FACTS.items()}
    if odd := next((name for name in UNKNOWN if config.get(name)), ""):
        raise parts.unfit("the scheduler", f"{odd} is not known for this family")
    if type(found["num_train_timesteps"]) is not int or not 1 <= found["num_train_timesteps"] <= 10_000:
        raise parts.unfit("the scheduler", f"num_train_timesteps {found['num_train_timesteps']!r} makes no sense")
    if odd := next((name for name in NUMBERS if type(found[name]) not in (int, float) or not 0 < found[name] < 1e6), ""):
        raise parts.unfit("the scheduler", f"{odd} {found[odd]!r} makes no sense")
    if found["time_shift_type"] not in ("exponential", "linear") or found["base_image_seq_len"] == found["max_image_seq_len"]:
        raise parts.unfit("the scheduler", f"time_shift_type {found['time_shift_type']!r} is not known, or its ends are one")
    return found | {"prediction_type": FLOW, "whole_steps": whole_steps}


def sized(found: Mapping[str, Any], width: int, height: int) -> Mapping[str, Any]:
    """The facts with the shift of a picture of so many pixels, where it depends on them: the more tokens, the more noise is needed to hide them.

    As Black Forest Labs' `get_schedule` has it: linear in the number of tokens, and in the exponent.
    """
    if not found.get("use_dynamic_shifting"):
        return found
    low, high = found["base_image_seq_len"], found["max_image_seq_len"]
    tokens = (width // PATCH) * (height // PATCH)
    mu = found["base_shift"] + (tokens - low) * (found["max_shift"] - found["base_shift"]) / (high - low)
    return {**found, "shift": math.exp(mu) if found["time_shift_type"] == "exponential" else mu}
