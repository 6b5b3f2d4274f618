"""The contract of the loop. A mode is a `Start`, a family is a `Predict`, a sampler is a generator that asks for predictions.

Latents are float32, (1, C, h, w), on the model's device: one row per picture.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What the model says of one noisy latent: noise, v or flow, as it was trained. uncond is None where guidance is off.

    push: what other guidance than that by the negative prompt adds; it is in `guided` already.
    """

    guided: Tensor
    cond: Tensor
    uncond: Tensor | None = None
    push: Tensor | None = None


Predict = Callable[[Tensor, Tensor], Prediction]  # (latents as the model wants them, timestep) -> what it says


@dataclass(frozen=True)
class Held:
    """The part of the picture that must come out unchanged, for models without mask channels.

    mask: (1, 1, h, w), 1 where new content goes, 0 where none does. What lies between goes its own way only for its share of the run, at the end:
    differential diffusion (Levin and Fried 2023).
    """

    clean: Tensor
    noise: Tensor
    mask: Tensor

    def into(self, latents: Tensor, kept: Tensor, done: float) -> Tensor:
        """done: the share of the run that lies behind, 0 to 1."""
        free = ((self.mask > 0) & (self.mask >= 1 - done)).to(latents.dtype)
        return (1 - free) * kept + free * latents


@dataclass(frozen=True)
class Start:
    """latents: as noisy as the first step wants them. channels: joined to the model's input at every step (depth; mask and masked picture)."""

    latents: Tensor
    channels: Tensor | None = None
    held: Held | None = None


@dataclass(frozen=True)
class Ask:
    """A sampler's question: what does the model predict here? latents are scaled as the model wants them. call: its number, see `numbered`."""

    latents: Tensor
    timestep: Tensor
    call: int = 0


@dataclass(frozen=True)
class Step:
    """One answer was worked in. index: the sampling step, from 1; second-order samplers report one twice.

    latents: after the step. denoised: the clean latent that the model predicted. sigma: the noise level that it saw, noise over signal.
    """

    index: int
    total: int
    timestep: Tensor
    sigma: float
    latents: Tensor
    denoised: Tensor
    prediction: Prediction


Sampling = Generator[Ask | Step, Prediction, Tensor]


class Randomness(Protocol):
    """A picture's own, in float32 on the CPU. seed: the picture's."""

    @property
    def seed(self) -> int: ...

    def normal(self, shape: Sequence[int]) -> Tensor: ...  # the next of its stream of unit noise

    def unit(self, seed: int, shape: Sequence[int]) -> Tensor: ...  # the first of another seed's stream, of the same kind


class Plan(Protocol):
    """One run's way down the noise schedule, whoever computes it."""

    @property
    def total(self) -> int: ...  # sampling steps that will run

    def from_noise(self, noise: Tensor) -> Tensor: ...  # unit noise -> the latents of a run that starts from noise alone

    def noised(self, clean: Tensor, noise: Tensor) -> Tensor: ...  # clean latents, as noisy as this run's first step wants them

    def sample(self, start: Start, randomness: Randomness) -> Sampling: ...


def numbered(sampling: Sampling) -> Sampling:
    """The same sampler, whose questions know how many came before them: what the model is told may change from call to call."""
    call = 0
    try:
        said = next(sampling)
        while True:
            if isinstance(said, Ask):
                said = sampling.send((yield replace(said, call=call)))
                call += 1
            else:
                yield said
                said = next(sampling)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents


@dataclass
class Tape:
    """What a sampler was told so far, and the step that it came to."""

    predictions: list[Prediction] = field(default_factory=list)
    step: int = 0

    def keep(self, step: Step) -> None:
        self.predictions.append(step.prediction)
        self.step = step.index


def fast_forward(sampling: Sampling, tape: Sequence[Prediction]) -> Ask | Tensor:
    """Feeds a fresh sampler what the model said before, without a model call.

    Bit-exact, because a sampler owns no hidden state: it draws its noise again, from its own randomness, in the same order.
    Returns its first question that the tape does not answer, or the last latents where the tape answers all.
    """
    answers = iter(tape)
    try:
        said = next(sampling)
        while True:
            if isinstance(said, Step):
                said = next(sampling)
                continue
            answer = next(answers, None)
            if answer is None:
                return said
            said = sampling.send(answer)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents


def answered(sampling: Sampling, predict: Predict, ask: Ask | None = None) -> Generator[Step, None, Tensor]:
    """Drives a sampler with a model, step by step. ask: its pending question, where it was fast-forwarded."""
    try:
        said: Ask | Step = ask or next(sampling)
        while True:
            if isinstance(said, Step):
                yield said
                said = next(sampling)
            else:
                said = sampling.send(predict(said.latents, said.timestep))
    except StopIteration as end:
        latents: Tensor = end.value
        return latents
