"""One job on its leased model: from its inputs to its pictures."""

import time
from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import diffusers
import torch
from PIL import Image
from torch import Tensor

import sd_ui
from sd_ui.engine import guidance, hires, interval, perturbed, pixels, remembered, start, text, trained_flow
from sd_ui.engine import noise as noises
from sd_ui.engine.denoise import Ask, Prediction, Sampling, Step, Tape, fast_forward, numbered
from sd_ui.engine.driver import Course, Question
from sd_ui.engine.hires import SecondPass, Way
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.policy import DECODING, ENCODING, SAMPLING
from sd_ui.engine.preview import previewer
from sd_ui.engine.refiner import Second
from sd_ui.engine.relief import Relief
from sd_ui.engine.remembered import Remembered
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.plan import SigmaPlan
from sd_ui.engine.start import Scene
from sd_ui.engine.stopwatch import Stopwatch
from sd_ui.engine.timeline import PredictAt, Timeline
from sd_ui.spec import fields
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Event, Stepped
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest, steps_to_run
from sd_ui.spec.samplers import SAMPLERS, resolved


class Counted(Protocol):
    """A step that is done: `index` of `total`."""

    @property
    def index(self) -> int: ...

    @property
    def total(self) -> int: ...


@dataclass
class Clock:
    """Elapsed and remaining seconds of a job, from the steps that it has done."""

    began: float
    pictures: int
    done: float = 0
    watch: Stopwatch = field(default_factory=Stopwatch)

    def tick(self, step: Counted, last: int, cost: float = 1.0, whole: float = 0.0) -> tuple[float, float]:
        """cost: of a step. whole: of a picture, where its steps do not cost the same."""
        self.done += (step.index - last) * cost
        elapsed = time.monotonic() - self.began
        return elapsed, elapsed / max(1, self.done) * max(0, self.pictures * (whole or step.total) - self.done)


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
    relief: Relief = field(default_factory=Relief)
    way: Way | None = None
    larger: SecondPass | None = None
    known: Remembered[Tensor] = field(default_factory=remembered.no_latents)

    @property
    def steps(self) -> int:
        return self.plan().total

    @property
    def texts(self) -> tuple[Timeline, ...]:
        """Of all its passes."""
        return (self.text, self.larger.text) if self.larger else (self.text,)

    @property
    def length(self) -> Way:
        steps, strength = self.request.sampling.steps, self.request.strength
        if self.way:
            return self.way
        runs_all = self.request.source is not None and self.request.source.redo.runs_all
        return hires.all_of(steps, strength) if runs_all else Way(steps, steps_to_run(steps, strength), strength)

    def picture(self, index: int, clock: Clock) -> Course:
        with clock.watch.spends("sampling"):
            latents = yield from self.denoised(index, clock)
        with clock.watch.spends("decoding"):
            image = yield from self.relief.tried(DECODING, lambda: pixels.decoded(self.loaded, latents))
        clock.watch.counted["pictures"] += 1
        yield drawn(self.request, index, self.inputs.finished(self.request, image), self.made(), self.notes())

    def denoised(self, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        """What the same came to before, or else now."""
        key = self.key(index)
        if key is not None and (found := self.known.find(key)) is not None:
            clock.done += (total := self.steps)
            yield Stepped(total, total, None, index + 1, self.request.count, time.monotonic() - clock.began, 0.0)
            return found.to(self.loaded.place.device)
        latents = yield from self.sampled(index, clock)
        if self.larger is not None:
            return (yield from self.redone(self.larger, latents, index, clock))
        if key is not None and key == self.key(index):  # else memory ran out on the way, and what saves it may change pixels
            self.known.keep(key, remembered.stored(latents))
        return latents

    def key(self, index: int) -> Hashable:
        """None where nothing is remembered: of a second pass, whose enlarging may use files of its own."""
        if self.larger is not None or not self.known.room:
            return None
        models = [one for one in (self.loaded, self.second and self.second.loaded) if one]
        facts = [one.scheduler_config for one in models], tuple(remembered.reader(one) for one in models if one.card.texts)
        return remembered.drawing(self.request, index, self.made(), *facts)

    def redone(self, larger: SecondPass, latents: Tensor, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        """Hires fix: the latents enlarged, and then a run of their own."""
        clean = yield from self.relief.tried(ENCODING, lambda: hires.enlarged(self.loaded, latents, larger.hires))
        if larger.hires.strength <= 0:
            return clean
        second = replace(self, request=larger.request, text=larger.text, second=larger.second, way=larger.way, scene=Scene(clean=clean), larger=None)
        return (yield from second.sampled(index, clock))

    def sampled(self, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        """Out of memory it goes on from its last step: a fresh sampler comes there by the tape, without a call of the model."""
        tape = Tape(step=self.length.before)
        go_on = lambda: self.told(self.sampling(index), tape, index, clock)  # noqa: E731
        return (yield from self.relief.continued(SAMPLING, go_on, lambda: f"at step {tape.step + 1}"))

    def sampling(self, index: int) -> Sampling:
        request, loaded = self.request, self.loaded
        channels, size = loaded.vae.config.latent_channels, (request.width, request.height)
        noise, source = noises.begun(channels, *size, request.seed_of(index), request.noise_of(index))
        plan = self.plan()
        begun = start.begin(plan, self.scene, noise.to(loaded.place.device), self.length.strength, start.redo(request))
        return numbered(plan.sample(begun, source))

    def plan(self) -> SigmaPlan:
        sampling, loaded, way = self.request.sampling, self.loaded, self.length
        facts = trained_flow.sized(loaded.scheduler_config, self.request.width, self.request.height)
        device, aligned = loaded.place.device, loaded.family.aligned
        plan = table.plan(sampling.sampler, sampling.schedule, facts, way.steps, way.run, device, aligned)
        return replace(plan, guides=lambda: guidance.guide(sampling.guidance, guidance.scale(sampling)))

    def predict(self) -> PredictAt:
        sampling = self.request.sampling
        text, second = perturbed.told(self.text, sampling.guidance), self.second
        second = replace(second, text=perturbed.told(second.text, sampling.guidance)) if second else None
        guided = self.answers(text, second)
        if interval.whole(sampling.guidance):
            return guided
        second = replace(self.second, text=interval.bare(self.second.text)) if self.second else None
        calls = self.steps * (2 if SAMPLERS[sampling.sampler].calls == "2" else 1)
        return interval.within(guided, self.answers(interval.bare(self.text), second), sampling.guidance, calls)

    def answers(self, text: Timeline, second: Second | None) -> PredictAt:
        unet = self.scene.denoiser or self.loaded.denoiser
        scale, distilled = guidance.scale(self.request.sampling), self.request.sampling.distilled_cfg
        size = self.request.width, self.request.height
        first = text.predicted(lambda told: self.loaded.family.predict(unet, told, scale, self.scene.channels, size, distilled))
        return second.after(first, scale, size, distilled) if second else first

    def told(self, sampling: Sampling, tape: Tape, index: int, clock: Clock) -> Generator[Question | Event, Prediction | None, Tensor]:
        """The sampler's questions go to the driver, its steps become events. tape: what it was told before, and will be told."""
        look, predict = None if self.delivery.preview == "off" else previewer(self.loaded), self.predict()
        reached, way = fast_forward(sampling, tape.predictions), self.length
        if isinstance(reached, Tensor):
            return reached
        try:
            said: Ask | Step = reached
            while True:
                if isinstance(said, Ask):
                    clock.watch.counted["calls"] += 1
                    answer = yield Question(said, predict(said.call))
                    assert answer is not None
                    said = sampling.send(answer)
                    continue
                said = replace(said, index=said.index + way.before, total=way.before + said.total + way.after)
                elapsed, remaining = clock.tick(said, tape.step, way.cost, way.whole)
                tape.keep(said)
                seen = self.seen(said)
                preview = None if seen is None or look is None else look(seen)
                clock.watch.counted["previews"] += seen is not None
                yield Stepped(said.index, said.total, preview, index + 1, self.request.count, elapsed, remaining)
                said = next(sampling)
        except StopIteration as end:
            latents: Tensor = end.value
            return latents

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
            batch=perturbed.told(self.text, sampling.guidance).rows,
            threads=torch.get_num_threads(),
            model_hash=loaded.model_hash,
            vae_hash=loaded.vae_hash,
            refiner_hash=self.second.loaded.model_hash if self.second else "",
            schedule=resolved(sampling.sampler, sampling.schedule, table.is_flow(loaded.scheduler_config)),
            steps_run=self.steps + self.length.after,
            loras=loaded.loras,
            inversions=tuple(dict.fromkeys(one for text in self.texts for one in text.inversions)),
            **self.relief.made(),
        )

    def notes(self) -> tuple[str, ...]:
        read = dict.fromkeys(note for text in self.texts for note in text.notes)
        return (*self.inputs.notes, *read, *self.relief.notes, *self.unused())

    def unused(self) -> Iterator[str]:
        """Settings that this model does not know, or not so."""
        asked, layers = self.request.model.clip_skip, text.layers(self.loaded)
        if asked > 1 and not self.loaded.family.skips:
            yield "Clip skip means nothing to this model; it was not used."
        elif asked > layers:
            yield f"Clip skip {asked} was taken as {layers}: the text encoder has {layers} layers."
        told = self.request.sampling.distilled_cfg
        if told != fields.default("distilled_cfg_scale") and not self.loaded.denoiser.config.get("guidance_embeds"):
            yield "Distilled CFG scale means nothing to this model; it was not used."


def drawn(request: GenerationRequest, index: int, image: Image.Image, made: Made, notes: tuple[str, ...]) -> Drawn:
    return Drawn(index, request.seed_of(index), image.width, image.height, image.tobytes(), made, notes)
