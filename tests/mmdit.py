"""Tiny models of SD 3 and Flux.1 with random weights, in the genuine layouts."""

import json
from pathlib import Path
from typing import Any

from tests.checkpoints import MAX_TOKENS, _vae, write_tokenizer
from tests.families import clip

WIDE = 48  # of T5's tokens: wider than both CLIPs together
VOCABULARY = 32128
VAE_16: dict[str, Any] = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
SD3_VAE = {**VAE_16, "scaling_factor": 1.5305, "shift_factor": 0.0609}
FLUX_VAE = {**VAE_16, "scaling_factor": 0.3611, "shift_factor": 0.1159}
SD3: dict[str, Any] = {
    "sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 4,
    "joint_attention_dim": WIDE, "caption_projection_dim": 32, "pooled_projection_dim": 32, "pos_embed_max_size": 24,
}  # fmt: skip
FLUX: dict[str, Any] = {
    "patch_size": 1, "in_channels": 64, "out_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": WIDE, "pooled_projection_dim": 16, "axes_dims_rope": [4, 6, 6],
}  # fmt: skip


def sd3_folder(path: Path, seed: int = 0, with_t5: bool = True, **transformer: Any) -> Path:
    """SD 3.5's differences (norms of queries and keys, a second attention) by `transformer`."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        SD3Transformer2DModel(**{**SD3, **transformer}).save_pretrained(path / "transformer")
        _vae("kl", **SD3_VAE).save_pretrained(path / "vae")
        for part in ("", "_2"):
            _clip(path, part, projected=True)
        if with_t5:
            _t5(path, "_3")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(path / "scheduler")
    texts = {"": "CLIPTextModelWithProjection", "_2": "CLIPTextModelWithProjection", "_3": "T5EncoderModel"}
    _index(path, "StableDiffusion3Pipeline", "SD3Transformer2DModel", texts, () if with_t5 else ("_3",))
    return path


def flux_folder(path: Path, seed: int = 0, guided: bool = True, **transformer: Any) -> Path:
    """guided: dev, which is told its guidance and shifts its noise with the size; otherwise schnell."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    facts = {**FLUX, "guidance_embeds": guided, **transformer}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        FluxTransformer2DModel(**facts).save_pretrained(path / "transformer")
        _vae("kl", **FLUX_VAE).save_pretrained(path / "vae")
        _clip(path, "", projected=False)
        _t5(path, "_2")
    FlowMatchEulerDiscreteScheduler(**({"use_dynamic_shifting": True, "shift": 3.0} if guided else {})).save_pretrained(path / "scheduler")
    pipeline = {64: "FluxPipeline", 128: "FluxControlPipeline", 384: "FluxFillPipeline"}[facts["in_channels"]]
    _index(path, pipeline, "FluxTransformer2DModel", {"": "CLIPTextModel", "_2": "T5EncoderModel"})
    return path


def _clip(path: Path, part: str, projected: bool) -> None:
    vocabulary = write_tokenizer(path / f"tokenizer{part}", max_tokens=MAX_TOKENS)
    clip(vocabulary, 16, 3, 2, projected).save_pretrained(path / f"text_encoder{part}")


def t5(width: int = WIDE) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=VOCABULARY, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"))


def _t5(path: Path, part: str) -> None:
    from sd_ui.models.tokens import T5

    t5().save_pretrained(path / f"text_encoder{part}")
    folder = path / f"tokenizer{part}"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((T5 / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "model_max_length": 512}))


def _index(path: Path, pipeline: str, transformer: str, texts: dict[str, str], absent: tuple[str, ...] = ()) -> None:
    index: dict[str, Any] = {"_class_name": pipeline, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    index |= {"transformer": ["diffusers", transformer], "vae": ["diffusers", "AutoencoderKL"]}
    for part, kind in texts.items():
        known = part not in absent
        index[f"text_encoder{part}"] = ["transformers", kind] if known else [None, None]
        tokenizer = "T5TokenizerFast" if kind == "T5EncoderModel" else "CLIPTokenizer"
        index[f"tokenizer{part}"] = ["transformers", tokenizer] if known else [None, None]
    (path / "model_index.json").write_text(json.dumps(index, indent=1))
