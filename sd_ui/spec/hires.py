"""The second, larger pass (hires fix) between the fields' values and a request, there and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, SAME
from sd_ui.spec.request import GenerationRequest, Hires, Sampling
from sd_ui.spec.samplers import AUTOMATIC

OFF = FIELDS["hires_upscaler"].choices[0]
OWN = tuple(name for name in FIELDS if name.startswith("hires_") and name != "hires_upscaler")


def chosen(upscaler: str, sampler: str, said: Mapping[str, Any], first: Sampling, size: tuple[int, int], step: int, notes: list[str]) -> Hires | None:
    """said: values by field, each within its range. size: of the first pass. step: sides are multiples of it. Raises BadRequest."""
    if upscaler == OFF:
        unused = [FIELDS[name].label for name in OWN if name in said and said[name] != FIELDS[name].default]
        notes += [f"{label} means nothing without an upscaler; it was not used." for label in unused]
        return None
    width, height = target(said, size, step)
    if width < size[0] or height < size[1]:
        raise BadRequest("hires_width", f"{width}x{height} is smaller than the first pass, which is {size[0]}x{size[1]}")
    steps = said["hires_steps"] or first.steps
    sampling = replace(first, steps=steps) if sampler == SAME else replace(first, sampler=sampler, schedule=AUTOMATIC, steps=steps)
    return Hires(width, height, upscaler, said["hires_strength"], sampling, said["hires_prompt"], said["hires_negative_prompt"])


def target(said: Mapping[str, Any], size: tuple[int, int], step: int) -> tuple[int, int]:
    """As in A1111: by a factor, unless a side is given; the other side then follows, and with both what is too much is cut off."""
    width, height = said["hires_width"], said["hires_height"]
    if not width and not height:
        across, down = (side * said["hires_scale"] for side in size)
    else:
        across = width or height * size[0] / size[1]
        down = height or width * size[1] / size[0]
    return max(step, int(across) // step * step), max(step, int(down) // step * step)


def written(request: GenerationRequest) -> dict[str, Any]:
    """By field."""
    found = request.hires
    if found is None:
        return {name: FIELDS[name].default for name in ("hires_upscaler", *OWN)}
    steps, first = found.sampling.steps, request.sampling
    return {
        "hires_upscaler": found.upscaler,
        **enlarged(found, request.width, request.height),
        "hires_strength": found.strength,
        "hires_steps": 0 if steps == first.steps else steps,
        "hires_sampler": SAME if replace(found.sampling, steps=first.steps) == first else found.sampling.sampler,
        "hires_prompt": found.prompt,
        "hires_negative_prompt": found.negative_prompt,
    }


def enlarged(found: Hires, width: int, height: int) -> dict[str, Any]:
    """By the factor, where there is one that people write and the door allows; else by the sides, beside which a factor counts for nothing."""
    factor, scale = round(found.width / width, 2), FIELDS["hires_scale"]
    if (scale.low or 0) <= factor <= (scale.high or 0) and (factor * width, factor * height) == (found.width, found.height):
        return {"hires_scale": factor, "hires_width": 0, "hires_height": 0}
    return {"hires_scale": scale.default, "hires_width": found.width, "hires_height": found.height}
