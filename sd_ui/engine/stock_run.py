"""One picture by a pipeline of diffusers, as a course like every other: a step at a time, and cancelled between two of them."""

import inspect
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from torch.overrides import TorchFunctionMode

import sd_ui
from sd_ui.engine import handover
from sd_ui.engine.driver import Course
from sd_ui.engine.families import stock
from sd_ui.engine.families.stock import Call, StockModel
from sd_ui.engine.handover import Tell
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.memory import economical
from sd_ui.engine.pixels import NotFinite
from sd_ui.engine.relief import Relief
from sd_ui.engine.run import Clock, drawn
from sd_ui.engine.stock_preview import Look, Taken, unpacked
from sd_ui.imaging import masking
from sd_ui.prompt import plain
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Event, Stepped
from sd_ui.spec.made import Made
from sd_ui.spec.request import CONTENTS, GenerationRequest, Inpaint
from sd_ui.spec.samplers import AUTOMATIC

FILL = CONTENTS[1]


@dataclass(frozen=True)
class Told:
    """A step is done: `index` of `total`. preview: a JPEG, or None where none is wanted."""

    index: int
    total: int
    preview: bytes | None


@dataclass(frozen=True)
class StockRun:
    """One job on its leased model. request: with one picture's words."""

    request: GenerationRequest
    delivery: Delivery
    model: StockModel
    inputs: Inputs
    relief: Relief = field(default_factory=Relief)

    def picture(self, index: int, clock: Clock) -> Course:
        call = stock.call(self.model, self.request, self.image(), self.inputs.mask)
        with clock.watch.spends("sampling"):
            image = yield from self.painted(call, index, clock)
        clock.watch.counted["pictures"] += 1
        yield drawn(self.request, index, self.inputs.finished(self.request, image), self.made(call), self.notes())

    def image(self) -> Image.Image | None:
        source, image, mask = self.request.source, self.inputs.image, self.inputs.mask
        if isinstance(source, Inpaint) and source.masked_content == FILL and image is not None and mask is not None:
            return masking.filled(image, mask)
        return image

    def painted(self, call: Call, index: int, clock: Clock) -> Generator[Event, None, Image.Image]:
        """The pipeline's steps as events. Closing it ends the pipeline where it stands, before anything is decoded."""

        def work(tell: Tell[Told]) -> Image.Image:
            return self.called(call, index, tell)

        running, last = handover.steps(work, name="stock pipeline"), 0
        try:
            while True:
                told = next(running)
                elapsed, remaining = clock.tick(told, last)
                last = told.index
                yield Stepped(told.index, told.total, told.preview, index + 1, self.request.count, elapsed, remaining)
        except StopIteration as end:
            image: Image.Image = end.value
            return image
        finally:
            running.close()

    @torch.inference_mode()  # here and not outside: the mode belongs to a thread
    def called(self, call: Call, index: int, tell: Tell[Told]) -> Image.Image:
        """In a thread of its own. Raises NotFinite, and whatever a pipeline raises."""
        pipeline = self.model.pipeline(call.mode)
        Steps(pipeline, self.delivery, Look(self.model.vae, (self.request.width, self.request.height)), tell).watch()
        generator = torch.Generator("cpu").manual_seed(self.request.seed_of(index))
        exact = nullcontext() if self.model.place.dtype == torch.float32 else Float32Noise()
        with economical(self.model.vae, self.request.width, self.request.height), exact:
            pixels = np.asarray(pipeline(**call.said, generator=generator).images[0])
        if not np.isfinite(pixels).all():
            raise NotFinite(self.model.place.dtype)
        return Image.fromarray((pixels * 255).round().astype(np.uint8))

    def made(self, call: Call) -> Made:
        model = self.model
        return Made(
            app=sd_ui.__version__,
            torch=torch.__version__,
            diffusers=diffusers.__version__,
            device=model.place.device.type,
            dtype=model.place.dtype_name,
            attention=model.attention,
            threads=torch.get_num_threads(),
            model_hash=model.model_hash,
            schedule=AUTOMATIC,
            steps_run=call.steps,
            **self.relief.made(),
        )

    def notes(self) -> tuple[str, ...]:
        said, emphasis = (self.request.prompt, self.request.negative_prompt), self.request.emphasis
        found = [note for i, text in enumerate(said) for note in plain.notes(text, emphasis, negative=i == 1)]
        if note := too_long(self.model, plain.told(self.request.prompt, emphasis)):
            found.append(note)
        return (*self.inputs.notes, *dict.fromkeys(found), *self.relief.notes)


@dataclass
class Steps:
    """Watches a pipeline: its bar of progress counts the steps, its scheduler tells of the latents. Every pipeline has both."""

    pipeline: Any
    delivery: Delivery
    look: Look
    tell: Tell[Told]
    total: int = 0
    index: int = 0
    _taken: list[Taken] = field(default_factory=list)

    def watch(self) -> None:
        """Both belong to this one run, so nothing has to be put back."""
        self.pipeline.progress_bar = self.bar
        self.pipeline.scheduler.step = self.noted(self.pipeline.scheduler.step)

    @contextmanager
    def bar(self, iterable: Any = None, total: int | None = None) -> Iterator["Steps"]:
        self.total = total or 0
        yield self

    def update(self, steps: int = 1) -> None:
        self.index += steps
        self.tell(Told(self.index, max(self.index, self.total), self.preview()))

    def noted(self, step: Any) -> Any:
        names = inspect.signature(step)

        @wraps(step)  # pipelines ask for its parameters
        def watched(*args: Any, **named: Any) -> Any:
            said = dict(names.bind(*args, **named).arguments)
            result = step(*args, **named)
            self._taken[:] = [Taken(self.pipeline.scheduler, said, result)]
            return result

        return watched

    def preview(self) -> bytes | None:
        if self.delivery.preview == "off" or not self._taken or (self.index % self.delivery.preview_every and self.index < self.total):
            return None
        taken = self._taken[-1]
        latents = taken.denoised if self.delivery.preview == "predicted" else taken.latents / taken.latents.std().clamp(min=1)
        return self.look.jpeg(unpacked(self.pipeline, latents, self.look.size))


class Float32Noise(TorchFunctionMode):
    """Noise of a generator is drawn in float32 and then rounded, so that a seed means the same in every precision. Of this thread alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        dtype = named.get("dtype")
        if func is torch.randn and named.get("generator") is not None and dtype not in (None, torch.float32):
            return func(*args, **{**named, "dtype": torch.float32}).to(dtype)
        return func(*args, **named)


def too_long(model: StockModel, prompt: str) -> str:
    """A note where the end of a prompt is not read; "" where all of it is."""
    tokenizer, reads = model.parts["tokenizer"], model.family.tokens
    used = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    return f"{model.family.title} reads {reads} tokens of a prompt, and this one has {used}: its end was not read." if used > reads else ""
