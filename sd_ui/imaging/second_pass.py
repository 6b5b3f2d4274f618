"""What A1111's text says of hires fix, both ways."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sd_ui.spec import fields, hires
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, NUMBER
from sd_ui.spec.request import UPSCALERS, GenerationRequest
from sd_ui.spec.values import number, whole, within

NUMBERS = {"Hires upscale": "hires_scale", "Hires steps": "hires_steps", "Denoising strength": "hires_strength"}
WORDS = {"Hires prompt": "hires_prompt", "Hires negative prompt": "hires_negative_prompt"}
SIZE = re.compile(r"\s*([0-9]{1,5})\s*x\s*([0-9]{1,5})\s*")
SMALLEST_STEP = 8  # pixels: what no family asks less than
USUAL, OTHERWISE = UPSCALERS[0], "Lanczos"  # where the text names none; where it names one that is not here


def pairs(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """ "" is left out."""
    asked = request.hires
    if asked is None:
        return
    factor = round(asked.width / request.width, 2)
    is_factor = is_reached(factor, request, (asked.width, asked.height))
    yield "Hires upscale", f"{factor:g}" if is_factor else ""
    yield "Hires resize", "" if is_factor else f"{asked.width}x{asked.height}"
    yield "Hires steps", str(asked.sampling.steps) if asked.sampling.steps != request.sampling.steps else ""
    yield "Hires upscaler", asked.upscaler
    yield "Hires sampler", asked.sampling.sampler if replace(asked.sampling, steps=request.sampling.steps) != request.sampling else ""
    yield "Hires prompt", asked.prompt
    yield "Hires negative prompt", asked.negative_prompt


def is_reached(factor: float, request: GenerationRequest, size: tuple[int, int]) -> bool:
    """Whether a factor, as it is written, gives this size to whoever reads it."""
    field = FIELDS["hires_scale"]
    said = {"hires_scale": factor, "hires_width": 0, "hires_height": 0}
    return (field.low or 0) <= factor <= (field.high or 0) and hires.target(said, (request.width, request.height), SMALLEST_STEP) == size


def is_told(said: Mapping[str, str]) -> bool:
    return any(key.startswith("Hires ") for key in said)


def read(said: dict[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Values by field, and notes. Takes from `said` what it has understood."""
    if not is_told(said):
        return {}, ()
    values = {name: fields.default(name) for name in FIELDS if name.startswith("hires_")}
    for key, name in NUMBERS.items():
        if (found := _number(name, said.get(key, ""))) is not None:
            values[name] = found
            del said[key]
    values |= {name: said.pop(key) for key, name in WORDS.items() if key in said}
    if size := SIZE.fullmatch(said.get("Hires resize", "")):
        values |= {"hires_width": int(size[1]), "hires_height": int(size[2])}
        del said["Hires resize"]
    if said.get("Hires sampler") in FIELDS["hires_sampler"].choices:
        values["hires_sampler"] = said.pop("Hires sampler")
    named = {name.casefold(): name for name in UPSCALERS}.get(said.get("Hires upscaler", USUAL).casefold())
    if named:
        said.pop("Hires upscaler", None)
        return values | {"hires_upscaler": named}, ()
    why = f"It was enlarged by {said['Hires upscaler']:.60}, which is not here: {OTHERWISE} takes its place."
    return values | {"hires_upscaler": OTHERWISE}, (why,)


def _number(name: str, value: str) -> float | int | None:
    field = FIELDS[name]
    try:
        return within(field, (number if field.kind == NUMBER else whole)(field, value), value)
    except BadRequest:
        return None
