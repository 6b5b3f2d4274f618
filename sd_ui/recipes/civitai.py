"""What Civitai adds: a text's resources and hashes, and the answers of its own generator."""

from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.recipe import Draft, Recipe

PROGRAM = "Civitai"
NAMED = {"lora": "lora", "embed": "embedding"}
CHECKPOINTS, LORAS = ("checkpoint", "model"), ("lora", "locon", "dora", "lyco", "lycoris")


def resources(draft: Draft, said: Any) -> None:
    """[{"type": "lora", "weight": 0.8, "modelName": "...", "modelVersionId": 5}]: what stands in no tag of the prompt yet."""
    for row in [row for row in data.rows(said) if isinstance(row, dict)][:100]:
        kind = data.words(row.get("type")).lower()
        name = data.first(row.get(key) for key in ("name", "modelName", "modelVersionName"))
        sha256 = row.get("hash")
        if kind in CHECKPOINTS and name:
            if "model" not in draft.values:
                draft.model(name)
            if "model" not in draft.hashes:
                draft.hash("model", sha256)
        elif kind in LORAS and name:
            if f"<lora:{data.stem(name)}".lower() not in draft.values.get("prompt", "").lower():
                draft.wear(name, row.get("weight", 1.0), sha256=sha256)
            draft.hash(f"lora:{data.stem(name)}", sha256)
        else:
            draft.other(f"Civitai {kind or 'resource'} {row.get('modelVersionId', '')}".strip(), name or data.shown(row))


def hashes(draft: Draft, said: Any) -> None:
    """{"model": "67ab2fd8ec", "lora:name": "...", "embed:name": "...", "vae": "..."}"""
    for key, digits in list(data.table(said).items())[:200]:
        kind, _, name = key.partition(":")
        if kind in ("model", "vae", "refiner") or (kind in NAMED and name):
            what = f"{NAMED[kind]}:{name}" if kind in NAMED else kind
            if what not in draft.hashes:
                draft.hash(what, digits)
        else:
            draft.other(f"Hash of {key}", digits)


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    """Its generator hides what was asked for as JSON within a ComfyUI graph."""
    said = found.get("extraMetadata")
    said = said if isinstance(said, dict) else data.parsed(data.words(said))
    if not isinstance(said, dict) or "prompt" not in said:
        return None
    draft = Draft(PROGRAM)
    asked = data.table(said, "params") | said
    draft.take("prompt", data.words(asked.get("prompt")))
    draft.take("negative_prompt", data.words(asked.get("negativePrompt")))
    for name, keys in {"steps": ("steps",), "seed": ("seed",), "cfg_scale": ("cfgScale", "cfg_scale"), "width": ("width",), "height": ("height",),
                       "clip_skip": ("clipSkip",)}.items():  # fmt: skip
        draft.take(name, data.first(asked.get(key) for key in keys))
    sampler, schedule = names.of_a1111(data.words(asked.get("sampler")))
    draft.sample(sampler, schedule, asked.get("sampler"))
    resources(draft, asked.get("resources"))
    draft.rest(
        asked, ("prompt", "negativePrompt", "steps", "seed", "cfgScale", "cfg_scale", "sampler", "width", "height", "clipSkip", "resources", "params")
    )
    return draft.made()
