"""How other programs lay out their models: which folders hold what is used here, and which are passed over."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAMS = (  # what a program's own folder is told by -> its folder of models
    (("webui.py", "launch.py"), "models"),  # AUTOMATIC1111, Forge
    (("main.py", "comfy"), "models"),  # ComfyUI
    (("invokeai.yaml",), "models"),  # InvokeAI
)
OF_MODELS = ("stable-diffusion", "checkpoints", "vae", "lora", "loras", "lycoris", "diffusers", "embeddings", "diffusion_models", "unet",
             "text_encoder", "text_encoders", "clip")  # not part of a model's name  # fmt: skip
EXTRA, EXTRA_KINDS, LONGEST = "extra_model_paths.yaml", ("checkpoints", "vae", "loras", "diffusers", "embeddings", "diffusion_models", "unet",
                                                               "text_encoders", "clip"), 2**16  # fmt: skip
ENTRY = re.compile(r"(\w+):(?:\s+(.*))?")
BASES = ("any", "sd-1", "sd-2", "sdxl", "sdxl-refiner", "sd-3", "flux")  # InvokeAI: <base>/<kind>/<model>
KINDS = ("main", "vae", "lora", "embedding")
BESIDE = ("embeddings",)  # AUTOMATIC1111 and Forge keep them beside their models, not among them
KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # newer ones: <key>/<model>
NO_MODELS = frozenset((
    # AUTOMATIC1111 and Forge
    "hypernetworks", "controlnet", "controlnetpreprocessor", "esrgan", "realesrgan", "swinir", "ldsr", "scunet", "codeformer", "gfpgan",
    "vae-approx", "deepbooru", "torch_deepdanbooru", "blip", "karlo", "adetailer", "insightface", "svd", "z123",
    # ComfyUI
    "clip_vision", "upscale_models", "latent_upscale_models", "style_models", "vae_approx", "gligen", "photomaker",
    "ipadapter", "sams", "ultralytics", "animatediff_models", "animatediff_motion_lora", "audio_encoders", "model_patches", "classifiers",
    # InvokeAI
    "ip_adapter", "t2i_adapter", "clip_embed", "t5_encoder", "spandrel_image_to_image", "control_lora", "siglip", "llava_onevision",
    "flux_redux", "qwen3_encoder",
))  # fmt: skip


def of_programs(folders: Sequence[Path]) -> list[Path]:
    """Where somebody names a whole program, its folders of models: the rest holds other people's Python."""
    return [place for folder in folders for place in _of_program(folder)]


def _of_program(folder: Path) -> list[Path]:
    models = next((folder / models for marks, models in PROGRAMS if all((folder / mark).exists() for mark in marks)), None)
    if models is None:
        return [folder]
    beside = [folder / name for name in BESIDE if (folder / name).is_dir()]
    return [models, *beside, *elsewhere(folder / EXTRA)]


def elsewhere(file: Path) -> list[Path]:
    """The folders of checkpoints, VAEs, LoRAs and embeddings that ComfyUI's extra_model_paths.yaml names.

    Of YAML it reads what that file consists of: sections, `base_path`, and a path or lines of paths for each kind.
    """
    try:
        lines = file.read_text("utf-8").splitlines() if file.stat().st_size <= LONGEST else []
    except (OSError, ValueError):
        return []
    found = [base / path for kind, base, path in _entries(lines, file.parent) if kind in EXTRA_KINDS]
    return list(dict.fromkeys(path for path in found if path.is_dir()))


def _entries(lines: Sequence[str], home: Path) -> Iterator[tuple[str, Path, str]]:
    """Kind, the folder that its path starts from, and the path."""
    base, kind = home, ""
    for line in lines:
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        entry = ENTRY.fullmatch(text)
        if not line[0].isspace():
            base, kind = home, ""
        elif entry is None:
            yield kind, base, text.strip("\"'")
        elif entry[1] == "base_path":
            base = home / _expanded((entry[2] or "").strip("\"'"))
        else:
            kind, path = entry[1], (entry[2] or "").strip("\"'|> ")
            if path:
                yield kind, base, path


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the home of somebody who is not known here
        return Path(path)


def named(parts: list[str]) -> list[str]:
    """The parts of a path that name a model, without the folders that every user of a program has."""
    low = [part.casefold() for part in parts[:-1]]
    if len(low) > 1 and low[0] in BASES and low[1] in KINDS:
        return parts[2:]
    if low and KEY.fullmatch(low[0]):
        return parts[1:]
    return parts[1:] if low and low[0] in OF_MODELS else parts
