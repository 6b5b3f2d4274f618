"""What the published files of SD 3 and Flux.1 call the layers of a transformer, and what diffusers calls them. Data, and how it is looked up."""

import re
from collections.abc import Sequence
from functools import cache

Table = Sequence[tuple[str, str]]  # pattern of a whole name without its last part -> diffusers' name

SD3: Table = (
    (r"x_embedder\.proj", "pos_embed.proj"),
    (r"t_embedder\.mlp\.0", "time_text_embed.timestep_embedder.linear_1"),
    (r"t_embedder\.mlp\.2", "time_text_embed.timestep_embedder.linear_2"),
    (r"y_embedder\.mlp\.0", "time_text_embed.text_embedder.linear_1"),
    (r"y_embedder\.mlp\.2", "time_text_embed.text_embedder.linear_2"),
    (r"final_layer\.linear", "proj_out"),
    (r"final_layer\.adaLN_modulation\.1", "norm_out.linear"),
    (r"joint_blocks\.(\d+)\.x_block\.(attn2?)\.ln_([qk])", r"transformer_blocks.\1.\2.norm_\3"),
    (r"joint_blocks\.(\d+)\.x_block\.(attn2?)\.proj", r"transformer_blocks.\1.\2.to_out.0"),
    (r"joint_blocks\.(\d+)\.x_block\.adaLN_modulation\.1", r"transformer_blocks.\1.norm1.linear"),
    (r"joint_blocks\.(\d+)\.x_block\.mlp\.fc1", r"transformer_blocks.\1.ff.net.0.proj"),
    (r"joint_blocks\.(\d+)\.x_block\.mlp\.fc2", r"transformer_blocks.\1.ff.net.2"),
    (r"joint_blocks\.(\d+)\.context_block\.attn\.ln_([qk])", r"transformer_blocks.\1.attn.norm_added_\2"),
    (r"joint_blocks\.(\d+)\.context_block\.attn\.proj", r"transformer_blocks.\1.attn.to_add_out"),
    (r"joint_blocks\.(\d+)\.context_block\.adaLN_modulation\.1", r"transformer_blocks.\1.norm1_context.linear"),
    (r"joint_blocks\.(\d+)\.context_block\.mlp\.fc1", r"transformer_blocks.\1.ff_context.net.0.proj"),
    (r"joint_blocks\.(\d+)\.context_block\.mlp\.fc2", r"transformer_blocks.\1.ff_context.net.2"),
)
FLUX: Table = (
    (r"img_in", "x_embedder"),
    (r"txt_in", "context_embedder"),
    (r"time_in\.in_layer", "time_text_embed.timestep_embedder.linear_1"),
    (r"time_in\.out_layer", "time_text_embed.timestep_embedder.linear_2"),
    (r"vector_in\.in_layer", "time_text_embed.text_embedder.linear_1"),
    (r"vector_in\.out_layer", "time_text_embed.text_embedder.linear_2"),
    (r"guidance_in\.in_layer", "time_text_embed.guidance_embedder.linear_1"),
    (r"guidance_in\.out_layer", "time_text_embed.guidance_embedder.linear_2"),
    (r"final_layer\.linear", "proj_out"),
    (r"final_layer\.adaLN_modulation\.1", "norm_out.linear"),
    (r"double_blocks\.(\d+)\.img_mod\.lin", r"transformer_blocks.\1.norm1.linear"),
    (r"double_blocks\.(\d+)\.txt_mod\.lin", r"transformer_blocks.\1.norm1_context.linear"),
    (r"double_blocks\.(\d+)\.img_attn\.norm\.query_norm", r"transformer_blocks.\1.attn.norm_q"),
    (r"double_blocks\.(\d+)\.img_attn\.norm\.key_norm", r"transformer_blocks.\1.attn.norm_k"),
    (r"double_blocks\.(\d+)\.txt_attn\.norm\.query_norm", r"transformer_blocks.\1.attn.norm_added_q"),
    (r"double_blocks\.(\d+)\.txt_attn\.norm\.key_norm", r"transformer_blocks.\1.attn.norm_added_k"),
    (r"double_blocks\.(\d+)\.img_attn\.proj", r"transformer_blocks.\1.attn.to_out.0"),
    (r"double_blocks\.(\d+)\.txt_attn\.proj", r"transformer_blocks.\1.attn.to_add_out"),
    (r"double_blocks\.(\d+)\.img_mlp\.0", r"transformer_blocks.\1.ff.net.0.proj"),
    (r"double_blocks\.(\d+)\.img_mlp\.2", r"transformer_blocks.\1.ff.net.2"),
    (r"double_blocks\.(\d+)\.txt_mlp\.0", r"transformer_blocks.\1.ff_context.net.0.proj"),
    (r"double_blocks\.(\d+)\.txt_mlp\.2", r"transformer_blocks.\1.ff_context.net.2"),
    (r"single_blocks\.(\d+)\.modulation\.lin", r"single_transformer_blocks.\1.norm.linear"),
    (r"single_blocks\.(\d+)\.norm\.query_norm", r"single_transformer_blocks.\1.attn.norm_q"),
    (r"single_blocks\.(\d+)\.norm\.key_norm", r"single_transformer_blocks.\1.attn.norm_k"),
    (r"single_blocks\.(\d+)\.linear2", r"single_transformer_blocks.\1.proj_out"),
)
TABLES = {"sd3": SD3, "flux": FLUX}
APART: Sequence[tuple[str, tuple[str, ...]]] = (  # matrices of query, key and value, and of what else reads the same input
    (r"joint_blocks\.(\d+)\.x_block\.(attn2?)\.qkv", tuple(rf"transformer_blocks.\1.\2.to_{part}" for part in "qkv")),
    (r"joint_blocks\.(\d+)\.context_block\.attn\.qkv", tuple(rf"transformer_blocks.\1.attn.add_{part}_proj" for part in "qkv")),
    (r"double_blocks\.(\d+)\.img_attn\.qkv", tuple(rf"transformer_blocks.\1.attn.to_{part}" for part in "qkv")),
    (r"double_blocks\.(\d+)\.txt_attn\.qkv", tuple(rf"transformer_blocks.\1.attn.add_{part}_proj" for part in "qkv")),
    (
        r"single_blocks\.(\d+)\.linear1",
        (*(rf"single_transformer_blocks.\1.attn.to_{part}" for part in "qkv"), r"single_transformer_blocks.\1.proj_mlp"),
    ),
)


def flat_name(flat: str) -> str:
    """diffusers' name of a layer, both with "_" for "."; the same where it is none of the published ones."""
    return next((found.expand(theirs) for pattern, theirs in _flat_table() if (found := pattern.fullmatch(flat))), flat)


def pieces(flat: str, rows: int, columns: int) -> list[tuple[str, int, int]]:
    """diffusers' layers of a matrix that the published files have as one, with their rows in it; [] for other layers."""
    for pattern, parts in _flat_apart():
        if found := pattern.fullmatch(flat):
            each = rows // 3 if len(parts) == 3 else columns
            ends = [*(each * i for i in range(4)), rows][: len(parts) + 1]
            return [(found.expand(part), start, stop) for part, start, stop in zip(parts, ends[:-1], ends[1:], strict=True)]
    return []


@cache
def _flat_table() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_flat(pattern), theirs.replace(".", "_")) for pattern, theirs in (*SD3, *FLUX))


@cache
def _flat_apart() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple((_flat(pattern), tuple(part.replace(".", "_") for part in parts)) for pattern, parts in APART)


def _flat(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(r"\.", "_"))
