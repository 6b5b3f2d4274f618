"""Flow models: Euler and Heun are diffusers' flow-match schedulers; what cannot follow a flow says so."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from sd_ui.engine.denoise import Prediction, Start, answered
from sd_ui.engine.noise import randomness
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.flow import FlowLevels
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.samplers import SAMPLERS

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


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in table.FOLLOWS_FLOW])
def test_a_sampler_that_supposes_something_else_is_refused(name):
    with pytest.raises(BadRequest, match="Euler and Heun"):
        table.plan(name, "Automatic", facts(1.0), 10, 10, torch.device("cpu"))


def test_noise_is_mixed_in_and_solved_out_again():
    levels, clean, noise = FlowLevels.of(facts(3.0)), torch.ones(SHAPE), randomness(1).normal(SHAPE)
    mixed = levels.noised(clean, noise, 0.4)
    assert torch.allclose(mixed, 0.6 * clean + 0.4 * noise) and torch.allclose(levels.denoised(noise - clean, mixed, 0.4), clean)
    assert levels.highest == 1.0 and levels.sigma(500) == pytest.approx(0.75) and levels.timestep(0.75) == 750
