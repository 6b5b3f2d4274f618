"""Our way down a flow behind diffusers' scheduler protocol, so that stock pipelines go it: the loop around it is then theirs, not ours."""

from sd_ui.engine import trained_flow
from sd_ui.engine.samplers.method import Tools
from tests.engine.kscheduler import KScheduler


class KFlow(KScheduler):
    def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, mu=None):
        if sigmas is not None:  # these pipelines leave out a share of the timesteps, not of the steps
            self.skipped = round(len(self.calls) * self.skipped / (len(sigmas) - self.skipped))
        super().set_timesteps(num_inference_steps, device)

    def set_begin_index(self, index=0):
        assert index == self.skipped

    def scale_noise(self, sample, timestep, noise):
        where = {i for i, t in enumerate(self.timesteps[self.skipped :]) if t in timestep} & {0, self.call}
        sigma = self.calls[where.pop()]
        return sigma * noise + (1 - sigma) * sample

    def scale_model_input(self, sample, timestep=None):
        return sample

    def denoised(self, said, x, sigma):
        return x - said * sigma

    def tools(self, sample, generator):
        """Nothing that follows a flow adds noise; these pipelines hand on no generator."""
        return Tools(self.levels, None, None)


def followed(model, sampler, schedule, steps, run, size):
    """For the last `run` of `steps` steps of one of our loaded models."""
    facts = trained_flow.sized(model.scheduler_config, size, size)
    return KFlow(sampler, schedule, tuple(facts.items()), steps, run)
