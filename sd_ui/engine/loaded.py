"""A model in memory: everything that the four modes share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn
from transformers import BaseImageProcessor, CLIPTokenizer, PreTrainedModel

from sd_ui.engine.device import Place
from sd_ui.engine.family import Denoiser, Encoder, Family, TextPart
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.made import WornLora

Vae: TypeAlias = AutoencoderKL | AutoencoderTiny


@dataclass(frozen=True)
class Parts:
    """What the files of a model hold; the names mean what they mean in Loaded."""

    family: Family
    denoiser: Denoiser
    vae: Vae
    texts: tuple[TextPart, ...]
    scheduler_config: Mapping[str, Any]
    depth_unet: Denoiser | None = None
    inpaint_unet: Denoiser | None = None
    depth_estimator: PreTrainedModel | None = None
    depth_processor: BaseImageProcessor | None = None


@dataclass(frozen=True)
class Loaded:
    """vae_card: of a VAE that was asked for by name, None where it is the checkpoint's own.

    denoiser: predicts noise, v or flow. A U-Net's config.in_channels is 4, 5 (depth) or 9 (inpainting).
    scheduler_config: the facts that the model was trained with, and nothing that a sampler chooses: num_train_timesteps, beta_start, beta_end,
    beta_schedule, prediction_type, rescale_betas_zero_snr; trained_betas, which count instead of the others where they are not None; of a flow,
    what `trained_flow` finds.
    depth_unet, inpaint_unet: take more channels and share every tensor but conv_in's weight with denoiser (or are it, where it takes as many).
    attention: the name of what is really active. model_hash, vae_hash: sha256 of the weights. loras: that these U-Nets and texts wear.
    """

    card: ModelCard
    vae_card: ModelCard | None
    denoiser: Denoiser
    vae: Vae
    texts: tuple[TextPart, ...]
    scheduler_config: Mapping[str, Any]
    depth_unet: Denoiser | None
    inpaint_unet: Denoiser | None
    depth_estimator: PreTrainedModel | None
    depth_processor: Any  # a BaseImageProcessor, where there is an estimator
    place: Place
    attention: str
    model_hash: str
    vae_hash: str
    family: Family
    loras: tuple[WornLora, ...] = ()

    @property
    def components(self) -> dict[str, nn.Module]:
        """Its modules by name, in the order in which a job uses them. The denoisers share tensors."""
        texts = {"text encoder" if i == 1 else f"text encoder {i}": part.encoder for i, part in enumerate(self.texts, 1)}
        denoisers = {"denoiser": self.denoiser, "depth denoiser": self.depth_unet, "inpainting denoiser": self.inpaint_unet}
        found = {**texts, "depth estimator": self.depth_estimator, **denoisers, "VAE": self.vae}
        return {name: module for name, module in found.items() if module is not None}

    @property
    def text_encoder(self) -> Encoder:
        """The first, which most families have alone."""
        return self.texts[0].encoder

    @property
    def tokenizer(self) -> CLIPTokenizer:
        """The first; where there are more of CLIP, they cut texts alike."""
        tokenizer: CLIPTokenizer = self.texts[0].tokenizer
        return tokenizer
