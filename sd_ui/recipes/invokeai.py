"""InvokeAI: "invokeai_metadata" since 3.0, "sd-metadata" before, and the command line "Dream" before that."""

import re
import shlex
from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe
from sd_ui.recipes.weights import from_compel

PROGRAM = "InvokeAI"
MODES = {"img2img": "img2img", "inpaint": "inpaint", "outpaint": "inpaint"}
UNDERSTOOD = ("positive_prompt", "negative_prompt", "width", "height", "seed", "rand_device", "cfg_scale", "steps", "scheduler", "clip_skip", "model",
              "vae", "loras", "strength", "generation_mode", "app_version", "refiner_model", "refiner_start")  # fmt: skip
STRUCTURES = re.compile(r"\.(?:swap|and|blend)\(")
NEGATIVE = re.compile(r"(?<!\\)\[([^\[\]]*)\]")
FLAGS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "cfg_scale", "f": "strength"}  # of the command line
LONGEST_DREAM = 40_000


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    if "positive_prompt" in found or ("generation_mode" in found and "scheduler" in found):
        return _metadata(found)
    if isinstance(found.get("image"), dict) and ("app_id" in found or "model_weights" in found):
        return _sd_metadata(found)
    return None


def _metadata(found: dict[str, Any]) -> Recipe:
    draft = Draft(PROGRAM)
    _prompts(draft, found.get("positive_prompt"), found.get("negative_prompt"))
    for name in ("width", "height", "seed", "steps", "cfg_scale"):
        draft.take(name, found.get(name))
    draft.take("clip_skip", 1 + int(min(data.number(found.get("clip_skip"), 0), 99)), "Clip skip")  # it counts what is left out
    _sampler(draft, found.get("scheduler"))
    _models(draft, found)
    for row in data.rows(found.get("loras"))[:100]:
        draft.wear(_name(data.first(data.at(row, key) for key in ("model", "lora"))), data.at(row, "weight"), sha256=data.at(row, "model", "hash"))
    draft.take("noise_source", "CPU" if data.words(found.get("rand_device")) in ("", "cpu") else "NV")
    mode = next((ours for theirs, ours in MODES.items() if data.words(found.get("generation_mode")).endswith(theirs)), "txt2img")
    if mode != "txt2img":
        draft.take("strength", found.get("strength"))
    draft.rest(found, UNDERSTOOD)
    return draft.made(mode)


def _models(draft: Draft, found: dict[str, Any]) -> None:
    draft.model(_name(found.get("model")), data.at(found, "model", "hash"))
    if vae := _name(found.get("vae")):
        draft.model(vae, data.at(found, "vae", "hash"), "vae")
    if refiner := _name(found.get("refiner_model")):
        draft.model(refiner, data.at(found, "refiner_model", "hash"), "refiner")
        draft.take("refiner_switch_at", found.get("refiner_start"))


def _name(model: Any) -> str:
    return data.words(model) or data.words(data.first(data.at(model, key) for key in ("name", "model_name")))


def _sampler(draft: Draft, said: Any) -> None:
    sampler, schedule = names.of_diffusers(data.words(said))
    draft.sample(sampler, schedule, said)
    if sampler:
        draft.note("InvokeAI's samplers are those of diffusers: near to these, but not the same.")


def _prompts(draft: Draft, positive: Any, negative: Any) -> None:
    texts = [data.words(positive), data.words(negative)]
    if any(STRUCTURES.search(text) for text in texts):
        draft.note("Its .swap(), .and() and .blend() have nothing like them here: they stand as words.")
    draft.take("prompt", from_compel(texts[0]))
    draft.take("negative_prompt", from_compel(texts[1]))


# ---------------------------------------------------------------- before 3.0
def _sd_metadata(found: dict[str, Any]) -> Recipe:
    draft, image = Draft(PROGRAM), data.table(found, "image")
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        prompt = data.joined([data.at(row, "prompt") for row in prompt], ", ")
    _both(draft, data.words(prompt))
    for name in ("width", "height", "seed", "steps", "cfg_scale"):
        draft.take(name, image.get(name))
    _sampler(draft, image.get("sampler"))
    draft.model(found.get("model_weights"))
    if image.get("variations"):
        draft.note("Variations of its seed were mixed in; that was not taken over.")
    mode = MODES.get(data.words(image.get("type")), "txt2img")
    if mode != "txt2img":
        draft.take("strength", image.get("strength"))
    draft.rest(image, ("prompt", "width", "height", "seed", "steps", "cfg_scale", "sampler", "type", "strength", "variations"))
    draft.rest(found, ("image", "model_weights", "app_id", "app_version", "model"))
    return draft.made(mode)


def _both(draft: Draft, prompt: str) -> None:
    """What stands in [brackets] is the negative prompt."""
    _prompts(draft, NEGATIVE.sub("", prompt).strip(), ", ".join(NEGATIVE.findall(prompt)))


def dream(text: str) -> Recipe | None:
    """ "a cat [dog]" -s 50 -S 1234 -W 512 -H 512 -C 7.5 -A k_lms -f 0.7"""
    if not (text.startswith('"') and " -S" in text and len(text) <= LONGEST_DREAM):
        return None
    try:
        prompt, *flags = shlex.split(text)
    except ValueError:  # quotes that do not end
        return None
    draft = Draft(PROGRAM)
    _both(draft, prompt)
    said = {flag[1]: flag[2:] or behind for flag, behind in zip(flags, [*flags[1:], ""], strict=True) if len(flag) > 1 and flag[0] == "-"}
    for flag, name in FLAGS.items():
        if name != "strength" or "I" in said:
            draft.take(name, said.get(flag))
    _sampler(draft, said.get("A"))
    draft.rest(said, (*FLAGS, "A"))
    return draft.made("img2img" if "I" in said else "txt2img")
