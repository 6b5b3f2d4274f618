"""What is possible and yet probably not meant, or not what a model is good at: said before anybody waits for it. It refuses nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from sd_ui.forecast.work import guided
from sd_ui.prompt import networks
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.request import GenerationRequest

NOTE, WARN, REFUSE = "note", "warn", "refuse"
LARGE, SMALL = 2.3, 0.4  # pixels over those that a model was made for, beyond which pictures suffer
FEW = 8  # steps of a model that was distilled
DISTILLED = ("LCM", "TCD")  # samplers for such models
SETTLED = 12  # steps beyond which those samplers have nothing to add
FROM_20 = ("Restart",)


@dataclass(frozen=True)
class Line:
    """severity: a note explains, a warning foretells, a refusal is what Generate would answer. field: a name in `spec.fields`, or ""."""

    severity: str
    field: str
    text: str


def lines(request: GenerationRequest, card: ModelCard, layers: int) -> Iterator[Line]:
    """layers: of the model's text encoder; 0 where that is not known."""
    if layers and request.model.clip_skip > layers:
        yield Line(NOTE, "clip_skip", f"Clip skip {request.model.clip_skip} will be taken as {layers}: the text encoder has {layers} layers.")
    yield from of_size(request, card)
    yield from of_sampling(request, card)
    if request.refiner and request.refiner.switch_at >= 1:
        yield Line(NOTE, "refiner_switch_at", f"{request.refiner.checkpoint} never takes over: Switch at is 1.")
    if not guided(request.sampling) and any(request.words_of(index).negative_prompt.strip() for index in range(request.count)):
        yield Line(NOTE, "negative_prompt", "The negative prompt has no effect at CFG scale 1.")


def of_size(request: GenerationRequest, card: ModelCard) -> Iterator[Line]:
    if request.source is not None:
        return
    best = f"{card.defaults.width}x{card.defaults.height}"
    part = request.width * request.height / (card.defaults.width * card.defaults.height)
    if part > LARGE:
        yield Line(
            WARN, "width", f"{card.title or card.name} was made for about {best}: at {request.width}x{request.height} things may appear twice."
        )
    elif part < SMALL:
        yield Line(
            WARN, "width", f"{card.title or card.name} was made for about {best}: at {request.width}x{request.height} little may be recognised."
        )


def of_sampling(request: GenerationRequest, card: ModelCard) -> Iterator[Line]:
    sampling, best = request.sampling, card.defaults
    few = best.steps <= FEW
    if few and (sampling.steps > 3 * best.steps or sampling.cfg_scale > best.cfg_scale + 2):
        name = card.title or card.name
        yield Line(
            WARN, "steps", f"{name} was distilled for few steps: {best.steps} at CFG scale {best.cfg_scale:g} with {best.sampler} are its best."
        )
    dressed = any(networks.asked(request.words_of(index).prompt) for index in range(request.count))
    if sampling.sampler in DISTILLED and not few and not dressed:
        said = f"{sampling.sampler} is for models, or LoRAs, that were distilled for it; {card.title or card.name} is not known as one."
        yield Line(WARN, "sampler", said)
    elif sampling.sampler in DISTILLED and sampling.steps > SETTLED:
        yield Line(NOTE, "steps", f"{sampling.sampler} needs 4 to 8 steps; {sampling.steps} only take longer.")
    if sampling.sampler == "DPM adaptive":
        yield Line(NOTE, "steps", "DPM adaptive chooses its own steps and takes no notice of Steps.")
    if sampling.sampler in FROM_20 and sampling.steps < 20:
        yield Line(NOTE, "steps", f"{sampling.sampler} restarts from 20 steps on; with {sampling.steps} it is Heun.")
