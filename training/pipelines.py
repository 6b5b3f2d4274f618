"""The parts of a model, trained or released, as stock pipelines of diffusers; and pictures drawn by them for fixed questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer, GLPNImageProcessor

from training.models import TASKS, sliced
from training.prompts import Question
from training.schedules import betas

AT_ONCE = 8  # pictures in one batch


@dataclass(frozen=True)
class Parts:
    """unets: by task, as in models.TASKS; a task that is missing has none of its own. scheduler: DPM++ 2M with the model's noise schedule.
    estimator: of depth, or None."""

    unets: dict[str, UNet2DConditionModel]
    text: nn.Module
    tokenizer: CLIPTokenizer
    vae: AutoencoderTiny
    scheduler: DPMSolverMultistepScheduler
    estimator: Any = None

    @property
    def side(self) -> int:
        """Of a picture, in pixels, at which the model was trained."""
        return int(self.unets["plain"].config.sample_size) * 8

    @property
    def shared(self) -> dict[str, Any]:
        return {"vae": self.vae, "text_encoder": self.text, "tokenizer": self.tokenizer, "scheduler": self.scheduler}

    def text_to_image(self) -> StableDiffusionPipeline:
        return quiet(StableDiffusionPipeline(unet=self.unets["plain"], **self.shared, **UNCHECKED))

    def image_to_image(self) -> StableDiffusionImg2ImgPipeline:
        return quiet(StableDiffusionImg2ImgPipeline(unet=self.unets["plain"], **self.shared, **UNCHECKED))

    def inpaint(self) -> StableDiffusionInpaintPipeline:
        """With nine planes if the model has them, else by blending."""
        return quiet(StableDiffusionInpaintPipeline(unet=self.unets.get("inpaint", self.unets["plain"]), **self.shared, **UNCHECKED))

    def depth_to_image(self) -> StableDiffusionDepth2ImgPipeline:
        processor = GLPNImageProcessor(do_resize=True, size_divisor=32, do_rescale=True)
        return quiet(
            StableDiffusionDepth2ImgPipeline(unet=self.unets["depth"], depth_estimator=self.estimator, feature_extractor=processor, **self.shared)
        )


UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def assembled(
    unet: UNet2DConditionModel,
    text: nn.Module,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderTiny,
    scale: float,
    alphas: Tensor,
    estimator: Any = None,
) -> Parts:
    """unet: of all planes. scale: 1 / standard deviation of the latents."""
    unets = {task: sliced(unet, planes) for task, planes in TASKS.items()}
    return Parts(unets, text.eval(), tokenizer, scaled(vae, scale), scheduler(alphas), estimator.eval() if estimator else None)


def scaled(vae: AutoencoderTiny, scale: float) -> AutoencoderTiny:
    config = {name: value for name, value in vae.config.items() if name != "block_out_channels"}  # the class derives it and refuses it
    made = AutoencoderTiny.from_config({**config, "scaling_factor": scale})
    made.load_state_dict(vae.state_dict())
    return made.to(vae.device).eval()


def scheduler(alphas: Tensor) -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        trained_betas=betas(alphas),
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="linspace",
        steps_offset=1,
    )


# ---------------------------------------------------------------- pictures
@torch.no_grad()
def draw(pipeline: Any, questions: Sequence[Question], steps: int, scale: float, **more: Any) -> Tensor:
    """(n, 3, h, w) in 0..1. more: what the mode needs; a list or a tensor has one value for each question."""
    drawn = []
    for start in range(0, len(questions), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        of_some = {name: value[start : start + AT_ONCE] if isinstance(value, list | Tensor) else value for name, value in more.items()}
        generators = [torch.Generator().manual_seed(question.seed) for question in some]
        asked = {"num_inference_steps": steps, "guidance_scale": scale, "generator": generators, "output_type": "pt"}
        drawn.append(pipeline([question.prompt for question in some], **asked, **of_some).images.float().cpu())
    return torch.cat(drawn)


def pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray(image.movedim(0, -1).mul(255).round().byte().numpy()) for image in images.clamp(0, 1)]
