"""How other programs lay out their models: which folders hold what is used here, and which are passed over."""

from collections.abc import Sequence
from pathlib import Path

PROGRAMS = (  # what a program's own folder is told by -> its folder of models
    (("webui.py", "launch.py"), "models"),  # AUTOMATIC1111, Forge
    (("main.py", "comfy"), "models"),  # ComfyUI
    (("invokeai.yaml",), "models"),  # InvokeAI
)
OF_MODELS = ("stable-diffusion", "checkpoints", "vae", "lora", "loras", "lycoris", "diffusers")  # not part of a model's name
BASES = ("any", "sd-1", "sd-2", "sdxl", "sdxl-refiner", "sd-3", "flux")  # InvokeAI: <base>/<kind>/<model>
KINDS = ("main", "vae", "lora")
NO_MODELS = frozenset((
    # AUTOMATIC1111 and Forge
    "embeddings", "hypernetworks", "controlnet", "controlnetpreprocessor", "esrgan", "realesrgan", "swinir", "ldsr", "scunet", "codeformer", "gfpgan",
    "vae-approx", "deepbooru", "torch_deepdanbooru", "blip", "karlo", "text_encoder", "adetailer", "insightface", "svd", "z123",
    # ComfyUI
    "clip", "clip_vision", "text_encoders", "upscale_models", "latent_upscale_models", "style_models", "vae_approx", "gligen", "photomaker",
    "ipadapter", "sams", "ultralytics", "animatediff_models", "animatediff_motion_lora", "audio_encoders", "model_patches",
    # InvokeAI
    "embedding", "ip_adapter", "t2i_adapter", "clip_embed", "t5_encoder", "spandrel_image_to_image", "control_lora", "siglip", "llava_onevision",
    "flux_redux",
))  # fmt: skip


def of_programs(folders: Sequence[Path]) -> list[Path]:
    """Where somebody names a whole program, its folder of models: the rest holds other people's Python."""
    return [next((folder / models for marks, models in PROGRAMS if all((folder / mark).exists() for mark in marks)), folder) for folder in folders]


def named(parts: list[str]) -> list[str]:
    """The parts of a path that name a model, without the folders that every user of a program has."""
    low = [part.casefold() for part in parts[:-1]]
    if len(low) > 1 and low[0] in BASES and low[1] in KINDS:
        return parts[2:]
    return parts[1:] if low and low[0] in OF_MODELS else parts
