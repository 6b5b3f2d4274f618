"""Embeddings in prompts: their vectors stand in the place of tokens for one reading of a text, and no tokenizer and no table of words is changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sd_ui.engine import parts
from sd_ui.engine.loaded import Loaded
from sd_ui.models import header, inversions
from sd_ui.models.header import Unreadable
from sd_ui.models.stamps import Stamp, stamp
from sd_ui.prompt import coined
from sd_ui.prompt.chunks import Chunk, Coined
from sd_ui.prompt.coined import Vocabulary
from sd_ui.spec.cards import WITH_EMBEDDINGS, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import UsedInversion

Placed: TypeAlias = Sequence[tuple[int, int, Tensor]]  # row and column of the first vector, and all of them: (n, width)


@dataclass(frozen=True)
class Inversions:
    """Those that there are, for one model."""

    vocabulary: Vocabulary = Vocabulary()
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    hash_of: Callable[[Path], str] = str

    def key(self, words: Iterable[Coined]) -> tuple[tuple[str, Stamp], ...]:
        """Another one where a file has changed."""
        return tuple((word.name, stamp(self.cards[word.name].path)) for word in words)

    def used(self, words: Iterable[Coined]) -> tuple[UsedInversion, ...]:
        """Raises BadRequest("prompt")."""
        cards = [self.cards[name] for name in dict.fromkeys(word.name for word in words)]
        return tuple(UsedInversion(coined.called(card), _readable(card, partial(self.hash_of, card.path))) for card in cards)

    def vectors(self, word: Coined, part: int, among: int) -> Tensor:
        """(n, width), for one of the model's text encoders. among: how many it has. Raises BadRequest("prompt")."""
        card = self.cards[word.name]
        found: tuple[Tensor, ...] = _readable(card, partial(read, card.path))
        chosen = found[len(found) - among + part]
        if len(chosen) != word.vectors:
            raise _unusable(card, "its file has changed; look for models again")
        return chosen


def of(loaded: Loaded, cards: Mapping[str, ModelCard], hash_of: Callable[[Path], str] = str) -> Inversions:
    """Of a model whose family's prompts know embeddings."""
    if loaded.family.name not in WITH_EMBEDDINGS:
        return Inversions()
    widths = tuple(part.encoder.config.hidden_size for part in loaded.texts)
    return Inversions(coined.vocabulary(cards.values(), widths, loaded.tokenizer.model_max_length - 2), cards, hash_of)


def read(path: Path) -> tuple[Tensor, ...]:
    """(n, width) in float32, for each text encoder in order. Raises Unreadable, SafetensorError or OSError."""
    tensors = parts.read(path)
    found = [tensors[name] for name in inversions.tensors(header.read(path))]
    return tuple(tensor.reshape(-1, tensor.shape[-1]).to(torch.float32, copy=True) for tensor in found)


def words_in(chunks: Iterable[Chunk]) -> tuple[Coined, ...]:
    """Each once."""
    return tuple(dict.fromkeys(word for chunk in chunks for _, word in chunk.coined))


@contextmanager
def put_in(encoder: nn.Module, placed: Placed) -> Iterator[None]:
    """What the encoder reads in this block has these vectors in the place of the embeddings of tokens.

    A hook on its table of words that is gone afterwards: neither the table nor the encoder itself is changed, so that whoever shares them knows
    nothing of it.
    """
    if not placed:
        yield
        return

    def insert(table: nn.Module, given: Any, said: Tensor) -> Tensor:  # (chunks, tokens, width)
        said = said.clone()
        for row, column, vectors in placed:
            said[row, column : column + len(vectors)] = vectors.to(said.device, said.dtype)
        return said

    words: nn.Module = encoder.get_input_embeddings()  # type: ignore[operator]
    hook = words.register_forward_hook(insert)
    try:
        yield
    finally:
        hook.remove()


# ---------------------------------------------------------------- what can go wrong with a file
def _readable(card: ModelCard, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except FileNotFoundError as error:
        raise _unusable(card, "its file is not there any more") from error
    except OSError as error:
        raise _unusable(card, f"its file cannot be read ({error.strerror})") from error
    except (Unreadable, SafetensorError) as error:
        raise _unusable(card, f"it is {error}" if isinstance(error, Unreadable) else "its file is damaged") from error


def _unusable(card: ModelCard, why: str) -> BadRequest:
    return BadRequest("prompt", f"the embedding {card.name} cannot be used: {why}")
