"""Tiny checkpoints of Stable Diffusion 2 and XL with random weights, in the genuine layouts: diffusers folders, and single files as published."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checkpoints import FOUR_LEVELS, NOISE, UNET, VAE, WIDTHS, _vae, original_vae, write_tokenizer

VOCABULARY = 49408
BIG = 128  # width of the second text encoder of published files: diffusers' reader tells the two apart by it
TIME = 8  # numbers that a size in pixels becomes, in folders; published files have 256


# ---------------------------------------------------------------- diffusers folders
def sdxl_folder(path: Path, in_channels: int = 4, seed: int = 0, refiner: bool = False, prediction_type: str = "epsilon", **vae: Any) -> Path:
    """As small as UNET of tests.checkpoints, with the second text encoder and the sizes of SDXL; refiner: without the first one."""
    import torch
    from diffusers import DDIMScheduler

    texts = ["text_encoder_2"] if refiner else ["text_encoder", "text_encoder_2"]
    for part in texts:
        vocabulary = write_tokenizer(path / part.replace("text_encoder", "tokenizer"))
    _pad_with_bangs(path / "tokenizer_2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _sdxl_unet(in_channels, 32 * len(texts), 5 if refiner else 6).save_pretrained(path / "unet")
        _vae("kl", scaling_factor=0.13025, **vae).save_pretrained(path / "vae")
        for part in texts:
            clip(vocabulary, 32, 3, 4, projected=part == "text_encoder_2").save_pretrained(path / part)
        DDIMScheduler(**NOISE, steps_offset=1, clip_sample=False, prediction_type=prediction_type).save_pretrained(path / "scheduler")
    (path / "model_index.json").write_text(json.dumps(_sdxl_index(refiner), indent=1))
    return path


def _sdxl_unet(in_channels: int, width: int, sizes: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            **UNET, "in_channels": in_channels, "out_channels": 4, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "cross_attention_dim": width, "attention_head_dim": [2, 4],
            "transformer_layers_per_block": [1, 2], "use_linear_projection": True, "addition_embed_type": "text_time",
            "addition_time_embed_dim": TIME, "projection_class_embeddings_input_dim": 32 + sizes * TIME,
        }
    )  # fmt: skip


def _sdxl_index(refiner: bool) -> dict[str, Any]:
    first = {"text_encoder": [None, None], "tokenizer": [None, None]} if refiner else {
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}  # fmt: skip
    return {
        "_class_name": "StableDiffusionXLImg2ImgPipeline" if refiner else "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": not refiner, "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"], **first,
    }  # fmt: skip


def _pad_with_bangs(folder: Path) -> None:
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token": "!"}))


def clip(vocabulary: int, width: int, layers: int, heads: int, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 2, num_hidden_layers=layers, num_attention_heads=heads,
        max_position_embeddings=77, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=0, projection_dim=width, hidden_act="gelu",
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


# ---------------------------------------------------------------- one file, as published
@dataclass(frozen=True)
class Original:
    """What is in a published file: the parts as diffusers and transformers know them, and their configs beside which diffusers reads it."""

    unet: Any
    vae: Any
    texts: dict[str, Any]  # by their prefix in the file
    pipeline: str

    def tensors(self) -> dict[str, Any]:
        from sd_ui.engine.original import unet_names

        names = unet_names(self.unet.config.down_block_types)
        found = {"model.diffusion_model." + names(name): tensor for name, tensor in self.unet.state_dict().items()}
        found |= {"first_stage_model." + name: tensor for name, tensor in original_vae(self.vae).items()}
        for prefix, text in self.texts.items():
            found |= dict(_open_clip(prefix, text) if prefix.endswith(".model.") else _clip(prefix, text))
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def configs(self, folder: Path) -> Path:
        """What diffusers' own reader wants beside the file."""
        from diffusers import DDIMScheduler

        from sd_ui.models.tokens import CLIP_L

        encoders = list(self.texts.values())
        names = ["text_encoder_2"] if self.pipeline.endswith("XLImg2ImgPipeline") else ["text_encoder", "text_encoder_2"][: len(encoders)]
        index = {"_class_name": self.pipeline, "scheduler": ["diffusers", "DDIMScheduler"]}
        index |= {name: ["diffusers", type(part).__name__] for name, part in (("unet", self.unet), ("vae", self.vae))}
        for part, encoder in {"unet": self.unet, "vae": self.vae, **dict(zip(names, encoders, strict=True))}.items():
            (folder / part).mkdir(parents=True)
            encoder.config.to_json_file(folder / part / "config.json") if part in names else encoder.save_config(folder / part)
        for name, encoder in zip(names, encoders, strict=True):
            tokenizer = name.replace("text_encoder", "tokenizer")
            (folder / tokenizer).symlink_to(CLIP_L)
            index |= {name: ["transformers", type(encoder).__name__], tokenizer: ["transformers", "CLIPTokenizer"]}
        DDIMScheduler(**NOISE, steps_offset=1, clip_sample=False).save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder


def sd2_original(in_channels: int = 4, seed: int = 0) -> Original:
    """U-Net with linear layers around its attention, heads of 64 channels; OpenCLIP's text tower of 24 layers, of which the last is never read."""
    unet = {"use_linear_projection": True, "attention_head_dim": [max(1, width // 64) for width in WIDTHS], "cross_attention_dim": 64}
    return _original({**FOUR_LEVELS["unet"], **unet}, {"cond_stage_model.model.": (64, 24, False)}, "StableDiffusionPipeline", in_channels, seed)


def sdxl_original(in_channels: int = 4, seed: int = 0) -> Original:
    unet = {
        "block_out_channels": [32, 64, 96], "transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 64 + BIG,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], **_xl_facts([32, 64, 96], 6),
    }  # fmt: skip
    texts = {"conditioner.embedders.0.transformer.": (64, 12, False), "conditioner.embedders.1.model.": (BIG, 32, True)}
    return _original(unet, texts, "StableDiffusionXLPipeline", in_channels, seed)


def refiner_original(seed: int = 0) -> Original:
    unet = {
        "block_out_channels": WIDTHS, "transformer_layers_per_block": 4, "cross_attention_dim": BIG,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], **_xl_facts(WIDTHS, 5),
    }  # fmt: skip
    return _original(unet, {"conditioner.embedders.0.model.": (BIG, 32, True)}, "StableDiffusionXLImg2ImgPipeline", 4, seed)


def _xl_facts(widths: list[int], sizes: int) -> dict[str, Any]:
    return {
        "layers_per_block": 2, "norm_num_groups": 32, "use_linear_projection": True, "attention_head_dim": [max(1, width // 64) for width in widths],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": BIG + sizes * 256,
    }  # fmt: skip


def _original(unet: dict[str, Any], texts: dict[str, tuple[int, int, bool]], pipeline: str, in_channels: int, seed: int) -> Original:
    import torch
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {prefix: clip(VOCABULARY, width, layers, width // 64, projected) for prefix, (width, layers, projected) in texts.items()}
        scale = 0.13025 if "XL" in pipeline else VAE["scaling_factor"]
        vae = _vae("kl", **{**FOUR_LEVELS["vae"], "scaling_factor": scale})
        return Original(UNet2DConditionModel(**{**UNET, "in_channels": in_channels, "out_channels": 4, **unet}), vae, made, pipeline)


def _clip(prefix: str, text: Any) -> Iterator[tuple[str, Any]]:
    for name, tensor in text.state_dict().items():
        yield f"{prefix}text_model.{name.removeprefix('text_model.')}", tensor


OPEN_CLIP = (
    ("final_layer_norm", "ln_final"), ("embeddings.position_embedding.weight", "positional_embedding"), ("layer_norm", "ln_"),
    ("embeddings.token_embedding", "token_embedding"), ("encoder.layers.", "transformer.resblocks."), ("self_attn", "attn"),
    ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
)  # fmt: skip


def _open_clip(prefix: str, text: Any) -> Iterator[tuple[str, Any]]:
    """As OpenCLIP saves it: one matrix for query, key and value; the projection multiplied from the other side."""
    import torch

    tensors = {name.removeprefix("text_model."): tensor for name, tensor in text.state_dict().items()}
    width = tensors["final_layer_norm.bias"].shape[0]
    yield prefix + "text_projection", tensors.pop("text_projection.weight", torch.zeros(width, width)).T
    yield prefix + "logit_scale", torch.tensor(4.6)
    for name, tensor in tensors.items():
        theirs = name
        for before, after in OPEN_CLIP:
            theirs = theirs.replace(before, after)
        if ".q_proj." in name:
            joined = torch.cat([tensors[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"])
            yield prefix + theirs.replace(".q_proj.", ".in_proj_"), joined
        elif ".k_proj." not in name and ".v_proj." not in name:
            yield prefix + theirs, tensor


# ---------------------------------------------------------------- the estimator of Stable Diffusion 2's depth model
def depth_estimator() -> Any:
    """DPT-Hybrid as small as the groups of its normalisation allow; for pictures of 64x64."""
    from transformers import DPTConfig, DPTForDepthEstimation

    backbone = {
        "model_type": "bit", "global_padding": "same", "layer_type": "bottleneck", "depths": [3, 4, 9],
        "out_features": ["stage1", "stage2", "stage3"], "embedding_dynamic_padding": True, "embedding_size": 32, "hidden_sizes": [128, 128, 128, 256],
    }  # fmt: skip
    config = DPTConfig(
        is_hybrid=True, backbone_config=backbone, backbone_featmap_shape=[1, 128, 4, 4], image_size=64, hidden_size=64, num_attention_heads=1,
        intermediate_size=128, neck_hidden_sizes=[128, 128, 64, 64], fusion_hidden_size=16, reassemble_factors=[1, 1, 1, 0.5],
    )  # fmt: skip
    return DPTForDepthEstimation(config).eval()


def midas_tensors(estimator: Any) -> dict[str, Any]:
    """By the names of its own program, with what grew from a classifier. The names are the engine's; its tests check those that are well known."""
    import torch

    from sd_ui.engine.midas import PREFIX, original_name

    named = {original_name(name): tensor for name, tensor in estimator.state_dict().items()}
    parts = ("query", "key", "value")
    kept = {name: tensor for name, tensor in named.items() if not any(f".attn.{part}." in name for part in parts)}
    for name in (name for name in named if ".query." in name):
        kept[name.replace(".query.", ".qkv.")] = torch.cat([named[name.replace(".query.", f".{part}.")] for part in parts])
    kept["pretrained.model.head.weight"] = torch.zeros(2, 64)
    return {PREFIX + name: tensor.contiguous() for name, tensor in kept.items()}


def save(original: Original, path: Path, half: bool = False, metadata: dict[str, str] | None = None, **extra: Any) -> Path:
    """extra: tensors beside the model's own."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half() if half else tensor for name, tensor in (original.tensors() | extra).items()}, path, metadata)
    return path
