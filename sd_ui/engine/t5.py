"""Prompts as T5 reads them: each text as a whole, ended and filled up; weights and BREAK mean what they mean for CLIP."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sd_ui.engine.emphasis import weighed
from sd_ui.engine.family import Embedding, TextPart
from sd_ui.prompt import language
from sd_ui.prompt.chunks import Chunk

END, PAD = 1, 0  # T5's own numbers, the same in every one of its vocabularies
LONGEST = 2**15  # tokens: more than a prompt may have characters


def read(part: TextPart, counts: Counter[str], emphasis: str) -> dict[str, Embedding]:
    """Of the texts of one schedule. tokens: (1, chunks x length, width); a text is a chunk, and each BREAK begins another one.

    As in Forge, the padding is read too: these models were trained without a mask over it. No text is cut off: T5 knows how far words stand apart,
    not where they stand, so that a text longer than the usual length only takes longer.
    """
    cut = {text: chunked(part.tokenizer, text, emphasis) for text in counts}
    most = max(map(len, cut.values()))
    length = max(part.length, 1 + max(len(chunk.ids) for chunks in cut.values() for chunk in chunks))
    filled = [_filled((*chunks, *[Chunk()] * (most - len(chunks))), length, part.encoder.device) for chunks in cut.values()]
    said = [part.encoder(ids)[0] for ids, _ in filled]
    tokens = weighed(said, [weights for _, weights in filled], list(counts.values()), emphasis)
    return {text: Embedding(each.reshape(1, -1, each.shape[-1])) for text, each in zip(counts, tokens, strict=True)}


def chunked(tokenizer: Any, text: str, emphasis: str) -> tuple[Chunk, ...]:
    """At least one, maybe empty; without the end."""

    def ids(piece: str) -> list[int]:
        found: list[int] = tokenizer.encode(piece, add_special_tokens=False).ids
        return found

    return language.chunked(text, ids, LONGEST, None, emphasis)


def _filled(chunks: Sequence[Chunk], length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and weights, (chunks, length) each."""
    ids = [[*chunk.ids, END, *[PAD] * (length - 1 - len(chunk.ids))] for chunk in chunks]
    weights = [[*chunk.weights, *[1.0] * (length - len(chunk.weights))] for chunk in chunks]
    return torch.tensor(ids, device=device), torch.tensor(weights, device=device)
