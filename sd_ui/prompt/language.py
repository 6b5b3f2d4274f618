"""The whole language of a prompt in the order in which it is read: comments, networks, AND, schedules, weights."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sd_ui.prompt import attention, chunks, composition, networks, schedule
from sd_ui.prompt.chunks import Chunk, Coined, Tokens
from sd_ui.prompt.comments import stripped
from sd_ui.prompt.schedule import Until
from sd_ui.spec.request import Sampling
from sd_ui.spec.samplers import SAMPLERS

Tokenize = Callable[[str], Sequence[int | Coined]]  # without start, end and padding


@dataclass(frozen=True)
class Timed:
    """One text of a prompt over the run: its weight among those joined by AND, and what it says up to which step."""

    weight: float
    texts: tuple[Until, ...]


def positive(prompt: str, steps: int, earlier: int = 0) -> tuple[Timed, ...]:
    """At least one. earlier: see `schedule.timeline`."""
    return tuple(Timed(part.weight, schedule.timeline(part.text, steps, earlier)) for part in composition.split(bare(prompt)))


def negative(prompt: str, steps: int, earlier: int = 0) -> tuple[Timed, ...]:
    """One: AND is a word in it, and so is a network tag, as in A1111."""
    return (Timed(1.0, schedule.timeline(stripped(prompt), steps, earlier)),)


def texts(parts: Iterable[Timed]) -> set[str]:
    """All that a text encoder has to read of them."""
    return {until.text for timed in parts for until in timed.texts}


def calls_of(sampling: Sampling) -> int:
    """The steps that a schedule counts: calls of the model. As in A1111, samplers with two calls a step have twice as many."""
    return sampling.steps * (2 if SAMPLERS[sampling.sampler].calls == "2" else 1)


def bare(prompt: str) -> str:
    """Without comments and network tags."""
    return networks.extract(stripped(prompt)).text


def chunked(text: str, tokenize: Tokenize, size: int, comma: int | None, emphasis: str) -> tuple[Chunk, ...]:
    """A text as a text encoder takes it: pieces of one weight are tokenized each for itself, as in A1111."""
    pieces = attention.parse(text, emphasis)
    return chunks.laid_out((Tokens((), is_break=True) if p.is_break else Tokens(tokenize(p.text), p.weight) for p in pieces), size, comma)
