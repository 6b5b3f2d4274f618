"""What the published files call their tensors, as Stable Diffusion's own programs did: to and from the names of diffusers and transformers."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
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
SD1_LEVELS = (True, True, True, False)
OPEN_CLIP = {
    "token_embedding.": "embeddings.token_embedding.", "positional_embedding": "embeddings.position_embedding.weight",
    "transformer.resblocks.": "encoder.layers.", "ln_final.": "final_layer_norm.", ".ln_1.": ".layer_norm1.", ".ln_2.": ".layer_norm2.",
    ".attn.": ".self_attn.", ".mlp.c_fc.": ".mlp.fc1.", ".mlp.c_proj.": ".mlp.fc2.",
}  # fmt: skip
JOINED = {"in_proj_weight": "weight", "in_proj_bias": "bias"}


def unet_names(down_block_types: Sequence[str]) -> Callable[[str], str]:
    """The naming of a U-Net whose levels are of these types of diffusers. Names are without the prefix of a whole checkpoint, as below."""
    levels = tuple("CrossAttn" in kind for kind in down_block_types)
    return lambda name: unet_name(name, levels)


def unet_name(name: str, levels: tuple[bool, ...] = SD1_LEVELS) -> str:
    """levels: which of them have attention, from the largest to the deepest."""
    ours, theirs = next((ours, theirs) for ours, theirs in _unet_prefixes(levels).items() if name.startswith(ours))
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


def clip_of_open_clip(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """OpenCLIP's text tower as transformers' CLIPTextModel has it: query, key and value apart, the projection turned.

    layers: how many are kept: Stable Diffusion 2 never reads the last one. What only training needs (logit_scale, the mask) is left out.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        layer = re.match(r"transformer\.resblocks\.(\d+)\.", name)
        if name in ("logit_scale", "attn_mask") or (layer and int(layer[1]) >= layers):
            continue
        found |= _clip_tensors(name, tensor)
    return found


def _clip_tensors(name: str, tensor: Tensor) -> dict[str, Tensor]:
    stem, _, last = name.rpartition(".")
    if name == "text_projection":
        return {"text_projection.weight": tensor.T}
    if last in JOINED:
        into = _replaced(stem + ".", OPEN_CLIP)
        return {f"{into}{part}_proj.{JOINED[last]}": piece for part, piece in zip("qkv", torch.chunk(tensor, 3), strict=True)}
    return {_replaced(name, OPEN_CLIP): tensor}


@cache
def _unet_prefixes(levels: tuple[bool, ...]) -> dict[str, str]:
    """Levels of two (down) and three (up) blocks; attentions of levels that have none exist in the table only."""
    found = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "time_embedding.cond_proj": "time_embed.cond_proj", "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "mid_block.attentions.0.": "middle_block.1.", "mid_block.resnets.0.": "middle_block.0.", "mid_block.resnets.1.": "middle_block.2.",
    }  # fmt: skip
    for level, attends in enumerate(reversed(levels)):
        found[f"up_blocks.{level}.upsamplers.0."] = f"output_blocks.{3 * level + 2}.{2 if attends else 1}."
        for layer in range(3):
            block = f"output_blocks.{3 * level + layer}"
            found[f"up_blocks.{level}.resnets.{layer}."] = f"{block}.0."
            found[f"up_blocks.{level}.attentions.{layer}."] = f"{block}.1."
    for level in range(len(levels)):
        found[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{3 * (level + 1)}.0.op."
        for layer in range(2):
            block = f"input_blocks.{3 * level + layer + 1}"
            found[f"down_blocks.{level}.resnets.{layer}."] = f"{block}.0."
            found[f"down_blocks.{level}.attentions.{layer}."] = f"{block}.1."
    return found


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        text = text.replace(ours, theirs)
    return text
