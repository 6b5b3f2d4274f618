"""One job on its leased model: from its inputs to its pictures."""

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import diffusers
import torch
from PIL import Image
from torch import Tensor

import sd_ui
from sd_ui.engine import guidance, interval, pixels, start, text
from sd_ui.engine import noise as noises
from sd_ui.engine.denoise import Ask, Prediction, Sampling, Step, numbered
from sd_ui.engine.driver import Course, Question
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.preview import previewer
from sd_ui.engine.refiner import Second
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.plan import SigmaPlan
from sd_ui.engine.start import Scene
from sd_ui.engine.stopwatch import Stopwatch
from sd_ui.engine.timeline import PredictAt, Timeline
from sd_ui.imaging import files, ops
from sd_ui.imaging.blobs import Blobs
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Event, Stepped
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest, ImageRef, Inpaint, images_of
from sd_ui.spec.samplers import SAMPLERS, resolved


@dataclass(frozen=True)
class Inputs:
    """The job's own pictures, fitted to its size."""

    image: Image.Image | None = None
    mask: Image.Image | None = None
    depth: Tensor | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: GenerationRequest, blobs: Blobs) -> "Inputs":
        if request.source is None:
            return cls()
        refs, size = images_of(request), (request.width, request.height)
        resize = request.source.resize
        given = blobs.open(refs["init"])
        image = ops.fit(files.flattened(given), *size, resize)
        mask = ops.fit_mask(blobs.open(refs["mask"]), *size, resize) if "mask" in refs else None
        own_depth = torch.from_numpy(ops.depth_plane(ops.fit(blobs.open(refs["depth"]), *size, resize))) if "depth" in refs else None
        return cls(image, mask, own_depth, (*whitened(given), *resized(refs["init"], *size)))

    def scene(self, request: GenerationRequest, loaded: Loaded) -> Scene:
        return start.scene_of(request, loaded, self.image, self.mask, self.depth)


@dataclass
class Clock:
    """Elapsed and remaining seconds of a job, from the steps that it has done."""

    began: float
    pictures: int
    done: int = 0
    watch: Stopwatch = field(default_factory=Stopwatch)

    def tick(self, step: Step, last: int) -> tuple[float, float]:
        self.done += step.index - last
        elapsed = time.monotonic() - self.began
        return elapsed, elapsed / max(1, self.done) * max(0, self.pictures * step.total - self.done)


@dataclass(frozen=True)
class Run:
    """One job on its leased model."""

    request: GenerationRequest
    delivery: Delivery
    loaded: Loaded
    inputs: Inputs
    text: Timeline
    scene: Scene
    second: Second | None = None

    @property
    def steps(self) -> int:
        return self.plan().total

    def picture(self, index: int, clock: Clock) -> Course:
        with clock.watch.spends("sampling"):
            latents = yield from self.sampled(index, clock)
        with clock.watch.spends("decoding"):
            image = pixels.decoded(self.loaded, latents)
        clock.watch.counted["pictures"] += 1
        match self.request.source:
            case Inpaint(mask_blur=blur):
                assert self.inputs.image is not None and self.inputs.mask is not None
                image = ops.paste(self.inputs.image, image, ops.soft_mask(self.inputs.mask, blur))
        yield drawn(self.request, index, image, self.made(), self.notes())

    def sampled(self, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        request, loaded = self.request, self.loaded
        channels, size = loaded.vae.config.latent_channels, (request.width, request.height)
        noise, source = noises.begun(channels, *size, request.seed_of(index), request.noise_of(index))
        plan = self.plan()
        begun = start.begin(plan, self.scene, noise.to(loaded.place.device), start.strength(request))
        return (yield from self.told(numbered(plan.sample(begun, source)), self.predict(), index, clock))

    def plan(self) -> SigmaPlan:
        sampling, loaded = self.request.sampling, self.loaded
        run = start.steps_to_run(sampling.steps, start.strength(self.request))
        facts, device, aligned = loaded.scheduler_config, loaded.place.device, loaded.family.aligned
        plan = table.plan(sampling.sampler, sampling.schedule, facts, sampling.steps, run, device, aligned)
        return replace(plan, guides=lambda: guidance.guide(sampling.guidance, guidance.scale(sampling)))

    def predict(self) -> PredictAt:
        sampling = self.request.sampling
        guided = self.answers(self.text, self.second)
        if interval.whole(sampling.guidance):
            return guided
        second = replace(self.second, text=interval.bare(self.second.text)) if self.second else None
        calls = self.steps * (2 if SAMPLERS[sampling.sampler].calls == "2" else 1)
        return interval.within(guided, self.answers(interval.bare(self.text), second), sampling.guidance, calls)

    def answers(self, text: Timeline, second: Second | None) -> PredictAt:
        unet = self.scene.denoiser or self.loaded.denoiser
        scale, size = guidance.scale(self.request.sampling), (self.request.width, self.request.height)
        first = text.predicted(lambda told: self.loaded.family.predict(unet, told, scale, self.scene.channels, size))
        return second.after(first, scale, size) if second else first

    def told(self, sampling: Sampling, predict: PredictAt, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        """The sampler's questions go to the driver, its steps become events."""
        look, last = previewer(self.loaded), 0
        try:
            said: Ask | Step = next(sampling)
            while True:
                if isinstance(said, Ask):
                    clock.watch.counted["calls"] += 1
                    answer = yield Question(said, predict(said.call))
                    assert answer is not None
                    said = sampling.send(answer)
                    continue
                elapsed, remaining = clock.tick(said, last)
                last = said.index
                seen = self.seen(said)
                preview = None if seen is None else look(seen)
                clock.watch.counted["previews"] += seen is not None
                yield Stepped(said.index, said.total, preview, index + 1, self.request.count, elapsed, remaining)
            inversions=self.text.inversions,
                said = next(sampling)
        except StopIteration as end:
            latents: Tensor = end.value
            return latents
        said = (*self.inputs.notes, *self.text.notes)

    def seen(self, step: Step) -> Tensor | None:
        """What the preview shows of a step, or None where it shows nothing."""
        if self.delivery.preview == "off" or (step.index % self.delivery.preview_every and step.index < step.total):
            return None
        return step.denoised if self.delivery.preview == "predicted" else step.latents / step.latents.std().clamp(min=1)

    def made(self) -> Made:
        loaded, sampling = self.loaded, self.request.sampling
        return Made(
            app=sd_ui.__version__,
            torch=torch.__version__,
            diffusers=diffusers.__version__,
            device=loaded.place.device.type,
            dtype=str(loaded.place.dtype).removeprefix("torch."),
            attention=loaded.attention,
            batch=self.text.rows,
            threads=torch.get_num_threads(),
            model_hash=loaded.model_hash,
            vae_hash=loaded.vae_hash,
            refiner_hash=self.second.loaded.model_hash if self.second else "",
            schedule=resolved(sampling.sampler, sampling.schedule),
            steps_run=self.steps,
            loras=loaded.loras,
        )

    def notes(self) -> tuple[str, ...]:
        asked, layers = self.request.model.clip_skip, text.layers(self.loaded)
        if asked <= layers:
            return said
        return (*said, f"Clip skip {asked} was taken as {layers}: the text encoder has {layers} layers.")


def drawn(request: GenerationRequest, index: int, image: Image.Image, made: Made, notes: tuple[str, ...]) -> Drawn:
    return Drawn(index, request.seed_of(index), image.width, image.height, image.tobytes(), made, notes)


def whitened(image: Image.Image) -> tuple[str, ...]:
    """A model knows no transparency."""
    transparent = image.mode == "RGBA" and any(image.getchannel("A").histogram()[:255])
    return ("The picture's transparent parts were put on white.",) if transparent else ()


def resized(ref: ImageRef, width: int, height: int) -> tuple[str, ...]:
    if (ref.width, ref.height) == (width, height):
        return ()
    return (f"The picture of {ref.width}x{ref.height} was fitted to {width}x{height}.",)
