"""Our sampling methods behind diffusers' scheduler protocol, so that stock pipelines run them: the loop around them is then theirs, not ours."""

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor

from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.brownian import BrownianPath
from sd_ui.engine.samplers.method import Said, Tools


class KScheduler(SchedulerMixin, ConfigMixin):
    """For one run of the last `run` of `steps` steps. Pipelines skip as many timesteps as steps that they leave out: these are never asked for."""

    order = 1

    @register_to_config
    def __init__(self, name="Euler", schedule="Automatic", facts=(), steps=20, run=20):
        plan = table.plan(name, schedule, dict(facts), steps, run, torch.device("cpu"))
        self.method, self.levels, self.sigmas, self.whole = plan.method, plan.levels, plan.sigmas, plan.whole
        self.keeps_variance = plan.keeps_variance
        self.calls = list(self.questions())
        self.skipped = steps - run
        self.init_noise_sigma = (self.sigmas[0] ** 2 + 1) ** 0.5 if self.keeps_variance else self.sigmas[0]
        self.running, self.call = None, 0

    def questions(self):
        """The sigmas that the method asks at, in order: they depend on no answer."""
        nothing = torch.zeros(1, 1, 1, 1)
        run = self.method(nothing, self.sigmas, Tools(self.levels, lambda: nothing, lambda sigma, target: nothing))
        point = next(run)
        try:
            while True:
                yield point.sigma
                point = run.send(Said(nothing, nothing, nothing))
        except StopIteration:
            return

    def set_timesteps(self, num_inference_steps, device=None):
        asked = [self.levels.timestep(sigma) for sigma in self.calls]
        self.timesteps = torch.tensor([-1.0] * self.skipped + asked, dtype=torch.float32)

    def scale_model_input(self, sample, timestep=None):
        return sample / (self.calls[self.call] ** 2 + 1) ** 0.5

    def add_noise(self, clean, noise, timesteps):
        (where,) = {i for i, t in enumerate(self.timesteps[self.skipped :]) if t in timesteps} & {0, self.call}
        return clean + noise * self.calls[where]

    def step(self, model_output, timestep, sample, generator=None, return_dict=False):
        sigma = self.calls[self.call]
        if self.running is None:
            self.running = self.method(sample, self.sigmas, self.tools(sample, generator))
            next(self.running)
        denoised = self.denoised(model_output, sample, sigma)
        self.call += 1
        try:
            return (self.running.send(Said(denoised, sample, denoised)).x,)
        except StopIteration as end:
            return (end.value / (self.sigmas[-1] ** 2 + 1) ** 0.5 if self.keeps_variance else end.value,)

    def denoised(self, said, x, sigma):
        if self.levels.prediction == "epsilon":
            return x - said * sigma
        return x / (sigma**2 + 1) - said * (sigma / (sigma**2 + 1) ** 0.5)

    def tools(self, sample, generator):
        def noise():
            return randn_tensor(sample.shape, generator=generator, dtype=sample.dtype)

        def other(seed):
            return torch.randn(sample.shape, generator=torch.Generator().manual_seed(seed))

        return Tools(self.levels, noise, BrownianPath(generator.initial_seed(), *self.whole, other).between)
