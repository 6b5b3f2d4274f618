"""The networks: their shapes and first weights, and how one U-Net of ten input planes becomes the plain, the depth and the inpainting one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, GLPNConfig, GLPNForDepthEstimation

from training.text import LENGTH

PIXELS = 8  # of a latent cell, each way
LATENT, DEPTH, MASK, MASKED = (0, 1, 2, 3), (4,), (5,), (6, 7, 8, 9)  # the planes of the whole U-Net; an absent plane is all zeros
TASKS: Mapping[str, tuple[int, ...]] = {"plain": LATENT, "depth": LATENT + DEPTH, "inpaint": LATENT + MASK + MASKED}
PLANES = 10
PLAIN, CROSS = ("DownBlock2D", "UpBlock2D"), ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")


@dataclass(frozen=True)
class Shape:
    """channels and levels: of the U-Net, the full latent first. text: width and layers. vae: width, blocks of encoder and decoder."""

    channels: tuple[int, ...]
    levels: tuple[tuple[str, str], ...]
    head: int = 16
    text: tuple[int, int] = (128, 3)
    vae: tuple[int, tuple[int, ...], tuple[int, ...]] = (32, (0, 1, 2, 3), (4, 3, 2, 0))


SHAPES: Mapping[str, Shape] = {
    "tiny": Shape((16, 32), (PLAIN, CROSS), text=(32, 1), vae=(16, (0, 0, 0, 1), (1, 0, 0, 0))),  # for tests
    "quick": Shape((48, 96, 128), (PLAIN, CROSS, CROSS)),  # for the comparison of noise schedules
    "small": Shape((64, 128, 160), (CROSS, CROSS, PLAIN), 32),  # what two processor cores can train
    "large": Shape((96, 192), (CROSS, CROSS), 32, (192, 4), (48, (1, 2, 3, 3), (3, 3, 3, 1))),  # for a GPU
}


def unet(shape: Shape, planes: int = PLANES, side: int = 16) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=planes,
        out_channels=len(LATENT),
        block_out_channels=shape.channels,
        layers_per_block=1,
        down_block_types=tuple(down for down, _ in shape.levels),
        up_block_types=tuple(up for _, up in reversed(shape.levels)),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=shape.text[0],
        attention_head_dim=tuple(width // shape.head for width in shape.channels),  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def sliced(whole: UNet2DConditionModel, planes: Sequence[int]) -> UNet2DConditionModel:
    """Exactly what the whole U-Net says when all other planes are zero. All tensors but conv_in's weight are shared with it."""
    with torch.device("meta"):
        part = UNet2DConditionModel.from_config({**whole.config, "in_channels": len(planes)})
    weights = whole.state_dict()
    weights["conv_in.weight"] = weights["conv_in.weight"][:, list(planes)].clone()
    part.load_state_dict(weights, assign=True)
    return part.eval()


def text_encoder(shape: Shape, tokens: int) -> nn.Module:
    """The last two tokens are those of start and end."""
    width, layers = shape.text
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            max_position_embeddings=LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
            projection_dim=width,
        )
    )


def tokenized(captions: Sequence[Sequence[str]], tokenizer: CLIPTokenizer) -> Tensor:
    """(scenes, captions, length), as int16. Every scene has as many captions."""
    told = tokenizer([sentence for some in captions for sentence in some], padding="max_length", truncation=True).input_ids
    return torch.tensor(told, dtype=torch.int16).view(len(captions), len(captions[0]), -1)


def plainly_attending(unet: UNet2DConditionModel, text: Any) -> None:
    """For training on processors: torch's fused attention has a backward pass that is ten times slower there than that of plain products."""
    unet.set_attn_processor(AttnProcessor())
    text.set_attn_implementation("eager")


def vae(shape: Shape) -> AutoencoderTiny:
    width, encoder, decoder = shape.vae
    config: dict[str, Any] = {"encoder_block_out_channels": (width,) * 4, "decoder_block_out_channels": (width,) * 4}
    return AutoencoderTiny(num_encoder_blocks=encoder, num_decoder_blocks=decoder, scaling_factor=1.0, **config)


@torch.no_grad()
def begin_vae(vae: AutoencoderTiny, images: Tensor) -> None:
    """A ReLU network without norms: He's weights, damped residual branches, unit variance of the latents (by default it would be 3e-4)."""
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            module.conv[4].weight.mul_(0.25)
    last = vae.encoder.layers[-1]
    last.weight.div_(vae.encoder(images).std((0, 2, 3))[:, None, None, None])
    last.bias.sub_(vae.encoder(images).mean((0, 2, 3)))
    vae.decoder.layers[-1].weight.mul_(0.5 / vae.decoder(vae.encoder(images)).std())


def depth_estimator() -> nn.Module:
    """0.3 million parameters; tells inverse depth in 0..1."""
    return GLPNForDepthEstimation(
        GLPNConfig(
            num_encoder_blocks=4,
            depths=[1, 1, 1, 1],
            sr_ratios=[8, 4, 2, 1],
            hidden_sizes=[16, 32, 64, 96],
            num_attention_heads=[1, 1, 2, 3],
            mlp_ratios=[2, 2, 2, 2],
            decoder_hidden_size=24,
            max_depth=1,
            head_in_index=-1,
        )
    )


def millions(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6
