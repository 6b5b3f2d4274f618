"""SD 3, SD 3.5 and Flux.1 in one file: every tensor that the published files have, by its name, at a tiny width and with random numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checkpoints import FOUR_LEVELS, _vae, original_vae
from tests.families import BIG, clip
from tests.mmdit import FLUX_VAE, SD3_VAE

VOCABULARY, T5_WORDS, WIDE = 49408, 32128, 208  # T5's width: more than both CLIPs' together
SD3_WIDTH, FLUX_WIDTH, FLUX_HEAD = 64, 64, 32
UNET = "model.diffusion_model."
TEXTS = {"clip_l": "text_encoders.clip_l.transformer.", "clip_g": "text_encoders.clip_g.transformer.", "t5": "text_encoders.t5xxl.transformer."}


@dataclass(frozen=True)
class FlowFile:
    """texts: by the names of their parts, as transformers knows them. vae_prefix: SD 3's files and Flux.1's call it differently."""

    transformer: Mapping[str, Any]
    vae: Any
    texts: Mapping[str, Any]
    vae_prefix: str

    def tensors(self, prefix: str = UNET, parts: tuple[str, ...] = ("clip_l", "clip_g", "t5", "vae")) -> dict[str, Any]:
        """prefix: of the transformer. parts: that are in the file besides it."""
        found = {prefix + name: tensor for name, tensor in self.transformer.items()}
        for part, encoder in self.texts.items():
            if part in parts:
                found |= {TEXTS[part] + name: tensor for name, tensor in text_tensors(encoder).items()}
        if "vae" in parts:
            found |= {self.vae_prefix + name: tensor for name, tensor in original_vae(self.vae).items()}
        return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def text_tensors(encoder: Any) -> dict[str, Any]:
    """As files of text encoders alone have them, too."""
    if type(encoder).__name__ == "T5EncoderModel":
        return {name: tensor for name, tensor in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}
    inner = ("text_model.", "text_projection.")
    return {name if name.startswith(inner) else f"text_model.{name}": tensor for name, tensor in encoder.state_dict().items()}


def sd3_file(seed: int = 0, blocks: int = 24, normed: bool = False, dual: int = 0, channels: int = 16) -> FlowFile:
    """blocks: 24 in SD 3 and 3.5 Medium, 38 in Large. normed: 3.5. dual: so many blocks have a second attention, 13 in 3.5 Medium."""
    w = SD3_WIDTH
    shapes = {"pos_embed": (1, 24 * 24, w), "x_embedder.proj.weight": (w, channels, 2, 2), "x_embedder.proj.bias": (w,)}
    shapes |= linear("t_embedder.mlp.0", w, 256) | linear("t_embedder.mlp.2", w, w)
    shapes |= linear("y_embedder.mlp.0", w, 64 + BIG) | linear("y_embedder.mlp.2", w, w)
    shapes |= linear("context_embedder", w, WIDE) | linear("final_layer.linear", 64, w) | linear("final_layer.adaLN_modulation.1", 2 * w, w)
    for i in range(blocks):
        for side in ("x", "context"):
            start, last = f"joint_blocks.{i}.{side}_block.", side == "context" and i == blocks - 1
            shapes |= linear(f"{start}attn.qkv", 3 * w, w)
            twice = side == "x" and i < dual
            shapes |= linear(f"{start}adaLN_modulation.1", (2 if last else 9 if twice else 6) * w, w)
            shapes |= {f"{start}attn.ln_{part}.weight": (64,) for part in "qk"} if normed else {}
            if twice:
                shapes |= linear(f"{start}attn2.qkv", 3 * w, w) | linear(f"{start}attn2.proj", w, w)
                shapes |= {f"{start}attn2.ln_{part}.weight": (64,) for part in "qk"} if normed else {}
            if not last:
                shapes |= linear(f"{start}attn.proj", w, w) | linear(f"{start}mlp.fc1", 4 * w, w) | linear(f"{start}mlp.fc2", w, 4 * w)
    return _made(shapes, seed, SD3_VAE, {"clip_l": (64, 12, True), "clip_g": (BIG, 32, True)}, "first_stage_model.")


def flux_file(seed: int = 0, double: int = 19, single: int = 38, guided: bool = True, channels: int = 64) -> FlowFile:
    """channels: 384 in Fill, 128 in Depth and Canny."""
    w, head = FLUX_WIDTH, FLUX_HEAD
    shapes = linear("img_in", w, channels) | linear("txt_in", w, WIDE) | linear("final_layer.linear", 64, w)
    shapes |= linear("final_layer.adaLN_modulation.1", 2 * w, w)
    for start, inputs in {"time_in": 256, "vector_in": 64, **({"guidance_in": 256} if guided else {})}.items():
        shapes |= linear(f"{start}.in_layer", w, inputs) | linear(f"{start}.out_layer", w, w)
    for i in range(double):
        for side in ("img", "txt"):
            start = f"double_blocks.{i}.{side}_"
            shapes |= linear(f"{start}mod.lin", 6 * w, w) | linear(f"{start}attn.qkv", 3 * w, w) | linear(f"{start}attn.proj", w, w)
            shapes |= {f"{start}attn.norm.{part}_norm.scale": (head,) for part in ("query", "key")}
            shapes |= linear(f"{start}mlp.0", 4 * w, w) | linear(f"{start}mlp.2", w, 4 * w)
    for i in range(single):
        start = f"single_blocks.{i}."
        shapes |= linear(f"{start}linear1", 7 * w, w) | linear(f"{start}linear2", w, 5 * w) | linear(f"{start}modulation.lin", 3 * w, w)
        shapes |= {f"{start}norm.{part}_norm.scale": (head,) for part in ("query", "key")}
    return _made(shapes, seed, FLUX_VAE, {"clip_l": (64, 12, False)}, "vae.")


def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _made(shapes: Mapping[str, tuple[int, ...]], seed: int, vae: dict[str, Any], clips: dict[str, tuple[int, int, bool]], prefix: str) -> FlowFile:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = {name: torch.randn(shape) * 0.05 for name, shape in shapes.items()}
        texts = {part: clip(VOCABULARY, width, layers, width // 64, projected) for part, (width, layers, projected) in clips.items()}
        return FlowFile(tensors, _vae("kl", **{**FOUR_LEVELS["vae"], **vae}), texts | {"t5": t5()}, prefix)


def t5() -> Any:
    """With the heads of 64 channels of T5 v1.1 XXL."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=T5_WORDS, d_model=WIDE, d_kv=64, d_ff=96, num_layers=2, num_heads=1, feed_forward_proj="gated-gelu"))


def save(tensors: Mapping[str, Any], path: Path, half: bool = False) -> Path:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half() if half else tensor for name, tensor in tensors.items()}, path)
    return path
