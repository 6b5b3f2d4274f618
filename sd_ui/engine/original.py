"""What Stable Diffusion 1.x's own program called its tensors: from the names of diffusers and transformers to those of a published file."""

import re
from collections.abc import Mapping
from functools import cache

from torch import Tensor

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
VAE_PATTERNS = (  # the decoder counts its levels from the other end
    (r"down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"down.{m[1]}.block.{m[2]}"),
    (r"down_blocks\.(\d)\.downsamplers\.0", lambda m: f"down.{m[1]}.downsample"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample"),
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0", lambda m: "mid.attn_1"),
    (r"conv_norm_out", lambda m: "norm_out"),
    (r"conv_shortcut", lambda m: "nin_shortcut"),
)


def unet_name(name: str) -> str:
    """Without the prefix that it has inside a whole checkpoint; the same for the VAE below."""
    ours, theirs = next((ours, theirs) for ours, theirs in _unet_prefixes().items() if name.startswith(ours))
    rest = name[len(ours) :]
    return theirs + (_replaced(rest, RESNET) if "resnets" in ours else rest)


def vae_name(name: str) -> str:
    new = name
    for pattern, replacement in VAE_PATTERNS:
        new = re.sub(pattern, replacement, new)
    return _replaced(new, VAE_ATTENTION) if "attentions" in name else new


def linear(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE's attention had 1x1 convolutions where diffusers has linear layers of the same numbers. By the original names."""
    return {name: t[:, :, 0, 0] if ".attn_" in name and t.ndim == 4 else t for name, t in weights.items()}


@cache
def _unet_prefixes() -> dict[str, str]:
    """Four levels of two (down) and three (up) blocks; the attentions of the deepest level exist in the table only."""
    found = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0", "conv_out": "out.2", "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.0.": "middle_block.0.", "mid_block.resnets.1.": "middle_block.2.",
    }  # fmt: skip
    for level in range(4):
        for layer in range(2):
            block = f"input_blocks.{3 * level + layer + 1}"
            found[f"down_blocks.{level}.resnets.{layer}."] = f"{block}.0."
            found[f"down_blocks.{level}.attentions.{layer}."] = f"{block}.1."
        for layer in range(3):
            block = f"output_blocks.{3 * level + layer}"
            found[f"up_blocks.{level}.resnets.{layer}."] = f"{block}.0."
            found[f"up_blocks.{level}.attentions.{layer}."] = f"{block}.1."
        found[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{3 * (level + 1)}.0.op."
        found[f"up_blocks.{level}.upsamplers.0."] = f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}."
    return found


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        text = text.replace(ours, theirs)
    return text
