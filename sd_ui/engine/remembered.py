"""What was computed before and is asked for again: texts as a model reads them, and latents as denoising left them. Bounded in bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from weakref import ref

import torch
from torch import Tensor

from sd_ui.engine.family import Embedding
from sd_ui.engine.loaded import Loaded
from sd_ui.spec.made import Made
from sd_ui.spec.request import GenerationRequest

T = TypeVar("T")
TEXTS = 64 * 2**20  # bytes on the model's device: about 280 prompts of Stable Diffusion 1.x, 100 of XL


@dataclass
class Remembered(Generic[T]):
    """room: bytes; the least recently asked leave. size: of a value, in bytes. Used by the engine's thread alone."""

    room: int
    size: Callable[[T], int]
    _known: "OrderedDict[Hashable, T]" = field(default_factory=OrderedDict)
    _taken: int = 0

    def find(self, key: Hashable) -> T | None:
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def keep(self, key: Hashable, value: T) -> T:
        """The value itself, also where it is too large to be kept."""
        self._forget(key)
        self._known[key] = value
        self._taken += self.size(value)
        while self._taken > self.room:
            self._forget(next(iter(self._known)))
        return value

    def _forget(self, key: Hashable) -> None:
        if key in self._known:
            self._taken -= self.size(self._known.pop(key))


def texts() -> Remembered[dict[str, Embedding]]:
    return Remembered(TEXTS, lambda found: sum(map(_bytes, found.values())))


def no_latents() -> Remembered[Tensor]:
    return latents(0)


def latents(room: int) -> Remembered[Tensor]:
    """In main memory, whatever they were computed on."""
    return Remembered(room, lambda tensor: tensor.nbytes)


def reader(loaded: Loaded) -> Hashable:
    """Equal for models whose text encoders and tokenizers are the same ones, also when the model has left the memory meanwhile and come back."""
    by_content = loaded.model_hash and not loaded.card.texts and not any(part.length for part in loaded.texts)
    if not by_content:  # parts from other files, or tokenizers of their own: the very same objects
        return tuple(ref(part.encoder) for part in loaded.texts)
    worn = tuple((lora.sha256 or lora.name, lora.text) for lora in loaded.loras if lora.text)
    return (loaded.model_hash, worn, loaded.family.name, loaded.place, tuple(ref(part.tokenizer) for part in loaded.texts))


def drawing(request: GenerationRequest, index: int, made: Made, facts: Iterable[object], readers: Hashable = ()) -> Hashable:
    """Everything that decides what denoising comes to, and nothing of what happens to it afterwards. None where that is not known.

    request: with the picture's own words. facts: of noise and guidance that the models were trained with. readers: of models whose text encoders
    come from files that their hash says nothing of.
    """
    if not made.model_hash:
        return None
    alone = replace(request, seed=request.seed_of(index), noise=request.noise_of(index), count=1)
    if request.source is None:  # a picture that is begun from goes through the VAE, too
        alone, made = replace(alone, model=replace(alone.model, vae="")), replace(made, vae_hash="")
    return alone, replace(made, memory=""), repr(tuple(facts)), readers


def _bytes(embedding: Embedding) -> int:
    tensors = (embedding.tokens, *([] if embedding.pooled is None else [embedding.pooled]))
    return sum(tensor.nbytes for tensor in tensors)


def stored(found: Tensor) -> Tensor:
    """A copy that nobody else holds."""
    return found.detach().to(torch.device("cpu"), copy=True)
