"""NovelAI: JSON in the comment of its pictures; the oldest ones have the prompt in the description."""

from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe
from sd_ui.recipes.weights import from_novelai

PROGRAM = "NovelAI"
UNDERSTOOD = ("prompt", "uc", "steps", "seed", "scale", "height", "width", "sampler", "noise_schedule", "strength", "n_samples", "v4_prompt",
              "v4_negative_prompt", "signed_hash", "request_type", "version", "noise")  # fmt: skip


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    wrapped = data.parsed(data.words(found.get("Comment")))  # the hidden form has all of the file's texts in one object
    if isinstance(wrapped, dict):
        return read(wrapped, texts | {key: value for key, value in found.items() if isinstance(value, str)})
    if "uc" not in found or "sampler" not in found or not ("scale" in found and "steps" in found) or "c" in found:
        return None
    draft = Draft(PROGRAM)
    _prompts(draft, found, texts)
    for name, key in (("steps", "steps"), ("seed", "seed"), ("cfg_scale", "scale"), ("width", "width"), ("height", "height")):
        draft.take(name, found.get(key), key)
    said, spacing = data.words(found.get("sampler")), data.words(found.get("noise_schedule"))
    draft.sample(names.of_k_diffusion(said), names.schedule(spacing or "native"), said, spacing)
    draft.note(f"Its model is NovelAI's own ({data.shown(texts.get('Source') or 'unnamed')}): nobody else has it.")
    draft.rest(found, UNDERSTOOD)
    mode = "inpaint" if "Infill" in data.words(found.get("request_type")) else "img2img" if found.get("image") or _is_img2img(found) else "txt2img"
    if mode != "txt2img":
        draft.take("strength", found.get("strength"))
    return draft.made(mode)


def _is_img2img(found: dict[str, Any]) -> bool:
    return "Img2Img" in data.words(found.get("request_type")) or ("strength" in found and "noise" in found)


def _prompts(draft: Draft, found: dict[str, Any], texts: dict[str, str]) -> None:
    """Since version 4 there is a caption for the picture and one for each character."""
    for name, key, own in (("prompt", "prompt", "v4_prompt"), ("negative_prompt", "uc", "v4_negative_prompt")):
        people = [data.words(data.at(row, "char_caption")) for row in data.rows(data.at(found, own, "caption", "char_captions"))]
        said = [data.words(data.at(found, own, "caption", "base_caption")), *people]
        text = data.joined(said, ", ") or data.words(found.get(key)) or (data.words(texts.get("Description")) if name == "prompt" else "")
        draft.take(name, from_novelai(text))
        if any(people):
            draft.note("Its characters had texts and places of their own; here they stand behind the prompt.")
