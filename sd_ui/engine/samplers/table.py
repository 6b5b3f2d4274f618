"""Names of samplers to their methods: which formula, from which spacing of its own, started how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from sd_ui.engine.samplers import consistency, dpm, euler, multistep, sde, sigmas
from sd_ui.engine.samplers.flow import FLOW, FlowLevels, RatioLevels
from sd_ui.engine.samplers.levels import DistilledLevels, NoiseLevels
from sd_ui.engine.samplers.method import Method
from sd_ui.engine.samplers.plan import SigmaPlan
from sd_ui.engine.samplers.restart import restarted
from sd_ui.engine.samplers.sigmas import SCHEDULES, Sigmas, Wanted, without_penultimate
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.samplers import resolved


@dataclass(frozen=True)
class Row:
    """own: the spacing that the sampler brings itself, which is its "Uniform". discard: A1111's "discard penultimate sigma".

    keeps_variance: see `SigmaPlan`. distilled: it asks only at LCM's levels. path: what becomes of the sigmas at last.
    """

    method: Method
    own: Callable[[Wanted], Sigmas] | None = None
    discard: bool = False
    keeps_variance: bool = False
    distilled: bool = False
    path: Callable[[Sigmas], Sigmas] | None = None


FOLLOWS_FLOW = ("Euler", "Heun")  # in its own variables
BY_RATIO = (  # in noise over signal, down to the end in whole steps: one from next to nothing is a long one in its logarithm
    "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM2", "DEIS",
)  # fmt: skip
ROWS: dict[str, Row] = {
    "DPM++ 2M": Row(multistep.dpmpp_2m),
    "DPM++ SDE": Row(sde.dpmpp_sde),
    "DPM++ 2M SDE": Row(sde.dpmpp_2m_sde),
    "DPM++ 2M SDE Heun": Row(sde.dpmpp_2m_sde_heun),
    "DPM++ 2S a": Row(dpm.dpmpp_2s_a),
    "DPM++ 3M SDE": Row(sde.dpmpp_3m_sde, discard=True),
    "Euler a": Row(euler.euler_a),
    "Euler": Row(euler.euler),
    "LMS": Row(multistep.lms),
    "Heun": Row(euler.heun),
    "DPM2": Row(euler.dpm2, discard=True),
    "DPM2 a": Row(euler.dpm2_a, discard=True),
    "DPM fast": Row(dpm.dpm_fast),
    "DPM adaptive": Row(dpm.dpm_adaptive),
    "Restart": Row(euler.heun, path=restarted),
    "DDIM": Row(euler.euler, own=sigmas.leading, keeps_variance=True),
    "DDIM CFG++": Row(euler.ddim_cfgpp, own=sigmas.leading, keeps_variance=True),
    "PLMS": Row(multistep.plms, own=sigmas.leading, keeps_variance=True),
    "UniPC": Row(multistep.unipc, own=sigmas.continuous, keeps_variance=True),
    "LCM": Row(consistency.lcm, distilled=True),
    "TCD": Row(consistency.tcd, own=sigmas.distilled, keeps_variance=True),
    "DEIS": Row(multistep.deis),
}


def plan(name: str, schedule: str, facts: Mapping[str, Any], steps: int, run: int, device: torch.device, family: str = "sd") -> SigmaPlan:
    """The last `run` of `steps` sampling steps, by the names of `spec.samplers`.

    facts: of the model, as `Loaded.scheduler_config` has them. family: "sd" or "sdxl". Raises BadRequest("sampler") where it cannot go with them.
    """
    row = ROWS[name]
    levels = levels_of(name, facts)
    levels = DistilledLevels.thinned(levels) if row.distilled else levels
    flow = replace(levels, whole_steps=True) if isinstance(levels, FlowLevels) and name in BY_RATIO else None
    whole = planned(row, resolved(name, schedule, is_flow(facts)), Wanted(steps, flow or levels, family))
    if flow is not None:
        whole, levels = [RatioLevels.ratio(flow, share) for share in whole], RatioLevels.over(flow)
    rest = whole[min(steps - run, len(whole) - 2) :]
    ends = min(sigma for sigma in whole if sigma > 0), whole[0]
    return SigmaPlan(row.method, levels, row.path(rest) if row.path else rest, ends, row.keeps_variance, device)


def is_flow(facts: Mapping[str, Any]) -> bool:
    return facts.get("prediction_type") == FLOW


def levels_of(name: str, facts: Mapping[str, Any]) -> NoiseLevels:
    if not is_flow(facts):
        return NoiseLevels.of(facts)
    if name not in FOLLOWS_FLOW + BY_RATIO:
        fitting = ", ".join(FOLLOWS_FLOW + BY_RATIO)
        raise BadRequest("sampler", f"{name} is not made for this kind of model (rectified flow), which goes with {fitting}")
    return FlowLevels.of(facts)


def planned(row: Row, schedule: str, wanted: Wanted) -> Sigmas:
    spacing = row.own if row.own is not None and schedule == "Uniform" else SCHEDULES[schedule]
    found = without_penultimate(spacing(replace(wanted, steps=wanted.steps + 1))) if row.discard else spacing(wanted)
    return [found[0], *(target for sigma, target in pairwise(found) if target < sigma)]  # few levels, many steps: some are the same
