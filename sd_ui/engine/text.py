"""Prompts to embeddings, the way CLIP was trained: tokens in chunks between start and end, padded; no text leaves this file as text."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sd_ui.engine import remembered, t5
from sd_ui.engine.emphasis import weighed
from sd_ui.engine.family import Embedding, TextPart
from sd_ui.engine.guidance import needs_uncond
from sd_ui.engine.inversions import Inversions, put_in, words_in
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.remembered import Remembered
from sd_ui.engine.timeline import Said, Timeline, joined
from sd_ui.prompt import language
from sd_ui.prompt.chunks import Chunk, Coined, framed
from sd_ui.prompt.coined import Vocabulary
from sd_ui.prompt.language import Timed
from sd_ui.spec.request import EMPHASES

COMMA = ",</w>"  # as CLIP's vocabulary writes it

Texts = tuple[str, ...]  # those of a schedule, one for each of its spans


@dataclass
class TextEncoder:
    """Remembers the embeddings of recent texts, also of models that leave and come back. Used by the engine's thread alone."""

    _known: Remembered[dict[str, Embedding]] = field(default_factory=remembered.texts)

    def encode(
        self,
        loaded: Loaded,
        prompt: str,
        negative: str,
        clip_skip: int,
        cfg_scale: float,
        steps: int = 1,
        emphasis: str = EMPHASES[0],
        inversions: Inversions = Inversions(),
        earlier: int = 0,
    ) -> Timeline:
        """steps: calls of the model that a schedule counts on; earlier: those of a first pass. Each text is as long as it has to be."""
        wanted = language.positive(prompt, steps, earlier)
        reading = Reading(loaded, clip_skip, emphasis, inversions)
        said = [self._said(reading, timed) for timed in wanted]
        is_told = loaded.denoiser.config.get("time_cond_proj_dim") is not None  # the CFG scale: such models are not asked without the prompt
        if (is_told or not needs_uncond(cfg_scale)) and [timed.weight for timed in wanted] == [1.0]:
            return reading.noted(joined(said, None), wanted)
        (unwanted,) = language.negative(negative, steps, earlier)
        return reading.noted(joined(said, self._unwanted(reading, unwanted)), [*wanted, unwanted])

    def _unwanted(self, reading: "Reading", timed: Timed) -> Said:
        said = self._said(reading, timed)
        if reading.loaded.family.zero_when_empty and not any(until.text for until in timed.texts):
            return Said(1.0, said.texts, tuple(embedding.zeros for embedding in said.embeddings))
        return said

    def _said(self, reading: "Reading", timed: Timed) -> Said:
        texts = tuple(until.text for until in timed.texts)
        found = self._remembered(reading, texts)
        return Said(timed.weight, timed.texts, tuple(found[text] for text in texts))

    def _remembered(self, reading: "Reading", texts: Texts) -> dict[str, Embedding]:
        key = (remembered.reader(reading.loaded), texts, reading.clip_skip, reading.emphasis, reading.inversions.key(reading.coined(texts)))
        return self._known.find(key) or self._known.keep(key, reading.embeddings(texts))


@dataclass(frozen=True)
class Reading:
    """How texts are read in one run."""

    loaded: Loaded
    clip_skip: int
    emphasis: str
    inversions: Inversions

    def embeddings(self, texts: Texts) -> dict[str, Embedding]:
        return embeddings(self.loaded, texts, self.clip_skip, self.emphasis, self.inversions)

    def coined(self, texts: Iterable[str]) -> tuple[Coined, ...]:
        """The words of embeddings in them, each once."""
        cut = (chunked(self.loaded.tokenizer, text, self.emphasis, self.inversions.vocabulary) for text in dict.fromkeys(texts))
        return words_in(chunk for chunks in cut for chunk in chunks) if self.inversions.vocabulary.entries else ()

    def noted(self, timeline: Timeline, said: Sequence[Timed]) -> Timeline:
        """The timeline with what is to be told of its words."""
        texts, vocabulary = [until.text for timed in said for until in timed.texts], self.inversions.vocabulary
        unfit = dict.fromkeys(entry for text in texts for entry in vocabulary.strangers(text, ids_of(self.loaded.tokenizer)))
        absent = dict.fromkeys(name for text in texts for _, _, name in vocabulary.unknown(text))
        notes = [f"The embedding {entry.word.name} was read as plain words: {entry.misfit}." for entry in unfit]
        notes += [f"The embedding {name} is not here; its name was read as plain words." for name in absent]
        return replace(timeline, inversions=self.inversions.used(self.coined(texts)), notes=tuple(notes))


def embeddings(
    loaded: Loaded, texts: Texts, clip_skip: int, emphasis: str = EMPHASES[0], inversions: Inversions = Inversions()
) -> dict[str, Embedding]:
    """Of the texts of one schedule, all of the length of the longest.

    tokens: (1, chunks x 77, width); what several text encoders say is joined as the family has it.
    """
    counts = Counter(texts)
    read = [_read(loaded, i, counts, clip_skip, emphasis, inversions) for i in range(len(loaded.texts))]
    width = loaded.denoiser.config.get("joint_attention_dim", 0)
    return {text: loaded.family.joined([said[text] for said in read], width) for text in counts}


def embedding(loaded: Loaded, text: str, clip_skip: int, emphasis: str = EMPHASES[0], inversions: Inversions = Inversions()) -> Embedding:
    """Of one text alone, as `embeddings` gives it."""
    return embeddings(loaded, (text,), clip_skip, emphasis, inversions)[text]


def _read(loaded: Loaded, which: int, counts: Counter[str], clip_skip: int, emphasis: str, inversions: Inversions) -> dict[str, Embedding]:
    """which: of the text encoders."""
    part = loaded.texts[which]
    if part.length:
        return t5.read(part, counts, emphasis)
    cut = {text: chunked(part.tokenizer, text, emphasis, inversions.vocabulary) for text in counts}
    most = max(map(len, cut.values()))
    filled = [framed_all(part, (*chunks, *[Chunk()] * (most - len(chunks)))) for chunks in cut.values()]
    vectors = {word: inversions.vectors(word, which, len(loaded.texts)) for word in words_in(chunk for chunks in cut.values() for chunk in chunks)}
    said = []
    for chunks, (ids, _) in zip(cut.values(), filled, strict=True):
        with put_in(part.encoder, [(row, 1 + at, vectors[word]) for row, chunk in enumerate(chunks) for at, word in chunk.coined]):
            said.append(loaded.family.read(part, ids, clip_skip))
    tokens = weighed([each.tokens for each in said], [weights for _, weights in filled], list(counts.values()), emphasis)
    flat = [Embedding(each.reshape(1, -1, each.shape[-1]), first.pooled) for each, first in zip(tokens, said, strict=True)]
    return dict(zip(counts, flat, strict=True))


def chunked(tokenizer: Any, text: str, emphasis: str = EMPHASES[0], vocabulary: Vocabulary = Vocabulary()) -> tuple[Chunk, ...]:
    """Pieces of what the model takes at once (75 tokens for CLIP), without start and end; at least one, maybe empty."""
    return language.chunked(text, vocabulary.within(text, ids_of(tokenizer)), room(tokenizer), comma(tokenizer), emphasis)


def ids_of(tokenizer: Any) -> Callable[[str], list[int]]:
    def ids(piece: str) -> list[int]:
        found: list[int] = tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False).input_ids
        return found

    return ids


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
    return min(part.encoder.config.num_hidden_layers for part in loaded.texts if not part.length)
