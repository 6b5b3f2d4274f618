"""What a model can be asked that runs by a pipeline of diffusers. What such a pipeline cannot do is refused, or said to be without effect."""

from collections.abc import Iterator

from sd_ui.spec.cards import ModelCard, Stock
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.spec.request import CONTENTS, GUIDANCES, NOISES, GenerationRequest, Inpaint, Redo
from sd_ui.spec.samplers import AUTOMATIC, MODELS_OWN

CONTENTS_HERE = CONTENTS[:2]  # the rest is made of latents, which lie inside the pipeline


def check_sampler(card: ModelCard, sampler: str, of: str = "") -> None:
    """The model's own sampler belongs to such models, and they to it. of: the beginning of the field's name. Raises BadRequest."""
    if card.stock and sampler != MODELS_OWN:
        raise BadRequest(f"{of}sampler", f"{sampler} does not go with {card.name}, which runs by diffusers' own pipeline: choose {MODELS_OWN}")
    if not card.stock and sampler == MODELS_OWN:
        raise BadRequest(f"{of}sampler", f"{card.name} brings no sampler of its own; any other one goes with it")


def checked(request: GenerationRequest, card: ModelCard) -> tuple[str, ...]:
    """Notes about what has no effect. Raises BadRequest for what cannot be done."""
    if card.stock is None:
        return ()
    for field, why in _refused(request, card, card.stock):
        raise BadRequest(field, f"{why} {card.name}, which runs by diffusers' own pipeline")
    return tuple(_without_effect(request, card.stock))


def _refused(request: GenerationRequest, card: ModelCard, stock: Stock) -> Iterator[tuple[str, str]]:
    """Field, and a sentence that ends with the model's name."""
    noise, guidance, scale = request.noise, request.sampling.guidance, request.sampling.cfg_scale
    plain = [
        ("vae", bool(request.model.vae), "another VAE cannot be given to"),
        ("refiner", request.refiner is not None, "a refiner cannot go on for"),
        ("hires_upscaler", request.hires is not None, "hires fix cannot be done by"),
        ("clip_skip", request.model.clip_skip != card.defaults.clip_skip, "another layer of the text encoder cannot be chosen in"),
        ("schedule", request.sampling.schedule != AUTOMATIC, f"{request.sampling.schedule} cannot be followed by"),
        ("noise_source", noise.source != NOISES[0], f"{noise.source} noise cannot be given to"),
        ("variation_strength", noise.variation_strength > 0, "a variation cannot be drawn by"),
        ("seed_resize_width", noise.from_width > 0, "a seed cannot be resized for"),
        ("eta_seed_delta", noise.eta_delta != 0, "an eta noise seed delta cannot be given to"),
        ("guidance", guidance.method != GUIDANCES[0], f"{guidance.method} cannot be done in"),
        ("cfg_rescale", guidance.rescale > 0, "CFG rescale cannot be done in"),
        ("guidance_start", guidance.start > 0, "guidance cannot start later in"),
        ("guidance_stop", guidance.stop < 1, "guidance cannot stop earlier in"),
        ("cfg_scale", scale < 1, f"{scale:g} is out of range (1, which is no guidance, to {FIELDS['cfg_scale'].high:g}) for"),
        ("cfg_scale", scale > 1 and not stock.guided, f"{scale:g} is out of range (1 alone: it was made to need no guidance) for"),
    ]
    redo = Redo() if request.source is None else request.source.redo
    plain += [
        ("noise_multiplier", redo.noise_multiplier != 1, "a noise multiplier cannot be given to"),
        ("extra_noise", redo.extra_noise != 0, "extra noise cannot be given to"),
        ("redo_steps", redo.runs_all, "all steps cannot be run on a part of the way by"),
    ]
    yield from ((field, why) for field, wrong, why in plain if wrong)
    if stock.most and request.source is not None and request.width * request.height > stock.most:
        size = f"{request.width}x{request.height}"
        yield "width", f"{size} is too much to start from a picture (at most {stock.most / 2**20:g} x 1024x1024 pixels) for"
    if isinstance(request.source, Inpaint):
        if request.source.is_soft:
            yield "mask_edge", "a soft mask edge cannot be followed by"
        if request.source.masked_content not in CONTENTS_HERE:
            yield "masked_content", f"{request.source.masked_content} cannot be done (possible: {' and '.join(CONTENTS_HERE)}) in"


def _without_effect(request: GenerationRequest, stock: Stock) -> Iterator[str]:
    if request.sampling.distilled_cfg != FIELDS["distilled_cfg_scale"].default:
        yield f"{FIELDS['distilled_cfg_scale'].label} means nothing to {stock.title}; it was not used."
    if not request.negative_prompt:
        return
    if not stock.negative:
        yield f"{FIELDS['negative_prompt'].label} means nothing to {stock.title}; it was not used."
