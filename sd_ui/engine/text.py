"""Prompts to embeddings, the way CLIP was trained: tokens in chunks between start and end, padded; no text leaves this file as text."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from sd_ui.engine.emphasis import weighed
from sd_ui.engine.family import Embedding, TextPart
from sd_ui.engine.guidance import needs_uncond
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.timeline import Said, Timeline, joined
from sd_ui.prompt import language
from sd_ui.prompt.chunks import Chunk, framed
from sd_ui.prompt.language import Timed
from sd_ui.spec.request import EMPHASES

REMEMBERED = 64  # embeddings; each lies there once, however often a schedule comes back to it
COMMA = ",</w>"  # as CLIP's vocabulary writes it

Texts = tuple[str, ...]  # those of a schedule, one for each of its spans


@dataclass
class TextEncoder:
    """Remembers the embeddings of recent texts for as long as their model lives. Used by the engine's thread alone."""

    _known: "WeakKeyDictionary[Any, dict[tuple[Any, ...], dict[str, Embedding]]]" = field(default_factory=WeakKeyDictionary)

    def encode(
        self, loaded: Loaded, prompt: str, negative: str, clip_skip: int, cfg_scale: float, steps: int = 1, emphasis: str = EMPHASES[0]
    ) -> Timeline:
        """steps: calls of the model that a schedule counts on. Each text is as long as it has to be, not as the other one."""
        wanted = language.positive(prompt, steps)
        said = [self._said(loaded, timed, clip_skip, emphasis) for timed in wanted]
        if not needs_uncond(cfg_scale) and [timed.weight for timed in wanted] == [1.0]:
            return joined(said, None)
        (unwanted,) = language.negative(negative, steps)
        return joined(said, self._unwanted(loaded, unwanted, clip_skip, emphasis))

    def _unwanted(self, loaded: Loaded, timed: Timed, clip_skip: int, emphasis: str) -> Said:
        said = self._said(loaded, timed, clip_skip, emphasis)
        if loaded.family.zero_when_empty and not any(until.text for until in timed.texts):
            return Said(1.0, said.texts, tuple(embedding.zeros for embedding in said.embeddings))
        return said

    def _said(self, loaded: Loaded, timed: Timed, clip_skip: int, emphasis: str) -> Said:
        texts = tuple(until.text for until in timed.texts)
        found = self._remembered(loaded, texts, clip_skip, emphasis)
        return Said(timed.weight, timed.texts, tuple(found[text] for text in texts))

    def _remembered(self, loaded: Loaded, texts: Texts, clip_skip: int, emphasis: str) -> dict[str, Embedding]:
        known = self._known.setdefault(loaded.text_encoder, {})
        key = (texts, clip_skip, emphasis, tuple(ref(part.encoder) for part in loaded.texts))  # a LoRA may change the second one alone
        if key not in known:
            while known and sum(map(len, known.values())) >= REMEMBERED:
                del known[next(iter(known))]
            known[key] = embeddings(loaded, texts, clip_skip, emphasis)
        return known[key]


def embeddings(loaded: Loaded, texts: Texts, clip_skip: int, emphasis: str = EMPHASES[0]) -> dict[str, Embedding]:
    """Of the texts of one schedule, all of the length of the longest.

    tokens: (1, chunks x 77, width), of several text encoders side by side; pooled: what the last of them says of the whole.
    """
    counts = Counter(texts)
    read = [_read(loaded, part, counts, clip_skip, emphasis) for part in loaded.texts]
    beside = {text: [said[text] for said in read] for text in counts}
    return {text: Embedding(torch.cat([each.tokens for each in said], dim=-1), said[-1].pooled) for text, said in beside.items()}


def embedding(loaded: Loaded, text: str, clip_skip: int, emphasis: str = EMPHASES[0]) -> Embedding:
    """Of one text alone, as `embeddings` gives it."""
    return embeddings(loaded, (text,), clip_skip, emphasis)[text]


def _read(loaded: Loaded, part: TextPart, counts: Counter[str], clip_skip: int, emphasis: str) -> dict[str, Embedding]:
    cut = {text: chunked(part.tokenizer, text, emphasis) for text in counts}
    most = max(map(len, cut.values()))
    filled = [framed_all(part, (*chunks, *[Chunk()] * (most - len(chunks)))) for chunks in cut.values()]
    said = [loaded.family.read(part, ids, clip_skip) for ids, _ in filled]
    tokens = weighed([each.tokens for each in said], [weights for _, weights in filled], list(counts.values()), emphasis)
    flat = [Embedding(each.reshape(1, -1, each.shape[-1]), first.pooled) for each, first in zip(tokens, said, strict=True)]
    return dict(zip(counts, flat, strict=True))


def chunked(tokenizer: Any, text: str, emphasis: str = EMPHASES[0]) -> tuple[Chunk, ...]:
    """Pieces of what the model takes at once (75 tokens for CLIP), without start and end; at least one, maybe empty."""

    def ids(piece: str) -> list[int]:
        found: list[int] = tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False).input_ids
        return found

    return language.chunked(text, ids, room(tokenizer), comma(tokenizer), emphasis)


def room(tokenizer: Any) -> int:
    size: int = tokenizer.model_max_length
    return size - 2


def comma(tokenizer: Any) -> int | None:
    """A word that is not in the vocabulary gets the number of another."""
    id: int = tokenizer.convert_tokens_to_ids(COMMA)
    return id if tokenizer.convert_ids_to_tokens(id) == COMMA else None


def framed_all(part: TextPart, chunks: Iterable[Chunk]) -> tuple[Tensor, Tensor]:
    """Token ids and weights, (chunks, 77) each, on the encoder's device."""
    tokenizer, device = part.tokenizer, part.encoder.device
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    ids, weights = zip(*(framed(chunk, room(tokenizer), *marks) for chunk in chunks), strict=True)
    return torch.tensor(ids, device=device), torch.tensor(weights, device=device)


def layers(loaded: Loaded) -> int:
    """What clip skip can count back."""
    return min(part.encoder.config.num_hidden_layers for part in loaded.texts)
