"""The command: python -m training.release [--to FOLDER]. A trained state becomes a model: diffusers' layout, fp16, checked by stock pipelines."""

import argparse
import copy
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer, GLPNForDepthEstimation

from training import models
from training.card import card
from training.course import Course
from training.models import TASKS
from training.pipelines import UNCHECKED, Parts, assembled, draw, pictures
from training.prompts import some
from training.recipe import RECIPES
from training.render import render
from training.schedules import CANDIDATES, chosen
from training.styles import STYLES
from training.train import RUN, make_way

MOST = 30_000_000  # bytes
PLANES = {task: f"conv_in_{task}.safetensors" for task in TASKS if task != "plain"}  # beside the plain U-Net's weights, of which all else is shared
PROCESSOR = {
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "GLPNImageProcessor",
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size_divisor": 32,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.release", description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default="cpu", help="that the training had (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=RUN, help="where renders and states are kept (default: training/run)")
    parser.add_argument("--to", type=Path, help="the folder that the model replaces (default: release in --run)")
    parser.add_argument("--loras", type=Path, help="the folder for the LoRAs of the styles that were trained (default: loras in --run)")
    options = parser.parse_args(argv)
    make_way()
    to, recipe = options.to or options.run / "release", RECIPES[options.recipe]
    write(trained(Course(options.run, recipe, 0)), options.run / "tokenizer", to, recipe.scenes)
    check(to)
    for name in write_loras(options.run, options.loras or options.run / "loras"):
        print(f"LoRA {name}")
    print(f"{to}: {weight(to) / 1e6:.1f} MB, and the four stock pipelines draw with it")
    return 0


def trained(course: Course) -> Parts:
    shape, tokenizer = course.recipe.networks, course.tokenizer()
    unet = models.unet(shape, side=course.recipe.side // models.PIXELS)
    unet.load_state_dict(course.trained("unet", "unet"))
    text = models.text_encoder(shape, len(tokenizer))
    text.load_state_dict(course.trained("unet", "text"))
    estimator = models.depth_estimator()
    estimator.load_state_dict(course.trained("depth", "estimator"))
    alphas = CANDIDATES[chosen(course.folder / "ab")]()
    return assembled(unet, text, tokenizer, course.vae(), course.latents.scale, alphas, estimator)


def write_loras(run: Path, to: Path) -> list[str]:
    """Those that have been trained, each with its name and what it does. -> their names"""
    to.mkdir(parents=True, exist_ok=True)
    names = [name for name in STYLES if (run / name / f"{name}.safetensors").exists()]
    for name in names:
        said = {"format": "pt", "modelspec.title": name.capitalize(), "modelspec.description": STYLES[name].about}
        save_file(load_file(run / name / f"{name}.safetensors"), to / f"{name}.safetensors", said)
    return names


def write(parts: Parts, tokenizer: Path, to: Path, scenes: int) -> None:
    """Beside its place first: there is a whole model or none, whenever one looks. scenes: how many it was trained on."""
    new, old = to.with_name(f"{to.name}.new"), to.with_name(f"{to.name}.old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    half = {name: copy.deepcopy(part).half() for name, part in (("unet", parts.unets["plain"]), ("text_encoder", parts.text), ("vae", parts.vae))}
    StableDiffusionPipeline(tokenizer=parts.tokenizer, scheduler=parts.scheduler, **half, **UNCHECKED).save_pretrained(new)
    for name in ("vocab.json", "merges.txt"):  # older versions of transformers need these, and newer ones do not write them
        shutil.copyfile(tokenizer / name, new / "tokenizer" / name)
    for task, name in PLANES.items():
        save_file({"conv_in.weight": parts.unets[task].conv_in.weight.detach().half().contiguous()}, new / "unet" / name)
    copy.deepcopy(parts.estimator).half().save_pretrained(new / "depth_estimator")
    (new / "depth_estimator" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")
    (new / "README.md").write_text(card(parts, scenes), encoding="utf-8")
    if to.exists():
        os.replace(to, old)
    os.replace(new, to)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: Path) -> Parts:
    """A release, in float32. Older ones may lack planes and the estimator."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").float().eval()
    unets = {"plain": unet} | {task: with_planes(unet, folder / "unet" / name) for task, name in PLANES.items() if (folder / "unet" / name).exists()}
    estimator = folder / "depth_estimator"
    return Parts(
        unets,
        CLIPTextModel.from_pretrained(folder / "text_encoder").float().eval(),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        vae_of(folder),
        DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler"),
        GLPNForDepthEstimation.from_pretrained(estimator).float().eval() if estimator.exists() else None,
    )


def vae_of(folder: Path) -> AutoencoderTiny:
    return AutoencoderTiny.from_pretrained(folder / "vae").float().eval()


def with_planes(unet: UNet2DConditionModel, file: Path) -> UNet2DConditionModel:
    first = load_file(file)["conv_in.weight"].float()
    with torch.device("meta"):
        made = UNet2DConditionModel.from_config({**unet.config, "in_channels": first.shape[1]})
    made.load_state_dict({**unet.state_dict(), "conv_in.weight": first}, assign=True)
    return made.eval()


def check(folder: Path) -> None:
    """Two steps in each mode, by the stock pipelines."""
    if weight(folder) > MOST:
        raise SystemExit(f"{folder} has {weight(folder) / 1e6:.1f} MB, more than {MOST / 1e6:g}")
    parts, questions = load(folder), some(1, 2)
    scenes = render([question.scene for question in questions], parts.side)
    image = pictures(scenes.image)
    masks = pictures((scenes.ids > 1).float()[:, None].expand(-1, 3, -1, -1))
    size = {"height": parts.side, "width": parts.side}
    drawn = [
        draw(StableDiffusionPipeline.from_pretrained(folder).to(torch.float32), questions, 2, 3.0, **size),
        draw(parts.image_to_image(), questions, 4, 3.0, image=image, strength=0.5),
        draw(parts.inpaint(), questions, 2, 3.0, image=image, mask_image=masks, strength=1.0, **size),
        draw(parts.depth_to_image(), questions, 2, 3.0, image=image, strength=1.0),
    ]
    assert all(torch.isfinite(images).all() and images.shape == (2, 3, parts.side, parts.side) for images in drawn)


def weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main())
