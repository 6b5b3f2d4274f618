"""Fooocus: its JSON, which it writes as "parameters" or as a comment, and its logs, which name things as its page does."""

import re
from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe

PROGRAM = "Fooocus"
LOGGED = {  # what its log calls the same
    "Prompt": "prompt", "Negative Prompt": "negative_prompt", "Base Model": "base_model", "Refiner Model": "refiner_model",
    "Refiner Switch": "refiner_switch", "Guidance Scale": "guidance_scale", "Sampler": "sampler", "Scheduler": "scheduler", "Seed": "seed",
    "Resolution": "resolution", "Steps": "steps", "CLIP Skip": "clip_skip", "VAE": "vae", "Version": "version", "Styles": "styles",
    "Performance": "performance", "Full Prompt": "full_prompt", "Sharpness": "sharpness", "ADM Guidance": "adm_guidance",
}  # fmt: skip
UNDERSTOOD = ("prompt", "negative_prompt", "full_prompt", "full_negative_prompt", "base_model", "base_model_hash", "refiner_model", "refiner_switch",
              "refiner_model_hash", "guidance_scale", "sampler", "scheduler", "seed", "resolution", "width", "height", "steps", "clip_skip", "vae",
              "loras", "version", "metadata_scheme", "prompt_expansion")  # fmt: skip
OWN_STEPS = {"quality": 60, "speed": 30, "extreme speed": 8, "lightning": 4, "hyper-sd": 4}  # by performance, where nothing else says it
ITS_OWN = {"sharpness": "sharpness filter", "adm_guidance": "ADM guidance", "adaptive_cfg": "CFG mimicking"}


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    known = {LOGGED.get(key, key): value for key, value in found.items()}
    if "base_model" not in known or not known.keys() & {"guidance_scale", "metadata_scheme", "performance", "adm_guidance"}:
        return None
    draft = Draft(PROGRAM)
    _prompts(draft, known)
    _size(draft, known)
    steps = known.get("steps", OWN_STEPS.get(data.words(known.get("performance")).lower()))
    for name, value in (("steps", steps), ("seed", known.get("seed")), ("cfg_scale", known.get("guidance_scale"))):
        draft.take(name, value)
    draft.take("clip_skip", known.get("clip_skip", 2))
    said, spacing = data.words(known.get("sampler")), data.words(known.get("scheduler"))
    draft.sample(names.of_k_diffusion(said), names.schedule(spacing), said, spacing)
    _models(draft, known)
    if own := [words for key, words in ITS_OWN.items() if known.get(key)]:
        draft.note(f"Fooocus has a way of its own ({', '.join(own)}) in every picture; here the same settings give another one.")
    draft.rest(known, (*UNDERSTOOD, *(key for key in known if re.fullmatch(r"lora_combined_\d+|LoRA \d+", key))))
    return draft.made()


def _prompts(draft: Draft, known: dict[str, Any]) -> None:
    """The texts of its styles were encoded each for itself, one behind the other: BREAK does that."""
    for name in ("prompt", "negative_prompt"):
        full = data.rows(known.get(f"full_{name}"))
        texts = [text for text in dict.fromkeys(map(data.words, full)) if text]
        draft.take(name, " BREAK ".join(texts) or data.joined(known.get(name), ", "))
        if len(texts) > 1:
            draft.note("The texts of its styles are written out in the prompts.")


def _size(draft: Draft, known: dict[str, Any]) -> None:
    """ "(1152, 896)", "1152x896" or two numbers."""
    found = re.findall(r"\d+", data.shown(known.get("resolution", "")))
    width, height = found[:2] if len(found) >= 2 else (known.get("width"), known.get("height"))
    draft.take("width", width)
    draft.take("height", height)


def _models(draft: Draft, known: dict[str, Any]) -> None:
    draft.model(known["base_model"], known.get("base_model_hash"))
    vae = data.words(known.get("vae"))
    draft.model("" if vae.lower().startswith("default") else vae, kind="vae")
    refiner = data.words(known.get("refiner_model"))
    if refiner and refiner != "None":
        draft.model(refiner, known.get("refiner_model_hash"), "refiner")
        draft.take("refiner_switch_at", known.get("refiner_switch"))
    for row in data.rows(known.get("loras"))[:100]:
        said = [*row, None, None, None][:3] if isinstance(row, list) else [data.at(row, key) for key in ("name", "weight", "hash")]
        draft.wear(said[0], said[1], sha256=said[2])
    if not data.rows(known.get("loras")):
        for key, value in known.items():
            if re.fullmatch(r"lora_combined_\d+|LoRA \d+", key):
                name, _, weight = data.words(value).rpartition(" : ")
                draft.wear(name, weight)
