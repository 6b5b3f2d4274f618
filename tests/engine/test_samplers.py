"""Every sampler is the published algorithm of its name: compared with it step for step in float64, on a model that knows its answer."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DEISMultistepScheduler, TCDScheduler, UniPCMultistepScheduler

from docs.make_samplers import TARGET, page
from sd_ui.engine.denoise import Prediction, Start, answered
from sd_ui.engine.noise import randomness
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.levels import NoiseLevels
from sd_ui.engine.samplers.sde import dpmpp_sde, published
from sd_ui.engine.samplers.sigmas import karras_between
from sd_ui.spec.samplers import EVERY, SAMPLERS
from tests.checkpoints import NOISE
from tests.engine import reference

CPU = torch.device("cpu")
SHAPE = (1, 4, 8, 8)
CLOSE = 1e-4
FACTS = {**NOISE, "prediction_type": "epsilon"}
BENT = np.linspace(1e-4, 0.999, 1000) ** 3 * 0.05 + 1e-4
MODELS = {
    "epsilon": FACTS,
    "v": {**FACTS, "prediction_type": "v_prediction"},
    "zero SNR": {**FACTS, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    "own betas": {**FACTS, "trained_betas": BENT.tolist()},
}
PLAIN = {"Euler": reference.euler, "Euler a": reference.euler_a, "Heun": reference.heun, "LMS": reference.lms, "DPM2": reference.dpm2,
         "DPM2 a": reference.dpm2_a, "DPM++ 2S a": reference.dpmpp_2s_a, "DPM++ 2M": reference.dpmpp_2m, "DPM++ SDE": reference.dpmpp_sde,
         "DPM++ 2M SDE": reference.dpmpp_2m_sde, "DPM++ 2M SDE Heun": reference.dpmpp_2m_sde_heun,
         "DPM++ 3M SDE": reference.dpmpp_3m_sde}  # fmt: skip
SDE = [name for name in PLAIN if "SDE" in name]


def clean(x: torch.Tensor, sigma: float, shift: float = 0.0) -> torch.Tensor:
    """The best guess for data at +-0.8 with a spread of 0.5: neither linear nor wild."""
    spread = 0.25 + sigma**2
    centre = 0.8 * torch.tanh(0.8 * (x + shift) / spread)
    return centre + (x - centre) * 0.25 / spread


def model(levels: NoiseLevels, denoise=clean, uncond=None):
    """The same as what a U-Net would say."""

    def said(denoised, x, sigma):
        noise = (x - denoised) / sigma
        if levels.prediction == "epsilon":
            return noise.float()
        return ((noise - sigma * denoised) / (sigma**2 + 1) ** 0.5).float()

    def predict(latents, t):
        sigma = levels.sigma(float(t))
        x = latents.double() * (sigma**2 + 1) ** 0.5
        guided = said(denoise(x, sigma), x, sigma)
        return Prediction(guided, guided, None if uncond is None else said(uncond(x, sigma), x, sigma))

    return predict


class Noise:
    """The noise of a run, as the reference asks for it: the same stream, or the same path."""

    def __init__(self, plan, seed):
        self.source = randomness(seed)
        self.first = self.source.normal(SHAPE)
        self.tools = plan.tools(torch.Size(SHAPE), self.source)
        steps = [pair for pair in pairwise(plan.sigmas) if pair[1] > 0]
        self.known = [sigma for pair in steps for sigma in (published(*pair) if plan.method is dpmpp_sde else pair)]

    def stream(self, sigma, target):
        return self.tools.noise().double()

    def path(self, sigma, target):
        return self.tools.brownian(self.asked(sigma), self.asked(target)).double()

    def asked(self, sigma):
        """As it is asked in float32: on a Brownian path, numbers next to each other are different noise."""
        return min(self.known, key=lambda known: abs(known - sigma))


def plan_of(name, schedule="Automatic", steps=12, facts=FACTS, run=None):
    return table.plan(name, schedule, facts, steps, run or steps, CPU)


def ours(plan, seed=3, uncond=None, denoise=clean):
    source = randomness(seed)
    begun = Start(plan.from_noise(source.normal(SHAPE)))
    return last(answered(plan.sample(begun, source), model(plan.levels, denoise, uncond)))


def last(steps):
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def far(one, other):
    assert one.isfinite().all()
    return float((one.double() - other.double()).abs().max())


# ---------------------------------------------------------------- the algorithms
@pytest.mark.parametrize("schedule", EVERY)
@pytest.mark.parametrize("name", PLAIN)
def test_a_sampler_is_k_diffusions_with_every_schedule(name, schedule):
    plan = plan_of(name, schedule)
    noise = Noise(plan, 3)
    theirs = PLAIN[name](clean, noise.first.double() * plan.sigmas[0], plan.sigmas, noise.path if name in SDE else noise.stream)
    assert far(ours(plan), theirs) < CLOSE


@pytest.mark.parametrize("facts", MODELS)
@pytest.mark.parametrize("name", PLAIN)
def test_whatever_the_model_was_trained_to_say(name, facts):
    plan = plan_of(name, facts=MODELS[facts])
    noise = Noise(plan, 3)
    theirs = PLAIN[name](clean, noise.first.double() * plan.sigmas[0], plan.sigmas, noise.path if name in SDE else noise.stream)
    assert far(ours(plan), theirs) < (CLOSE if facts != "zero SNR" else 100 * CLOSE)  # float32 at a sigma of 4500


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 11, 12, 20])
def test_dpm_fast_asks_as_often_as_steps_were_asked_for(steps):
    plan = plan_of("DPM fast", steps=steps)
    noise = Noise(plan, 3)
    levels = plan.levels
    x = noise.first.double() * levels.highest
    theirs = reference.dpm_fast(clean, x, levels.lowest, levels.highest, steps, noise.stream)
    assert far(ours(plan), theirs) < CLOSE


def test_dpm_adaptive_finds_its_own_steps():
    plan = plan_of("DPM adaptive")
    noise = Noise(plan, 3)
    theirs = reference.dpm_adaptive(clean, noise.first.double() * plan.sigmas[0], plan.levels.lowest, plan.levels.highest, noise.stream)
    assert far(ours(plan), theirs) < 5 * CLOSE


@pytest.mark.parametrize("steps", [12, 20, 35, 36, 50])
def test_restart_is_that_of_a1111(steps):
    plan = plan_of("Restart", steps=steps)
    noise = Noise(plan, 3)
    sigmas = karras_between(plan.levels.lowest, plan.levels.highest, steps)
    theirs = reference.restart(clean, noise.first.double() * sigmas[0], sigmas, noise.stream, lambda n, low, high: karras_between(low, high, n))
    assert plan.total == steps and far(ours(plan), theirs) < CLOSE


@pytest.mark.parametrize("facts", MODELS)
@pytest.mark.parametrize(("name", "published"), [("DDIM", reference.ddim), ("PLMS", reference.plms)])
def test_ddim_and_plms_are_those_of_compvis(name, published, facts):
    plan = plan_of(name, facts=MODELS[facts])
    theirs = published(clean, Noise(plan, 3).first.double(), plan.sigmas, None)
    assert far(ours(plan), theirs) < CLOSE


def test_cfgpp_puts_the_unconditional_noise_back():
    plan = plan_of("DDIM CFG++")

    def uncond(x, sigma):
        return clean(x, sigma, shift=0.3)

    theirs = reference.ddim_cfgpp(clean, uncond, Noise(plan, 3).first.double(), plan.sigmas)
    assert far(ours(plan, uncond=uncond), theirs) < CLOSE
    assert far(ours(plan), theirs) > 0.01


@pytest.mark.parametrize("schedule", EVERY)
def test_lcm_asks_at_the_levels_it_was_taught(schedule):
    plan = plan_of("LCM", schedule, steps=6)
    noise, levels = Noise(plan, 3), plan.levels
    taught = lambda x, sigma: clean_at(x, sigma, levels)  # noqa: E731
    theirs = reference.lcm(taught, noise.first.double() * plan.sigmas[0], plan.sigmas, noise.stream, levels.timestep)
    assert far(ours(plan), theirs) < CLOSE
    assert {levels.timestep(s) % 20 for s in plan.sigmas if s > 0} == {19}


def clean_at(x, sigma, levels):
    """The answer of a model that is asked at a level near sigma: its noise counts as sigma's."""
    near = levels.sigma(levels.timestep(sigma))
    seen = x / (sigma**2 + 1) ** 0.5 * (near**2 + 1) ** 0.5
    return x - sigma * (seen - clean(seen, near)) / near


ALIKE = [name for name, sampler in SAMPLERS.items() if sampler.schedules == EVERY and not sampler.fresh_noise]


@pytest.mark.parametrize("schedule", EVERY)
@pytest.mark.parametrize("facts", MODELS)
def test_samplers_without_fresh_noise_end_in_the_same_picture(facts, schedule):
    """Whatever the way down, with steps enough."""
    if schedule == "Beta" and facts in ("zero SNR", "own betas"):
        return  # evenly over sigmas up to hundreds, it has no steps left where the picture is decided
    ends = {name: ours(plan_of(name, schedule, 100, MODELS[facts])) for name in ALIKE}
    assert len(ends) == 7 and max(far(end, ends["Heun"]) for end in ends.values()) < 0.25


# ---------------------------------------------------------------- those that diffusers has as a reference
def theirs_by(scheduler, noise, sigmas, x):
    """A scheduler's own formulas, fed with the model's answers at the exact sigmas instead of rounded timesteps."""
    for t, sigma in zip(scheduler.timesteps, sigmas, strict=False):
        seen = x.double() * (sigma**2 + 1) ** 0.5
        said = ((seen - clean(seen, sigma)) / sigma).float()
        x = scheduler.step(said, t, x, return_dict=False, **noise)[0]
    return x


def before_zero(plan):
    """The run up to its last sigma above 0: diffusers' formulas divide by it."""
    return replace(plan, sigmas=[sigma for sigma in plan.sigmas if sigma > 0])


@pytest.mark.parametrize("schedule", ["Uniform", "Karras", "Exponential", "Simple"])
@pytest.mark.parametrize("steps", [4, 6, 12])
def test_unipc_is_the_published_one_of_order_3(schedule, steps):
    plan = before_zero(plan_of("UniPC", schedule, steps))
    scheduler = UniPCMultistepScheduler(**NOISE, solver_order=3, solver_type="bh1")
    scheduler.set_timesteps(plan.total)
    scheduler.sigmas = torch.tensor(plan.sigmas)
    noise = Noise(plan, 3).first
    theirs = theirs_by(scheduler, {}, plan.sigmas, noise)
    assert far(ours(plan), theirs) < CLOSE


@pytest.mark.parametrize("schedule", ["Uniform", "Karras", "Exponential", "Simple"])
def test_deis_is_the_published_one_of_order_2(schedule):
    plan = before_zero(plan_of("DEIS", schedule))
    scheduler = DEISMultistepScheduler(**NOISE, solver_order=2, lower_order_final=False)
    scheduler.set_timesteps(plan.total)
    scheduler.sigmas = torch.tensor(plan.sigmas)
    x = Noise(plan, 3).first * plan.sigmas[0] / (plan.sigmas[0] ** 2 + 1) ** 0.5
    theirs = theirs_by(scheduler, {}, plan.sigmas, x) * (plan.sigmas[-1] ** 2 + 1) ** 0.5
    assert far(ours(plan), theirs) < CLOSE


@pytest.mark.parametrize("name", ["UniPC", "DEIS", "DPM++ 2M", "LMS", "DPM++ 3M SDE"])
def test_the_step_to_no_noise_is_the_models_own_word(name):
    """LMS keeps its memory to the end; for the others the last step has order 1."""
    plan = plan_of(name, "Karras")
    steps = list(answered(plan.sample(Start(plan.from_noise(randomness(3).normal(SHAPE))), randomness(3)), model(plan.levels)))
    assert plan.sigmas[-1] == 0 and torch.allclose(steps[-1].latents, steps[-1].denoised, atol=1e-5) == (name != "LMS")


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_tcd_is_the_published_one(steps):
    plan = plan_of("TCD", steps=steps)
    scheduler = TCDScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=0)
    scheduler.set_timesteps(steps)
    assert [plan.levels.timestep(sigma) for sigma in plan.sigmas[:-1]] == pytest.approx(scheduler.timesteps.tolist(), abs=1e-3)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SHAPE, generator=generator)
    theirs = theirs_by(scheduler, {"generator": generator, "eta": 0.3}, plan.sigmas, x)
    assert far(ours(plan), theirs) < CLOSE


# ---------------------------------------------------------------- an oracle without a second implementation
def gauss(x, sigma):
    """The perfect denoiser for data from N(0.7, 0.5^2); where the flow takes x from one sigma to another is known."""
    return (0.25 * x + sigma**2 * 0.7) / (0.25 + sigma**2)


def flowed(x, sigma, target):
    return 0.7 + (x - 0.7) * math.sqrt((0.25 + target**2) / (0.25 + sigma**2))


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("Heun", 2), ("DPM2", 2), ("DPM++ 2M", 2), ("DEIS", 2), ("LMS", 3), ("UniPC", 2)])
def test_errors_fall_with_the_order_that_the_paper_promises(name, order):
    method, levels, errors = table.ROWS[name].method, NoiseLevels.of(FACTS), []
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 10
    for steps in (60, 120):
        sigmas = np.exp(np.linspace(math.log(10), math.log(0.05), steps)).tolist()
        run = method(x, sigmas, None)
        point = next(run)
        try:
            while True:
                denoised = gauss(point.x, point.sigma)
                point = run.send((denoised, point.x, denoised))
        except StopIteration as end:
            errors.append(float((end.value - flowed(x, 10, 0.05)).abs().max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.35 and levels.highest > 10


@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if sampler.fresh_noise and name not in ("TCD", "LCM")])
def test_fresh_noise_keeps_the_spread_of_the_data(name):
    plan = plan_of(name, steps=40)
    source = randomness(1)
    begun = Start(plan.from_noise(source.normal((1, 4, 64, 64))))
    end = last(answered(plan.sample(begun, source), model(plan.levels, gauss)))
    assert abs(float(end.mean()) - 0.7) < 0.03 and abs(float(end.std()) - 0.5) < 0.06


# ---------------------------------------------------------------- what is said of them
def test_the_page_about_samplers_is_made_from_the_tables():
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python docs/make_samplers.py"


@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if sampler.calls in "12"])
def test_a_step_costs_as_many_calls_as_the_table_says(name):
    plan = plan_of(name, "SGM Uniform" if "SGM Uniform" in SAMPLERS[name].schedules else "Uniform", steps=21)
    source, asked = randomness(3), []
    answer = model(plan.levels)
    last(answered(plan.sample(Start(plan.from_noise(source.normal(SHAPE))), source), lambda x, t: asked.append(1) or answer(x, t)))
    assert len(asked) == (21 if SAMPLERS[name].calls == "1" else 41)
