"""Schedules are the published ones: their formulas again, in float64, and the values that their authors print."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from diffusers.schedulers import AysSchedules
from scipy import stats

from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.levels import DistilledLevels, NoiseLevels
from sd_ui.engine.samplers.sigmas import SCHEDULES, Wanted, distilled, leading
from tests.checkpoints import NOISE

LEVELS = NoiseLevels.of(NOISE)
LOW, HIGH = 0.0291675, 14.614642
CPU = torch.device("cpu")


def of(name, steps=10, levels=LEVELS, family="sd"):
    return SCHEDULES[name](Wanted(steps, levels, family))


def between(low, high, places):
    return low + places * (high - low)


# ---------------------------------------------------------------- levels
def test_the_levels_are_those_of_the_betas():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)
    assert LEVELS.sigmas == pytest.approx((((1 - kept) / kept) ** 0.5).numpy(), rel=1e-4)
    assert (LEVELS.lowest, LEVELS.highest) == pytest.approx((LOW, HIGH), rel=1e-5)


@pytest.mark.parametrize("facts", [NOISE, {**NOISE, "beta_schedule": "linear"}, {**NOISE, "beta_schedule": "squaredcos_cap_v2"},
                                   {**NOISE, "trained_betas": np.linspace(1e-4, 0.02, 400).tolist()}])  # fmt: skip
def test_every_kind_of_betas_is_read_as_diffusers_reads_it(facts):
    theirs = EulerDiscreteScheduler(**facts)
    kept = theirs.alphas_cumprod.double().numpy()
    assert NoiseLevels.of(facts).sigmas == pytest.approx(((1 - kept) / kept) ** 0.5, rel=1e-3)


def test_a_model_trained_without_any_signal_starts_from_sigma_4500():
    levels = NoiseLevels.of({**NOISE, "rescale_betas_zero_snr": True})
    theirs = EulerDiscreteScheduler(**NOISE, rescale_betas_zero_snr=True).alphas_cumprod.double().numpy()
    assert levels.highest == pytest.approx(4518.8, rel=1e-4) and levels.lowest == pytest.approx(LOW, rel=1e-4)
    assert levels.sigmas[:-1] == pytest.approx(((1 - theirs) / theirs)[:-1] ** 0.5, rel=5e-3)


def test_between_two_levels_log_sigma_is_interpolated():
    assert LEVELS.sigma(500.25) == pytest.approx(LEVELS.sigma(500) ** 0.75 * LEVELS.sigma(501) ** 0.25, rel=1e-9)
    for t in (0, 0.5, 313.7, 999):
        assert LEVELS.timestep(LEVELS.sigma(t)) == pytest.approx(t, abs=1e-6)
    assert (LEVELS.timestep(100.0), LEVELS.timestep(1e-4)) == (999, 0)


def test_lcm_knows_fifty_levels_and_asks_at_the_nearest():
    levels = DistilledLevels.thinned(LEVELS)
    assert len(levels) == 50 and levels.ends == (19, 999)
    assert levels.timestep(LEVELS.sigma(612)) == 619 and levels.timestep(LEVELS.sigma(607)) == 599
    assert levels.sigma(619) == pytest.approx(LEVELS.sigma(619))


# ---------------------------------------------------------------- schedules
EXPECTED = {
    "Uniform": lambda n: [*(LEVELS.sigma(t) for t in np.linspace(999, 0, n)), 0],
    "Normal": lambda n: [*(LEVELS.sigma(t) for t in np.linspace(999, 0, n)), 0],
    "SGM Uniform": lambda n: [*(LEVELS.sigma(t) for t in np.linspace(999, 0, n + 1)[:-1]), 0],
    "Karras": lambda n: [*(between(HIGH ** (1 / 7), LOW ** (1 / 7), np.linspace(0, 1, n)) ** 7), 0],
    "Exponential": lambda n: [*np.geomspace(HIGH, LOW, n), 0],
    "Polyexponential": lambda n: [*np.geomspace(HIGH, LOW, n), 0],
    "KL Optimal": lambda n: [math.tan(i / n * math.atan(LOW) + (1 - i / n) * math.atan(HIGH)) for i in range(n + 1)],
    "Simple": lambda n: [*(LEVELS.sigmas[-(1 + int(i * (1000 / n)))] for i in range(n)), 0],
    "DDIM": lambda n: [*LEVELS.sigmas[range(1, 1000, 1000 // n)][::-1], 0],
    "Beta": lambda n: [*(LOW + stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6) * (HIGH - LOW)), 0],
    "Turbo": lambda n: [*(LEVELS.sigmas[round(1000 / n * i - 1)] for i in range(n, 0, -1)), 0],
}


@pytest.mark.parametrize("steps", [1, 2, 10, 20, 30])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_schedule_is_the_formula_of_its_authors(name, steps):
    assert of(name, steps) == pytest.approx(EXPECTED[name](steps), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("family", "theirs"), [("sd", "StableDiffusionSigmas"), ("sdxl", "StableDiffusionXLSigmas")])
def test_align_your_steps_is_the_published_table_and_interpolated_elsewhere(family, theirs):
    published = AysSchedules[theirs]
    assert of("Align Your Steps", 11, family=family)[:10] == pytest.approx(published[:10], abs=2e-3)
    twice = of("Align Your Steps", 21, family=family)
    assert twice[:21:2] == pytest.approx(of("Align Your Steps", 11, family=family)[:11], rel=1e-5)
    assert twice[1] == pytest.approx(math.sqrt(twice[0] * twice[2]), rel=1e-5)
    assert of("Align Your Steps", 1)[0] > 14


@pytest.mark.parametrize(("name", "flag"), [("Karras", "use_karras_sigmas"), ("Exponential", "use_exponential_sigmas"), ("Beta", "use_beta_sigmas")])
def test_diffusers_has_the_same_karras_exponential_and_beta(name, flag):
    scheduler = DPMSolverMultistepScheduler(**NOISE, timestep_spacing="linspace", **{flag: True})
    scheduler.set_timesteps(20)
    assert of(name, 20) == pytest.approx(scheduler.sigmas.tolist(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 20, 50, 150])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("facts", [NOISE, {**NOISE, "rescale_betas_zero_snr": True}, {**NOISE, "trained_betas": [0.01] * 10}])
def test_sigmas_fall_for_every_model(name, steps, facts):
    for sampler in ("Euler", "DPM2", "LCM"):
        sigmas = table.plan(sampler, name, facts, steps, steps, CPU).sigmas
        assert len(sigmas) >= 2 and all(a > b >= 0 for a, b in pairwise(sigmas))
        assert max(sigmas) <= max(NoiseLevels.of(facts).highest, 14.615) * 1.0001


def test_the_last_but_one_sigma_is_left_out_where_a1111_does():
    for name in ("DPM2", "DPM2 a", "DPM++ 3M SDE"):
        plan = table.plan(name, "Karras", NOISE, 10, 10, CPU)
        assert plan.sigmas == [*of("Karras", 11)[:-2], 0] and plan.total == 10
    assert table.plan("Euler", "Karras", NOISE, 10, 10, CPU).sigmas == of("Karras", 10)


# ---------------------------------------------------------------- spacings of their own
@pytest.mark.parametrize(("steps", "first", "points"), [(20, 951, 21), (25, 961, 26), (30, 991, 31), (28, 981, 29), (1, 1, 2), (50, 981, 51)])
def test_ddim_goes_by_the_training_steps_of_compvis(steps, first, points):
    sigmas = leading(Wanted(steps, LEVELS))
    assert len(sigmas) == points and LEVELS.timestep(sigmas[0]) == pytest.approx(first, abs=1e-3)
    assert LEVELS.timestep(sigmas[-1]) == pytest.approx(0 if 1000 % steps == 0 else 1, abs=1e-3)


def test_tcd_goes_by_the_steps_of_its_teacher():
    assert [round(LEVELS.timestep(s)) for s in distilled(Wanted(4, LEVELS))] == [999, 759, 499, 259, 0]


def test_img2img_runs_the_last_steps_of_the_whole_schedule():
    whole, part = (table.plan("Euler", "Karras", NOISE, 20, run, CPU).sigmas for run in (20, 8))
    assert part == whole[12:] and len(part) == 9
    noisy = [table.plan("DPM++ SDE", "Karras", NOISE, 20, run, CPU).whole for run in (20, 8)]
    assert noisy[0] == noisy[1]  # one path of noise, wherever the run starts
