"""Tiny checkpoints with random weights in the genuine layouts, for everybody's tests. Nothing is downloaded.

tiny_folder: a diffusers folder. tiny_single_file: one file with the 1130 key names of Stable Diffusion 1.x.
"""

import json
from pathlib import Path
from typing import Any

import sd_ui  # noqa: F401  (before transformers is imported: it makes torchvision importable)

WORDS = ("cat", "dog", "house", "red", "astronaut", "photo", "of", "the")
MAX_TOKENS = 77
NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
UNET: dict[str, Any] = {
    "sample_size": 64,
    "layers_per_block": 1,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}
VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 8, 16, 16],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 64,
    "scaling_factor": 0.18215,
}
TINY_VAE = {
    "encoder_block_out_channels": [8] * 4,
    "decoder_block_out_channels": [8] * 4,
    "num_encoder_blocks": [1, 1, 1, 1],
    "num_decoder_blocks": [1, 1, 1, 1],
}


# ---------------------------------------------------------------- the tokenizer
def byte_symbols() -> list[str]:
    """The 256 symbols of byte-level BPE: printable bytes stand for themselves, the other 68 become chr(256), chr(257), ..."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS, max_tokens: int = MAX_TOKENS) -> int:
    """A small CLIP tokenizer, in which each of the words is one token. -> the size of its vocabulary"""
    symbols = byte_symbols()
    vocab, merges = [*symbols, *(symbol + "</w>" for symbol in symbols)], []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            left, right, *rest = parts
            if (left, right) not in merges:
                merges.append((left, right))
            if left + right not in vocab:
                vocab.append(left + right)
            parts = [left + right, *rest]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    end = "<|endoftext|>"
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_tokens}
    config |= {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": end}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(vocab)


# ---------------------------------------------------------------- a diffusers folder
def tiny_folder(
    path: Path, in_channels: int = 4, seed: int = 0, prediction_type: str = "epsilon", vae: str = "kl", depth: bool = False, **unet: Any
) -> Path:
    """vae: "kl" or "tiny". depth: with a depth estimator and, for 4 channels, a fifth input plane as the embedded model has one."""
    import torch
    from diffusers import DDIMScheduler

    vocabulary = write_tokenizer(path / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        noise_predictor = _unet(in_channels, unet)
        noise_predictor.save_pretrained(path / "unet")
        _vae(vae).save_pretrained(path / "vae")
        _text_encoder(vocabulary, UNET["cross_attention_dim"], layers=3).save_pretrained(path / "text_encoder")
        DDIMScheduler(**NOISE, steps_offset=1, clip_sample=False, prediction_type=prediction_type).save_pretrained(path / "scheduler")
        if depth:
            _write_depth(path, noise_predictor, in_channels)
    _write_index(path, vae, in_channels, depth)
    return path


def _unet(in_channels: int, changes: dict[str, Any]) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**{**UNET, "in_channels": in_channels, "out_channels": 4, **changes})


def _vae(kind: str, **changes: Any) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny

    return AutoencoderTiny(**{**TINY_VAE, **changes}) if kind == "tiny" else AutoencoderKL(**{**VAE, **changes})


def _text_encoder(vocabulary: int, width: int, layers: int, heads: int = 4) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 2, num_hidden_layers=layers, num_attention_heads=heads,
        max_position_embeddings=MAX_TOKENS, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1,
        projection_dim=width,
    )  # fmt: skip
    return CLIPTextModel(config)


def _write_depth(path: Path, unet: Any, in_channels: int) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    config = GLPNConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8, mlp_ratios=[2] * 4)
    GLPNForDepthEstimation(config).save_pretrained(path / "depth_estimator")
    GLPNImageProcessor().save_pretrained(path / ("feature_extractor" if in_channels == 5 else "depth_estimator"))
    if in_channels == 4:
        for name, planes in (("conv_in_depth", 1), ("conv_in_inpaint", 5)):
            weight = unet.conv_in.weight.detach()
            more = torch.randn(weight.shape[0], planes, 3, 3) * 0.1
            save_file({"conv_in.weight": torch.cat([weight, more], 1).contiguous()}, path / "unet" / f"{name}.safetensors")


def _write_index(path: Path, vae: str, in_channels: int, depth: bool) -> None:
    index = {
        "_class_name": {9: "StableDiffusionInpaintPipeline", 5: "StableDiffusionDepth2ImgPipeline"}.get(in_channels, "StableDiffusionPipeline"),
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny" if vae == "tiny" else "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    if depth and in_channels == 5:
        index |= {"depth_estimator": ["transformers", "GLPNForDepthEstimation"], "feature_extractor": ["transformers", "GLPNImageProcessor"]}
    (path / "model_index.json").write_text(json.dumps(index, indent=1))


# ---------------------------------------------------------------- one file, as Stable Diffusion 1.x was published
WIDTHS = [32, 64, 96, 96]  # of U-Net and VAE: multiples of the 32 groups of channels that are normalised, growing where the original's grow
TEXT_WIDTH = 32
FOUR_LEVELS: dict[str, dict[str, Any]] = {
    "unet": {
        "block_out_channels": WIDTHS, "layers_per_block": 2, "cross_attention_dim": TEXT_WIDTH, "norm_num_groups": 32,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    },
    "vae": {"block_out_channels": WIDTHS, "layers_per_block": 2, "norm_num_groups": 32, "sample_size": 512},
}  # fmt: skip


def tiny_single_file(path: Path, in_channels: int = 4, seed: int = 0, half: bool = False, vocabulary: int = 49408) -> Path:
    """The key names and shapes' ranks of a published SD 1.x file, 1130 tensors, at a tenth of its widths."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = original_tensors(*tiny_parts(in_channels, seed, vocabulary))
    save_file({key: tensor.half() if half else tensor for key, tensor in tensors.items()}, path)
    return path


def tiny_vae_file(path: Path, seed: int = 0, prefix: str = "") -> Path:
    """A VAE alone in the original key layout, as such files are passed around. prefix: "first_stage_model." in some of them."""
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = _vae("kl", **FOUR_LEVELS["vae"])
    save_file({prefix + name: tensor for name, tensor in original_vae(vae).items()}, path)
    return path


def tiny_parts(in_channels: int = 4, seed: int = 0, vocabulary: int = 49408) -> tuple[Any, Any, Any]:
    """What tiny_single_file has in it: U-Net, VAE and text encoder as diffusers and transformers know them."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = _unet(in_channels, FOUR_LEVELS["unet"])
        vae = _vae("kl", **FOUR_LEVELS["vae"])
        return unet, vae, _text_encoder(vocabulary, TEXT_WIDTH, layers=12, heads=1)


def original_tensors(unet: Any, vae: Any, text_encoder: Any) -> dict[str, Any]:
    """By the key names of a published file. The names are the engine's; its tests check them against diffusers' own reader."""
    from sd_ui.engine.original import unet_name

    tensors = {"model.diffusion_model." + unet_name(name): tensor for name, tensor in unet.state_dict().items()}
    tensors |= {"first_stage_model." + name: tensor for name, tensor in original_vae(vae).items()}
    tensors |= {"cond_stage_model.transformer.text_model." + name.removeprefix("text_model."): t for name, t in text_encoder.state_dict().items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def original_vae(vae: Any) -> dict[str, Any]:
    from sd_ui.engine.original import vae_name

    def shaped(name: str, tensor: Any) -> Any:  # the old program's attention had 1x1 convolutions where diffusers has linear layers
        return tensor[:, :, None, None].contiguous() if "attentions" in name and tensor.ndim == 2 else tensor

    return {vae_name(name): shaped(name, tensor) for name, tensor in vae.state_dict().items()}
