"""Our loop against the stock diffusers pipeline, per picture, in the same run; and what previews cost."""

import numpy as np
import torch
from PIL import Image

from benchmarks import loras, models
from benchmarks.measure import Row, compared, in_turn
from sd_ui.engine.generate import Engine
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.request import GenerationRequest, Sampling


def asked(size: int, steps: int, cfg_scale: float = 3.0) -> GenerationRequest:
    return GenerationRequest(models.PROMPT, sampling=Sampling("DPM++ 2M", "Karras", steps, cfg_scale), width=size, height=size, seed=1)


def against_stock(what: str, engine: Engine, request: GenerationRequest, rounds: int) -> Row:
    with engine.manager.lease(request.model) as loaded:
        contestants = {"ours": models.ours(engine, request), "theirs": models.stock(loaded, request)}
        same_picture(contestants["ours"](), contestants["theirs"](), request)
        spent = in_turn(rounds, contestants)
    return compared(what, spent["ours"], spent["theirs"])


def same_picture(ours: bytes, theirs: Image.Image, request: GenerationRequest) -> None:
    """A comparison of two programs that draw different pictures would mean nothing."""
    mine = np.frombuffer(ours, np.uint8).reshape(request.height, request.width, 3).astype(int)
    if np.abs(mine - np.asarray(theirs)).max() > 1:
        raise AssertionError("the two do not draw the same picture")


def previews(engine: Engine, request: GenerationRequest, rounds: int) -> Row:
    every, off = models.ours(engine, request, Delivery()), models.ours(engine, request, Delivery(preview="off"))
    spent = in_turn(rounds, {"every": every, "off": off})
    what = f"previews at every step against none, embedded model, {request.width} px, {request.sampling.steps} steps"
    return compared(what, spent["every"], spent["off"])


def rows(rounds: int, large: bool) -> list[Row]:
    small = models.embedded()
    found = [
        against_stock("one picture against stock diffusers, embedded model, 128 px, 20 steps", small, asked(128, 20), rounds),
        against_stock("the same at 256 px", small, asked(256, 20), rounds),
        previews(small, asked(128, 20), rounds),
        previews(small, asked(256, 20), rounds),
    ]
    if large:
        what = "one picture against stock diffusers, U-Net of SD 1.5 size, 256 px, 4 steps"
        engine = models.sd15_size()
        found.append(against_stock(what, engine, asked(256, 4), max(3, rounds // 3)))
        found += loras.rows(engine, max(3, rounds // 3))
    return found


def device() -> str:
    return f"{torch.get_num_threads()} threads" if not torch.cuda.is_available() else torch.cuda.get_device_name()
