"""A LoRA (Hu et al. 2021) for a style: small matrices beside the trained U-Net's own, which stay as they are."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.captions import captions
from training.judge import Judge
from training.latents import encoded
from training.loop import Turn
from training.lots import error, noised, told
from training.models import PIXELS, PLANES, plainly_attending, tokenized
from training.pipelines import assembled, draw
from training.prompts import secret, some
from training.render import render
from training.scenes import numbered
from training.sheets import sheet
from training.styles import Style

SEED, SCENES, AT_ONCE = 40_000, 2000, 50  # scenes of no other training
RANK = 8
WITHIN = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")  # layers that get small matrices
SHOWN = 24


class Styling:
    """unet: of all planes, with the weights of its training; text: likewise."""

    def __init__(
        self,
        name: str,
        style: Style,
        unet: UNet2DConditionModel,
        text: nn.Module,
        vae: AutoencoderTiny,
        tokenizer: CLIPTokenizer,
        scale: float,
        alphas: Tensor,
        batch: int,
        device: str,
        judge: Judge,
        scenes: int = SCENES,
    ):
        self.name, self.batch, self.device, self._style, self._judge, self._scenes = name, batch, device, style, judge, scenes
        self.text, self.vae, self.tokenizer, self.scale, self.alphas = text.to(device).requires_grad_(False), vae, tokenizer, scale, alphas
        self.unet = unet.to(device, memory_format=torch.channels_last).requires_grad_(False)
        torch.manual_seed(0)
        self.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(WITHIN)))
        self.networks: Mapping[str, nn.Module] = {"unet": self.unet}
        if device == "cpu":
            plainly_attending(self.unet, self.text)

    @cached_property
    def _latents(self) -> Tensor:
        """(scenes, 4, h, w)"""
        side, numbers = int(self.unet.config.sample_size) * PIXELS, range(self._scenes)
        some = [numbers[start : start + AT_ONCE] for start in range(0, self._scenes, AT_ONCE)]
        pictures = (render([numbered(SEED, i) for i in these], side, self.device, self._style.restyled).image for these in some)
        return torch.cat([encoded(self.vae, images).cpu() for images in pictures]) * self.scale

    @cached_property
    def _tokens(self) -> Tensor:
        never = secret()
        return tokenized([captions(numbered(SEED, i), Random(f"style {i}"), never) for i in range(self._scenes)], self.tokenizer)

    def loss(self, turn: Turn) -> Tensor:
        """As the U-Net's own, on plain pictures."""
        which = torch.from_numpy(turn.rng.integers(0, self._scenes, self.batch))
        lot = noised(self._latents[which], self.alphas, turn)
        nothing = torch.zeros(self.batch, PLANES - 4, *lot.latents.shape[2:])
        planes = torch.cat([lot.latents, nothing], 1).to(self.device, memory_format=torch.channels_last)
        tokens, _ = told(self._tokens, which, self.tokenizer, turn)
        with torch.no_grad():
            states = self.text(tokens.to(self.device)).last_hidden_state
        said = self.unet(planes, lot.steps.to(self.device), states, return_dict=False)[0]
        return error(said, lot)

    def show(self, folder: Path) -> Mapping[str, float]:
        """Leaves the LoRA as a file, and the share of pictures that show the style, with it and without."""
        file = save(self.unet, folder)
        bare = UNet2DConditionModel.from_config({name: value for name, value in self.unet.config.items() if not name.startswith("_")})
        bare.load_state_dict(own(self.unet.state_dict()))
        parts, asked = assembled(bare, self.text, self.tokenizer, self.vae, self.scale, self.alphas), some(1, SHOWN)
        pipeline = parts.text_to_image()
        size = {"height": parts.side, "width": parts.side}
        without = draw(pipeline, asked, 15, 3.0, **size)
        pipeline.load_lora_weights(str(folder), weight_name=file.name)
        worn = draw(pipeline, asked, 15, 3.0, **size)
        sheet([*without, *worn], [question.prompt for question in asked] * 2).save(folder / "sheet.png")
        return {name: float(self._style.shows(images, self._judge).float().mean()) for name, images in (("with", worn), ("without", without))}


def own(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the U-Net itself, by their own names."""
    return {name.replace(".base_layer.", "."): tensor for name, tensor in weights.items() if ".lora_" not in name}


def save(unet: UNet2DConditionModel, folder: Path) -> Path:
    """As diffusers writes LoRAs, in half precision. alpha = rank: the file's matrices are what is added."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{folder.name}.safetensors"
    layers = {key: value.half().contiguous() for key, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=name)
    return folder / name
