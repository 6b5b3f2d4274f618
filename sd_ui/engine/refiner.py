"""A second model that takes over for the last part of the way: SDXL's refiner, or any other one with the same latents."""

from dataclasses import dataclass

from torch import Tensor

from sd_ui.engine.denoise import Predict, Prediction
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.timeline import PredictAt, Timeline
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import Refiner


@dataclass(frozen=True)
class Second:
    """below: the timesteps under it are the second model's."""

    loaded: Loaded
    text: Timeline
    below: int

    def after(self, first: PredictAt, cfg_scale: float, size: tuple[int, int], distilled: float) -> PredictAt:
        unet, family = self.loaded.denoiser, self.loaded.family
        second = self.text.predicted(lambda told: family.predict(unet, told, cfg_scale, None, size, distilled))
        return lambda call: switched(first(call), second(call), self.below)


def switched(first: Predict, second: Predict, below: int) -> Predict:
    def predict(latents: Tensor, timestep: Tensor) -> Prediction:
        return (second if float(timestep) < below else first)(latents, timestep)

    return predict


def boundary(refiner: Refiner, first: Loaded, second: Loaded) -> int:
    """The first timestep, from below, that is still the first model's, as diffusers counts `denoising_end`; A1111 counts alike, to one timestep.

    Raises BadRequest("refiner") where the two cannot read each other's latents.
    """
    told, understood = (loaded.scheduler_config["prediction_type"] for loaded in (first, second))
    if told != understood:
        raise BadRequest("refiner", f"{second.card.name} predicts {understood}, {first.card.name} predicts {told}: one cannot go on for the other")
    if second.denoiser in (second.depth_unet, second.inpaint_unet):
        raise BadRequest("refiner", f"{second.card.name} cannot take over: it takes more than latents")
    steps: int = first.scheduler_config["num_train_timesteps"]
    return round(steps - refiner.switch_at * steps)
