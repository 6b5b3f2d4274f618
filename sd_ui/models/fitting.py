"""The layers of a checkpoint that a LoRA may change, with the sizes of their weights: from headers alone."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sd_ui.models import flow_files, flow_folders, flow_names, folders, header
from sd_ui.models.lora_keys import TEXT, TEXT_2, UNET, Layer, text_name, unet_name

Sizes = Mapping[Layer, tuple[int, int]]  # rows and columns of a weight as a matrix: (out, in x kernel)
PREFIXES = {  # in published files
    "model.diffusion_model.": UNET, "cond_stage_model.transformer.": TEXT, "cond_stage_model.model.": TEXT,
    "conditioner.embedders.0.transformer.": TEXT, "conditioner.embedders.1.model.": TEXT_2, "conditioner.embedders.0.model.": TEXT_2,
    "text_encoders.clip_l.transformer.": TEXT, "text_encoders.clip_g.transformer.": TEXT_2,
}  # fmt: skip
WORDS = ("embeddings_token_embedding", "token_embedding")  # transformers' table of words, and OpenCLIP's
OPEN_CLIP = {"attn_out_proj": "self_attn_out_proj", "mlp_c_fc": "mlp_fc1", "mlp_c_proj": "mlp_fc2"}


def layers_of(path: Path) -> Sizes:
    """Of a checkpoint: a diffusers folder, or one file as it was published. Raises Unreadable or OSError."""
    return dict(_of_folder(path) if path.is_dir() else _of_file(path))


def text_widths(sizes: Sizes) -> tuple[int, ...]:
    """Of the tables of words, one for each text encoder."""
    return tuple(sizes[Layer(part, name)][1] for part in (TEXT, TEXT_2) for name in WORDS if Layer(part, name) in sizes)


def _of_folder(path: Path) -> Iterator[tuple[Layer, tuple[int, int]]]:
    for folder, part in ((UNET, UNET), (flow_folders.TRANSFORMER, UNET), (TEXT, TEXT), (TEXT_2, TEXT_2)):
        if (path / folder / folders.CONFIG).is_file():
            for file in folders.weights(path / folder):
                for name, tensor in header.read(file).tensors.items():
                    yield from _layers(part, name, tensor.shape)


def _of_file(path: Path) -> Iterator[tuple[Layer, tuple[int, int]]]:
    found = header.read(path)
    bare = (flow := flow_files.of(found)) is not None and not flow[1]  # a transformer alone, whose names begin without a prefix
    for name, tensor in found.tensors.items():
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
        if prefix or bare:
            yield from _layers(PREFIXES.get(prefix, UNET), name.removeprefix(prefix), tensor.shape)


def _layers(part: str, name: str, shape: tuple[int, ...]) -> Iterator[tuple[Layer, tuple[int, int]]]:
    if len(shape) < 2:
        return
    flat, size = name.removesuffix(".weight").replace(".", "_"), (shape[0], math.prod(shape[1:]))
    if part == UNET:
        parts = flow_names.pieces(flat, *size)
        yield from ((Layer(part, piece), (stop - start, size[1])) for piece, start, stop in parts or [(unet_name(flat), 0, size[0])])
    elif found := re.fullmatch(r"transformer_resblocks_(\d+)_(.+)", flat):
        yield from _of_open_clip(part, f"encoder_layers_{found[1]}_", found[2], size)
    else:
        yield Layer(part, text_name(flat)), size


def _of_open_clip(part: str, layer: str, inner: str, size: tuple[int, int]) -> Iterator[tuple[Layer, tuple[int, int]]]:
    """OpenCLIP keeps query, key and value in one matrix."""
    if inner == "attn_in_proj_weight":
        for which in "qkv":
            yield Layer(part, f"{layer}self_attn_{which}_proj"), (size[0] // 3, size[1])
    else:
        yield Layer(part, layer + OPEN_CLIP.get(inner, inner)), size
