"""SwarmUI, once StableSwarmUI: an object "sui_image_params", and since 0.9 the models' hashes in "sui_models"."""

from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe

PROGRAM = "SwarmUI"
FIELDS = {"steps": "steps", "seed": "seed", "cfgscale": "cfg_scale", "width": "width", "height": "height"}
UNDERSTOOD = ("prompt", "negativeprompt", "model", "vae", "sampler", "comfyuisampler", "scheduler", "comfyuischeduler", "loras", "loraweights",
              "images", "initimagecreativity", "clipstopatlayer", "swarm_version", "automaticvae", "aspectratio", *FIELDS)  # fmt: skip


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    said = found.get("sui_image_params")
    if not isinstance(said, dict):
        return None
    draft = Draft(PROGRAM)
    draft.take("prompt", data.words(said.get("prompt")))
    draft.take("negative_prompt", data.words(said.get("negativeprompt")))
    for key, name in FIELDS.items():
        draft.take(name, said.get(key), key)
    sampler = data.words(said.get("sampler") or said.get("comfyuisampler")) or "euler"
    spacing = data.words(said.get("scheduler") or said.get("comfyuischeduler")) or "normal"
    draft.sample(names.of_k_diffusion(sampler), names.schedule(spacing), sampler, spacing)
    _models(draft, said, found)
    layer = data.number(said.get("clipstopatlayer"), 0)
    draft.take("clip_skip", int(-layer) if -12 <= layer < 0 else 1)
    if "<" in draft.values.get("prompt", ""):
        draft.note("What stands in < > in its prompt is SwarmUI's own language; only <lora:name:weight> means something here.")
    draft.rest(said, UNDERSTOOD)
    mode = "inpaint" if "maskimage" in said else "img2img" if "initimagecreativity" in said or "initimage" in said else "txt2img"
    if mode != "txt2img":
        draft.take("strength", said.get("initimagecreativity"))
    return draft.made(mode)


def _models(draft: Draft, said: dict[str, Any], found: dict[str, Any]) -> None:
    """Its hashes are of the tensors alone, unlike A1111's of checkpoints: only those of LoRAs are the same."""
    draft.model(said.get("model"))
    draft.model(said.get("vae"), kind="vae")
    hashes = {data.stem(data.at(row, "name")): data.at(row, "hash") for row in data.rows(found.get("sui_models"))}
    weights = data.rows(said.get("loraweights"))
    for index, name in enumerate(data.rows(said.get("loras"))[:100]):
        draft.wear(name, weights[index] if index < len(weights) else 1.0, sha256=hashes.get(data.stem(name)))
