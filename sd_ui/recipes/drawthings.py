"""Draw Things: JSON in the XMP part of its pictures, with one letter for the prompt."""

import re
from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe

PROGRAM = "Draw Things"
UNDERSTOOD = ("c", "uc", "model", "sampler", "scale", "seed", "steps", "strength", "size", "lora", "v2")


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    if not isinstance(found.get("c"), str) or "uc" not in found or "sampler" not in found:
        return None
    draft = Draft(PROGRAM)
    draft.take("prompt", found["c"])
    draft.take("negative_prompt", data.words(found["uc"]))
    for name, key in (("steps", "steps"), ("seed", "seed"), ("cfg_scale", "scale")):
        draft.take(name, found.get(key), key)
    if size := re.fullmatch(r"(\d{1,5})\s*x\s*(\d{1,5})", data.words(found.get("size"))):
        draft.take("width", size[1])
        draft.take("height", size[2])
    sampler, schedule = names.of_draw_things(data.words(found["sampler"]))
    draft.sample(sampler, schedule, found["sampler"])
    draft.model(found.get("model"))
    draft.take("clip_skip", data.at(found, "v2", "clipSkip") or 1)
    for row in data.rows(found.get("lora") or data.at(found, "v2", "loras"))[:100]:
        draft.wear(data.first(data.at(row, key) for key in ("model", "file")), data.at(row, "weight"))
    draft.note("Draw Things' noise is its own: the same seed gives another picture here.")
    draft.rest(found, UNDERSTOOD)
    strength = data.number(found.get("strength"), 1.0)
    if strength < 1:
        draft.take("strength", strength)
    return draft.made("img2img" if strength < 1 else "txt2img")
