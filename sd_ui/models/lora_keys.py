"""How files of LoRAs name their tensors: of diffusers and peft, of kohya's scripts and LyCORIS, with the layers' names of diffusers or of the
published checkpoints. All of them become one: part, layer, role."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from sd_ui.models import flow_names
from sd_ui.models.header import Unreadable

UNET, TEXT, TEXT_2 = "unet", "text_encoder", "text_encoder_2"
ROLES = {  # by the end of a name
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".lora_mid.weight": "mid", ".alpha": "alpha", ".dora_scale": "magnitude",
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_magnitude_vector": "magnitude", ".lora_magnitude_vector.weight": "magnitude",
    ".lora.down.weight": "down", ".lora.up.weight": "up", "_lora.down.weight": "down", "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    **{f".{role}": role for role in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b",
                                     "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}  # fmt: skip
REFUSED = {  # by the end of a name, too
    ".diff": "whole weights (LyCORIS' Full)", ".diff_b": "changes of biases", ".w_norm": "norms", ".b_norm": "norms", ".on_input": "IA3",
    ".oft_blocks": "OFT", ".oft_diag": "OFT", ".a1.weight": "GLoRA", ".b1.weight": "GLoRA", ".lora_B.bias": "changes of biases",
    ".lora_up.bias": "changes of biases", ".bias_values": "changes of biases", ".lokr_t1": "LoKr with two cores",
}  # fmt: skip
PREFIXES = {  # the first that fits counts
    "lora_unet_": UNET, "lora_te1_": TEXT, "lora_te2_": TEXT_2, "lora_te_": TEXT, "unet.": UNET, "text_encoder_2.": TEXT_2, "text_encoder.": TEXT,
    "model.diffusion_model.": UNET, "diffusion_model.": UNET, "base_model.model.text_model.": TEXT, "base_model.model.": UNET,
    "transformer.": UNET, "lora_transformer_": UNET,
}  # fmt: skip
BARE = (  # the U-Net's alone, as diffusers once saved them; a transformer's, as published
    "down_blocks.", "mid_block.", "up_blocks.", "double_blocks.", "single_blocks.", "joint_blocks.", "transformer_blocks.",
    "single_transformer_blocks.",
)  # fmt: skip
STRANGERS = {"joint_transformer_blocks": "AuraFlow", "lora_te3": "T5"}  # by a part of a name: which model it was made for
RESNET = {
    "in_layers_0": "norm1", "in_layers_2": "conv1", "emb_layers_1": "time_emb_proj", "out_layers_0": "norm2", "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}  # fmt: skip
ENDS = {
    "time_embed_0": "time_embedding_linear_1", "time_embed_2": "time_embedding_linear_2", "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2", "input_blocks_0_0": "conv_in", "out_0": "conv_norm_out", "out_2": "conv_out",
}  # fmt: skip


class Layer(NamedTuple):
    """part: of the model. name: as diffusers and transformers name it, with "_" for "."; without the "text_model" that it once began with."""

    part: str
    name: str


def is_lora(names: Iterable[str]) -> bool:
    telling = tuple(end for end, role in ROLES.items() if role not in ("alpha", "magnitude"))
    return any(name.endswith(telling) or name.startswith(("lora_unet_", "lora_te", "lycoris_")) for name in names)


def grouped(names: Iterable[str]) -> dict[Layer, dict[str, str]]:
    """What a file holds for each layer: role -> name of its tensor. Raises Unreadable for what is not understood, or not supported, by name."""
    found: dict[Layer, dict[str, str]] = defaultdict(dict)
    for name in names:
        layer, role = read(name)
        if role in found[layer]:
            raise Unreadable(f"a damaged LoRA: {name} and {found[layer][role]} are the same")
        found[layer][role] = name
    return dict(found)


@lru_cache(maxsize=2**15)  # the LoRAs of one family have the same names
def read(name: str) -> tuple[Layer, str]:
    """Layer and role of one tensor. Raises Unreadable."""
    if refused := next((what for end, what in REFUSED.items() if name.endswith(end)), ""):
        raise Unreadable(f"a LoRA with {refused}, which is not supported")
    end = max((end for end in ROLES if name.endswith(end)), key=len, default="")
    path = name.removesuffix(end)
    prefix = next((prefix for prefix in PREFIXES if path.startswith(prefix)), "")
    flat = path.removeprefix(prefix).replace(".", "_")
    if stranger := next((whose for part, whose in STRANGERS.items() if part in flat), ""):
        raise Unreadable(f"a LoRA for {stranger}, which is not supported")
    if not end or not (prefix or path.startswith(BARE)):
        raise Unreadable(f"a LoRA of a kind that is not known here: its tensor {name[:80]} means nothing")
    part = PREFIXES.get(prefix, UNET)
    return Layer(part, unet_name(flat) if part == UNET else text_name(flat)), ROLES[end]


def unet_name(flat: str) -> str:
    """diffusers' name of a layer of a U-Net with two resnets a level, or of a transformer, as all the published ones are, from theirs or its own."""
    flat = re.sub(r"_processor(?=_to_)", "", flat)
    flat = re.sub(r"attn(\d)_to_out$", r"attn\1_to_out_0", flat)
    if flat in ENDS:
        return ENDS[flat]
    if found := re.fullmatch(r"(input|output)_blocks_(\d{1,2})_(\d)_(.+)", flat):
        return _block(found[1] == "input", int(found[2]), int(found[3]), found[4])
    if found := re.fullmatch(r"middle_block_(\d)_(.+)", flat):
        return f"mid_block_attentions_0_{found[2]}" if found[1] == "1" else f"mid_block_resnets_{int(found[1]) // 2}_{RESNET.get(found[2], found[2])}"
    return flow_names.flat_name(flat)


def text_name(flat: str) -> str:
    """transformers' name of a layer of CLIP's text model; diffusers once called its attention as it calls the U-Net's."""
    flat = flat.removeprefix("text_model_")
    flat = re.sub(r"self_attn_to_([qkv])$", r"self_attn_\1_proj", flat)
    return re.sub(r"self_attn_to_out$", "self_attn_out_proj", flat)


def _block(goes_in: bool, index: int, place: int, rest: str) -> str:
    """Going in, block 0 is the first convolution, and each level is two layers and a downsampler; going out, three layers."""
    level, layer = divmod(index - 1 if goes_in else index, 3)
    side = "down" if goes_in else "up"
    if goes_in and layer == 2 and rest == "op":
        return f"down_blocks_{level}_downsamplers_0_conv"
    if not goes_in and place > 0 and rest == "conv":
        return f"up_blocks_{level}_upsamplers_0_conv"
    kind, inner = ("resnets", RESNET.get(rest, rest)) if place == 0 else ("attentions", rest)
    return f"{side}_blocks_{level}_{kind}_{layer}_{inner}"
