"""The door: raw values of any surface in, a valid request out, or a BadRequest in the user's words. Behind it, code trusts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sd_ui.spec import extras, families, fields, hires, stock
from sd_ui.spec.cards import LATENTS, U_NETS, Defaults, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import CHOICE, FIELDS, IMAGE, NONE, Field
from sd_ui.spec.request import (
    EMBEDDED,
    MODES,
    DepthToImage,
    GenerationRequest,
    Hires,
    ImageRef,
    ImageToImage,
    Inpaint,
    ModelChoice,
    Redo,
    Refiner,
    Sampling,
    Source,
)
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS, schedule_of, split
from sd_ui.spec.values import choice, given, printable, read, unknown, unknown_model


@dataclass(frozen=True)
class Limits:
    """What this server allows. pixels: of one picture; all_pixels: of a whole job; input_pixels: of an uploaded picture; tokens: of a text."""

    steps: int = 150
    pixels: int = 2048 * 2048
    all_pixels: int = 64 * 1024 * 1024
    count: int = 64
    input_pixels: int = 64_000_000
    input_bytes: int = 25_000_000
    tokens: int = 10_240


@dataclass(frozen=True)
class Accepted:
    """notes: what was changed on the way in, in words."""

    request: GenerationRequest
    notes: tuple[str, ...] = ()


def fitted(mode: str, values: Mapping[str, Any], models: Mapping[str, ModelCard], limits: Limits = Limits()) -> Accepted:
    """values: by the names of `spec.fields`, as they come from a form, a command line or JSON; pictures as ImageRef.

    models: cards by name, checkpoints and VAEs. Raises BadRequest; draws the seed where none is given.
    """
    if mode not in MODES:
        raise BadRequest("mode", unknown(mode, MODES))
    if strangers := sorted(values.keys() - FIELDS.keys()):
        raise BadRequest(printable(strangers[0]), unknown(strangers[0], FIELDS))
    notes = [f"{field.label} means nothing in {mode}; it was not used." for field in without_effect(mode, values)]
    model = choose_model(mode, values, models)
    card = models[model.checkpoint]
    second = choose_second(mode, values, card, models)
    said = {field.name: read(field, values.get(field.name), card.defaults, notes) for field in FIELDS.values() if field.kind not in (CHOICE, IMAGE)}
    if not second and said["refiner_switch_at"] != fields.default("refiner_switch_at"):
        notes.append(f"{FIELDS['refiner_switch_at'].label} means nothing without a refiner; it was not used.")
    if said["pag_scale"] and card.family not in U_NETS:
        notes.append(extras.unused("pag_scale", f"for {card.name}, which has no U-Net"))
        said["pag_scale"] = 0.0
    if mode in fields.WITH_IMAGE and said["resize_by"]:
        said |= scaled(picture("init", values), said["resize_by"])
    width, height = size(said, limits, notes, families.step(card))
    sampling = choose_sampling(values, said, card.defaults, limits, notes)
    families.check_sampling(card, sampling)
    count = said["batch_count"]
    if count > limits.count:
        raise BadRequest("batch_count", f"{count} is more than this server allows (1 to {limits.count})")
    request = GenerationRequest(
        prompt=said["prompt"],
        negative_prompt=said["negative_prompt"],
        model=replace(model, clip_skip=said["clip_skip"]),
        sampling=sampling,
        width=width,
        height=height,
        seed=extras.seed(said["seed"]),
        count=count,
        source=choose_source(mode, values, said),
        refiner=Refiner(second, said["refiner_switch_at"]) if second else None,
        emphasis=choice("emphasis", values.get("emphasis"), fields.default("emphasis")),
        styles=said["styles"],
        noise=extras.noise(choice("noise_source", values.get("noise_source"), fields.default("noise_source")), said, notes),
        hires=choose_hires(values, said, sampling, (width, height), limits, families.step(card), notes) if mode == "txt2img" else None,
    )
    if request.hires and not card.stock:
        families.check_sampling(card, request.hires.sampling, "hires_")
    check_all(request, limits)
    if isinstance(request.source, Inpaint) and not request.source.is_window and request.source.mask_padding != Inpaint.mask_padding:
        notes.append(extras.unused("mask_padding", "unless the inpaint area is Only masked"))
    return Accepted(request, (*notes, *stock.checked(request, card)))


# ---------------------------------------------------------------- parts of the request
def without_effect(mode: str, values: Mapping[str, Any]) -> list[Field]:
    return [field for field in FIELDS.values() if mode not in field.modes and given(values.get(field.name))]


def choose_model(mode: str, values: Mapping[str, Any], models: Mapping[str, ModelCard]) -> ModelChoice:
    name, vae = values.get("model"), values.get("vae")
    name = name if given(name) else EMBEDDED
    checkpoints = [card.name for card in models.values() if card.kind == "checkpoint"]
    card = models.get(name) if isinstance(name, str) else None
    if card is None or card.kind != "checkpoint":
        raise BadRequest("model", unknown_model(name, checkpoints))
    if card.fault:
        raise BadRequest("model", f"{card.name} cannot be used: {card.fault}")
    if mode not in card.modes:
        raise BadRequest("model", f"{card.name} cannot do {mode}; it can do {', '.join(card.modes) or 'nothing here'}")
    return ModelChoice(card.name, choose_vae(card, vae if given(vae) else card.defaults.vae, models))


def choose_vae(card: ModelCard, vae: Any, models: Mapping[str, ModelCard]) -> str:
    """The name of a VAE that goes with a checkpoint; "" for its own, where it has one. Raises BadRequest("vae")."""
    if (not given(vae) or vae == AUTOMATIC) and "vae" in card.lacks:
        vae = card.defaults.vae
        if not vae:
            raise BadRequest("vae", card.lack)
    if not given(vae) or vae == AUTOMATIC:
        return ""
    vaes = [card.name for card in models.values() if card.kind == "vae"]
    if not isinstance(vae, str) or vae not in vaes:
        raise BadRequest("vae", unknown(vae, [AUTOMATIC, *vaes]))
    if models[vae].fault:
        raise BadRequest("vae", f"{vae} cannot be used: {models[vae].fault}")
    check_latents("vae", card, models[vae])
    return vae


def choose_second(mode: str, values: Mapping[str, Any], card: ModelCard, models: Mapping[str, ModelCard]) -> str:
    """The refiner's name, "" for none. It goes on from latents alone, so it must be a model that does img2img, after one that does."""
    name = values.get("refiner")
    if not given(name) or name == NONE or name == card.name:
        return ""
    checkpoints = [card.name for card in models.values() if card.kind == "checkpoint" and card.name != EMBEDDED]
    if name not in checkpoints:
        raise BadRequest("refiner", unknown(name, [NONE, *checkpoints]))
    if models[name].fault:
        raise BadRequest("refiner", f"{name} cannot be used: {models[name].fault}")
    if card.name == EMBEDDED:
        raise BadRequest("refiner", "the embedded model has latents of its own, with which no other can go on")
    if models[name].stock:
        raise BadRequest("refiner", f"{name} cannot go on for another model: it runs by diffusers' own pipeline")
    if "vae" in models[name].lacks and not models[name].defaults.vae:
        raise BadRequest("refiner", models[name].lack)
    check_latents("refiner", card, models[name])
    if "img2img" not in models[name].modes or "img2img" not in card.modes:
        raise BadRequest("refiner", f"{name} cannot go on for {card.name}: one of them knows {mode} only")
    return str(name)


def check_latents(field: str, card: ModelCard, other: ModelCard) -> None:
    ours, theirs = LATENTS.get(card.family), LATENTS.get(other.family)
    if ours and theirs and ours != theirs:
        raise BadRequest(field, f"{other.name} is for latents of {theirs}; those of {card.name} are {ours}'s")


def choose_sampling(values: Mapping[str, Any], said: Mapping[str, Any], defaults: Defaults, limits: Limits, notes: list[str]) -> Sampling:
    asked = values.get("sampler") if given(values.get("sampler")) else defaults.sampler
    name, with_schedule = split(printable(asked))
    if name not in SAMPLERS:
        raise BadRequest("sampler", unknown(asked, SAMPLERS))
    usual = with_schedule or (AUTOMATIC if given(values.get("sampler")) else defaults.schedule)
    said_schedule = values.get("schedule")
    known = schedule_of(said_schedule) if isinstance(said_schedule, str) else None
    schedule = choice("schedule", known or said_schedule, usual)
    schedules = (AUTOMATIC, *SAMPLERS[name].schedules)
    if schedule not in schedules:
        raise BadRequest("schedule", f"{schedule} does not go with {name}, which goes with {', '.join(schedules)}")
    if said["steps"] > limits.steps:
        raise BadRequest("steps", f"{said['steps']} is more than this server allows (1 to {limits.steps})")
    method = choice("guidance", values.get("guidance"), fields.default("guidance"))
    layers = choice("pag_layers", values.get("pag_layers"), fields.default("pag_layers"))
    guidance = extras.guidance(method, layers, said, notes)
    return Sampling(name, schedule, said["steps"], said["cfg_scale"], guidance, said["distilled_cfg_scale"])


def choose_source(mode: str, values: Mapping[str, Any], said: Mapping[str, Any]) -> Source | None:
    if mode == "txt2img":
        return None
    image, strength = picture("init", values), said["strength"]
    resize, steps, colours = (choice(name, values.get(name), fields.default(name)) for name in ("resize", "redo_steps", "redo_colours"))
    redo = Redo(said["noise_multiplier"], said["extra_noise"], steps, colours)
    match mode:
        case "img2img":
            return ImageToImage(image, strength, resize, redo)
        case "inpaint":
            return replace(masked(image, picture("mask", values), strength, resize, values, said), redo=redo)
        case _:
            depth = picture("depth", values) if values.get("depth") is not None else None
            return DepthToImage(image, depth, strength, resize, redo)


def masked(image: ImageRef, mask: ImageRef, strength: float, resize: str, values: Mapping[str, Any], said: Mapping[str, Any]) -> Inpaint:
    def chosen(name: str) -> str:
        return choice(name, values.get(name), fields.default(name))

    area, padding = chosen("inpaint_area"), said["mask_padding"]
    return Inpaint(
        image, mask, strength, resize, said["mask_blur"], chosen("mask_mode"), chosen("mask_edge"), chosen("masked_content"), area, padding
    )


def choose_hires(
    values: Mapping[str, Any], said: Mapping[str, Any], first: Sampling, size: tuple[int, int], limits: Limits, step: int, notes: list[str]
) -> Hires | None:
    upscaler, sampler = (choice(name, values.get(name), fields.default(name)) for name in ("hires_upscaler", "hires_sampler"))
    found = hires.chosen(upscaler, sampler, said, first, size, step, notes)
    if found:
        check_size("hires_width" if said["hires_width"] else "hires_scale", found.width, found.height, limits, step)
    if found and found.sampling.steps > limits.steps:
        raise BadRequest("hires_steps", f"{found.sampling.steps} is more than this server allows (0 to {limits.steps})")
    return found


def size(said: Mapping[str, Any], limits: Limits, notes: list[str], step: int = 8) -> tuple[int, int]:
    """step: of what both are multiples."""
    width, height = (rounded(name, said[name], notes, step) for name in ("width", "height"))
    check_size("width", width, height, limits, step)
    return width, height


def scaled(image: ImageRef, factor: float) -> dict[str, int]:
    sides = {"width": round(image.width * factor), "height": round(image.height * factor)}
    for name, side in sides.items():
        if side > (FIELDS[name].high or 0):
            wrong = f"{factor:g} times {image.width}x{image.height} is {sides['width']}x{sides['height']}"
            raise BadRequest("resize_by", f"{wrong}: the {name} may be {FIELDS[name].high:g} at most")
    return sides


def check_size(field: str, width: int, height: int, limits: Limits, step: int) -> None:
    if width * height > limits.pixels:
        side = math.isqrt(limits.pixels) // step * step
        raise BadRequest(field, f"{width}x{height} is more than this server allows ({limits.pixels / 1e6:.1f} megapixels, such as {side}x{side})")


def check_all(request: GenerationRequest, limits: Limits) -> None:
    """What the pictures of a job are together, at the size that they end with."""
    match request:
        case GenerationRequest(hires=Hires(width, height)) | GenerationRequest(source=Inpaint(ImageRef(_, width, height), is_window=True)):
            pass
        case _:
            width, height = request.width, request.height
    if width * height * request.count > limits.all_pixels:
        most = limits.all_pixels // (width * height)
        raise BadRequest("batch_count", f"{request.count} pictures of {width}x{height} are too much for one job (1 to {most})")


def rounded(name: str, value: int, notes: list[str], step: int = 8) -> int:
    nearest = max(64, (value + step // 2 - 1) // step * step)  # halfway goes down, so that 513 .. 516 are 512
    if nearest != value:
        notes.append(f"{FIELDS[name].label} {value} became {nearest}: it must be a multiple of {step}.")
    return nearest


def picture(name: str, values: Mapping[str, Any]) -> ImageRef:
    ref = values.get(name)
    if ref is None:
        raise BadRequest(name, "is missing; give a picture")
    if not isinstance(ref, ImageRef):
        raise BadRequest(name, "is not a picture")
    return ref
