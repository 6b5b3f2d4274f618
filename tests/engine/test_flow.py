"""Flow models: Euler and Heun are diffusers' flow-match schedulers; what cannot follow a flow says so."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from sd_ui.engine.denoise import Prediction, Start, answered
from sd_ui.engine.noise import randomness
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.flow import FlowLevels, RatioLevels
from sd_ui.engine.samplers.plan import SigmaPlan
from sd_ui.spec import families
from sd_ui.spec.errors import BadRequest

SHAPE = (1, 16, 8, 8)


def facts(shift):
    return {"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "shift": shift}


def velocity(x, t):
    """Neither linear nor wild."""
    sigma = torch.as_tensor(t, dtype=torch.float32) / 1000
    return torch.tanh(x * (1 - sigma / 2)) - 0.3 * x


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize(("name", "kind"), [("Euler", FlowMatchEulerDiscreteScheduler), ("Heun", FlowMatchHeunDiscreteScheduler)])
def test_a_flow_is_followed_as_diffusers_follows_it(name, kind, steps, shift):
    scheduler = kind(num_train_timesteps=1000, shift=shift)
    scheduler.set_timesteps(steps)
    x = noise = randomness(3).normal(SHAPE)
    for t in scheduler.timesteps:
        x = scheduler.step(velocity(x, t), t, x, return_dict=False)[0]
    plan = table.plan(name, "Uniform", facts(shift), steps, steps, torch.device("cpu"))
    assert torch.equal(plan.from_noise(noise), noise)
    sampling = answered(plan.sample(Start(noise), randomness(0)), lambda latents, t: Prediction(velocity(latents, t), velocity(latents, t)))
    told = []
    with pytest.raises(StopIteration) as end:
        while True:
            told.append(next(sampling))
    assert torch.allclose(end.value.value, x, atol=1e-4) and told[-1].index == steps


@pytest.mark.parametrize("name", [name for name in table.ROWS if name not in families.SAMPLERS])
def test_a_sampler_that_supposes_something_else_is_refused(name):
    with pytest.raises(BadRequest, match="rectified flow"):
        table.plan(name, "Automatic", facts(1.0), 10, 10, torch.device("cpu"))


def test_noise_is_mixed_in_and_solved_out_again():
    levels, clean, noise = FlowLevels.of(facts(3.0)), torch.ones(SHAPE), randomness(1).normal(SHAPE)
    mixed = levels.noised(clean, noise, 0.4)
    assert torch.allclose(mixed, 0.6 * clean + 0.4 * noise) and torch.allclose(levels.denoised(noise - clean, mixed, 0.4), clean)
    assert levels.highest == 1.0 and levels.sigma(500) == pytest.approx(0.75) and levels.timestep(0.75) == 750


# ---------------------------------------------------------------- methods that suppose clean + sigma * noise
def run(plan, noise, predict=velocity):
    sampling = answered(plan.sample(Start(plan.from_noise(noise)), randomness(5)), lambda x, t: Prediction(predict(x, t), predict(x, t)))
    with pytest.raises(StopIteration) as end:
        while True:
            next(sampling)
    return end.value.value


def test_the_door_lets_in_what_the_engine_can_follow():
    assert set(families.SAMPLERS) == {*table.FOLLOWS_FLOW, *table.BY_RATIO} and table.ROWS.keys() >= set(families.SAMPLERS)
    levels = FlowLevels.of(facts(3.0))
    for schedule in families.SCHEDULES[1:]:
        shares = table.planned(table.ROWS["Euler"], schedule, table.Wanted(10, levels))
        assert shares[0] == 1.0 and 0 <= shares[-1] < 0.05 and shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_dpm_2m_follows_a_flow_as_diffusers_solver_does(shift):
    theirs = DPMSolverMultistepScheduler(
        solver_order=2,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
        algorithm_type="dpmsolver++",
        lower_order_final=True,
    )
    theirs.set_timesteps(12)
    x = noise = randomness(3).normal(SHAPE)
    for t in theirs.timesteps:
        sigma = theirs.sigmas[theirs.step_index or 0]
        x = theirs.step(velocity(x, sigma * 1000), t, x, return_dict=False)[0]
    levels = FlowLevels.of(facts(shift))
    ratios = [float(s / (1 - s)) for s in theirs.sigmas.double()]
    plan = SigmaPlan(table.ROWS["DPM++ 2M"].method, RatioLevels.over(levels), ratios, (ratios[-2], ratios[0]), False, torch.device("cpu"))
    ours = run(plan, noise / plan.from_noise(torch.ones(1)) * (1 + ratios[0]))  # they begin with noise that has no signal beside it
    assert torch.allclose(ours, x, atol=2e-4)


@pytest.mark.parametrize("name", table.FOLLOWS_FLOW + table.BY_RATIO)
def test_every_sampler_that_follows_a_flow_ends_at_the_data(name):
    """A perfect model of data from N(0.7, 0.5^2): what comes out is of that distribution."""

    def perfect(x, t):
        s = float(t) / 1000
        variance = (1 - s) ** 2 * 0.25 + s**2
        clean = 0.7 + (1 - s) * 0.25 / variance * (x - (1 - s) * 0.7)
        return (x - clean) / max(s, 1e-6)

    plan = table.plan(name, "Automatic", facts(1.0), 40, 40, torch.device("cpu"))
    said = run(plan, randomness(3).normal((1, 16, 48, 48)), perfect)
    assert float(said.mean()) == pytest.approx(0.7, abs=0.02) and float(said.std()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", table.BY_RATIO)
def test_a_picture_is_noised_and_held_as_the_ratio_wants_it(name):
    plan = table.plan(name, "Automatic", facts(3.0), 10, 5, torch.device("cpu"))
    clean, noise = torch.ones(SHAPE), randomness(1).normal(SHAPE)
    share = plan.levels.along(plan.first)
    assert 0 < share < 1 and torch.allclose(plan.levels.scaled(plan.noised(clean, noise), plan.first), (1 - share) * clean + share * noise, atol=1e-5)
    assert plan.levels.timestep(plan.first) == pytest.approx(share * 1000) and plan.total == 5
