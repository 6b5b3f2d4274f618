"""What families of models ask of a request: sizes in other steps, samplers that can follow a flow."""

from sd_ui.spec import stock
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import Sampling

FLOWS = ("sd3", "flux")  # trained as rectified flows (Liu et al. 2022): noise is mixed in, not added
SAMPLERS = ("Euler", "Heun", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM2", "DEIS")  # that follow them
SCHEDULES = ("Automatic", "Uniform", "Karras", "Exponential", "SGM Uniform", "Simple", "Normal", "Beta")  # that make sense between 1 and 0
STEPS = {"sd3": 16, "flux": 16}  # pixels, by family: a token is a patch of 2x2 latent cells; 8 for the others


def step(card: ModelCard) -> int:
    """Of what width and height must be multiples."""
    return card.stock.multiple if card.stock else STEPS.get(card.family, 8)


def check_sampling(card: ModelCard, sampling: Sampling, of: str = "") -> None:
    """of: the beginning of its fields' names, for a second pass. Raises BadRequest for what cannot go with the model."""
    stock.check_sampler(card, sampling.sampler, of)
    if card.family not in FLOWS:
        return
    if sampling.sampler not in SAMPLERS:
        why = f"{sampling.sampler} is not made for {card.name}, whose kind (rectified flow) goes with {', '.join(SAMPLERS)}"
        raise BadRequest(f"{of}sampler", why)
    if sampling.schedule not in SCHEDULES:
        why = f"{sampling.schedule} is not made for {card.name}, whose kind (rectified flow) goes with {', '.join(SCHEDULES)}"
        raise BadRequest("schedule", why)
