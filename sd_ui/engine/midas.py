"""The depth estimator inside Stable Diffusion 2's depth model as one file: MiDaS's DPT-Hybrid, by the names of its own program (isl-org/DPT)."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import BaseImageProcessor, DPTConfig, DPTForDepthEstimation, DPTImageProcessor, PreTrainedModel

from sd_ui.engine import parts
from sd_ui.engine.device import Place
from sd_ui.models.published import HEAD

PREFIX = "depth_model.model."
VIT, POST = "pretrained.model.", "pretrained.act_postprocess"
BACKBONE = VIT + "patch_embed.backbone."
PATCH = 16  # pixels
LOOK: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_resize": True, "resample": 2}
NAMES = (  # ours -> theirs; they count the fusion from the other end
    (r"dpt\.embeddings\.cls_token", lambda m: VIT + "cls_token"),
    (r"dpt\.embeddings\.position_embeddings", lambda m: VIT + "pos_embed"),
    (r"dpt\.embeddings\.backbone\.bit\.embedder\.convolution", lambda m: BACKBONE + "stem.conv"),
    (r"dpt\.embeddings\.backbone\.bit\.embedder\.norm", lambda m: BACKBONE + "stem.norm"),
    (r"dpt\.embeddings\.backbone\.bit\.encoder\.stages\.(\d+)\.layers\.", lambda m: f"{BACKBONE}stages.{m[1]}.blocks."),
    (r"dpt\.embeddings\.projection", lambda m: VIT + "patch_embed.proj"),
    (r"dpt\.encoder\.layer\.(\d+)\.attention\.attention\.", lambda m: f"{VIT}blocks.{m[1]}.attn."),
    (r"dpt\.encoder\.layer\.(\d+)\.attention\.output\.dense", lambda m: f"{VIT}blocks.{m[1]}.attn.proj"),
    (r"dpt\.encoder\.layer\.(\d+)\.intermediate\.dense", lambda m: f"{VIT}blocks.{m[1]}.mlp.fc1"),
    (r"dpt\.encoder\.layer\.(\d+)\.output\.dense", lambda m: f"{VIT}blocks.{m[1]}.mlp.fc2"),
    (r"dpt\.encoder\.layer\.(\d+)\.layernorm_before", lambda m: f"{VIT}blocks.{m[1]}.norm1"),
    (r"dpt\.encoder\.layer\.(\d+)\.layernorm_after", lambda m: f"{VIT}blocks.{m[1]}.norm2"),
    (r"dpt\.layernorm", lambda m: VIT + "norm"),
    (r"neck\.reassemble_stage\.readout_projects\.(\d)\.0", lambda m: f"{POST}{int(m[1]) + 1}.0.project.0"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.projection", lambda m: f"{POST}{int(m[1]) + 1}.3"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.resize", lambda m: f"{POST}{int(m[1]) + 1}.4"),
    (r"neck\.convs\.(\d)", lambda m: f"scratch.layer{int(m[1]) + 1}_rn"),
    (r"neck\.fusion_stage\.layers\.(\d)\.projection", lambda m: f"scratch.refinenet{4 - int(m[1])}.out_conv"),
    (
        r"neck\.fusion_stage\.layers\.(\d)\.residual_layer(\d)\.convolution(\d)",
        lambda m: f"scratch.refinenet{4 - int(m[1])}.resConfUnit{m[2]}.conv{m[3]}",
    ),
    (r"head\.head\.", lambda m: "scratch.output_conv."),
)
PARTED = ("query", "key", "value")


def of_file(weights: Mapping[str, Tensor], place: Place) -> tuple[PreTrainedModel | None, BaseImageProcessor | None]:
    """weights: of the whole file, by its names. (None, None) where it brings no estimator. Raises BadRequest where it is of another kind."""
    own = parted({name.removeprefix(PREFIX): tensor for name, tensor in weights.items() if name.startswith(PREFIX)})
    if not own:
        return None, None
    kept = {name: tensor for name, tensor in own.items() if not name.startswith(VIT + "head.")}  # of the classifier that it grew from
    config = _config(kept)
    estimator: PreTrainedModel = parts.built("the depth estimator", lambda: DPTForDepthEstimation(DPTConfig(**config)), kept, place, original_name)
    side = config["image_size"]
    return estimator, DPTImageProcessor(size={"height": side, "width": side}, **LOOK)


def original_name(name: str) -> str:
    for pattern, theirs in NAMES:
        if found := re.match(pattern, name):
            return theirs(found) + name[found.end() :]
    return name


def parted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """They keep query, key and value in one matrix."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        stem, joined, kind = name.partition(".qkv.")
        found |= {f"{stem}.{part}.{kind}": piece for part, piece in zip(PARTED, torch.chunk(tensor, 3), strict=True)} if joined else {name: tensor}
    return found


def _config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Published are 12 layers of 768 over a ResNet; the widths are those of the file."""

    def size(name: str, axis: int = 0) -> int:
        if name not in weights or weights[name].ndim <= axis:
            raise parts.unfit("the depth estimator", f"{name} is missing: it is not MiDaS's DPT-Hybrid")
        return weights[name].shape[axis]

    width, cells = size(VIT + "cls_token", 2), round((size(VIT + "pos_embed", 1) - 1) ** 0.5)
    stages = [size(f"{BACKBONE}stages.{i}.blocks.0.conv3.weight") for i in range(3)]
    backbone = {
        "model_type": "bit", "global_padding": "same", "layer_type": "bottleneck", "depths": [3, 4, 9],
        "out_features": ["stage1", "stage2", "stage3"], "embedding_dynamic_padding": True,
        "embedding_size": size(BACKBONE + "stem.conv.weight"), "hidden_sizes": [*stages, 2 * stages[-1]],
    }  # fmt: skip
    return {
        "is_hybrid": True, "backbone_config": backbone, "backbone_featmap_shape": [1, stages[-1], cells, cells], "image_size": cells * PATCH,
        "patch_size": PATCH, "hidden_size": width, "num_attention_heads": max(1, width // HEAD), "reassemble_factors": [1, 1, 1, 0.5],
        "intermediate_size": size(VIT + "blocks.0.mlp.fc1.weight"),
        "neck_hidden_sizes": [size(f"scratch.layer{i}_rn.weight", 1) for i in range(1, 5)],
        "fusion_hidden_size": size("scratch.layer1_rn.weight"), "readout_type": "project", "neck_ignore_stages": [0, 1],
    }  # fmt: skip
