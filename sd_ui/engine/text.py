"""Prompts to embeddings, the way CLIP was trained: tokens in chunks between start and end, padded; no text leaves this file as text."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from sd_ui.engine.family import Conditioning, Embedding, TextPart
from sd_ui.engine.guidance import needs_uncond
from sd_ui.engine.loaded import Loaded

REMEMBERED = 64


@dataclass
class TextEncoder:
    """Remembers the embeddings of recent texts for as long as their model lives. Used by the engine's thread alone."""

    _known: "WeakKeyDictionary[Any, dict[tuple[str, int, int], Embedding]]" = field(default_factory=WeakKeyDictionary)

    def encode(self, loaded: Loaded, prompt: str, negative: str, clip_skip: int, cfg_scale: float) -> Conditioning:
        """Both texts get the same number of chunks, since the model is called with both at once."""
        texts = [prompt, negative] if needs_uncond(cfg_scale) else [prompt]
        chunks = max(len(chunked(loaded.tokenizer, text)) for text in texts)
        cond, *uncond = [self._embedding(loaded, text, clip_skip, chunks) for text in texts]
        if uncond and not negative and loaded.family.zero_when_empty:
            return Conditioning(cond, cond.zeros)
        return Conditioning(cond, uncond[0] if uncond else None)

    def _embedding(self, loaded: Loaded, text: str, clip_skip: int, chunks: int) -> Embedding:
        known = self._known.setdefault(loaded.text_encoder, {})
        key = (text, clip_skip, chunks)
        if key not in known:
            while len(known) >= REMEMBERED:
                del known[next(iter(known))]
            known[key] = embedding(loaded, text, clip_skip, chunks)
        return known[key]


def chunked(tokenizer: Any, text: str) -> list[list[int]]:
    """Token ids without start and end, cut into pieces of what the model takes at once (75 for CLIP); at least one, maybe empty."""
    ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    room = tokenizer.model_max_length - 2
    return [ids[i : i + room] for i in range(0, len(ids), room)] or [[]]


def embedding(loaded: Loaded, text: str, clip_skip: int, chunks: int) -> Embedding:
    """tokens: (1, chunks x 77, width), of several text encoders side by side; pooled: what the last of them says of the whole."""
    read = [_read(loaded, part, text, clip_skip, chunks) for part in loaded.texts]
    return Embedding(torch.cat([said.tokens for said in read], dim=-1), read[-1].pooled)


def _read(loaded: Loaded, part: TextPart, text: str, clip_skip: int, chunks: int) -> Embedding:
    pieces = chunked(part.tokenizer, text)
    pieces += [[]] * (chunks - len(pieces))
    ids = torch.tensor([padded(part.tokenizer, piece) for piece in pieces], device=part.encoder.device)
    said = loaded.family.read(part, ids, clip_skip)
    return Embedding(said.tokens.reshape(1, -1, said.tokens.shape[-1]), said.pooled)


def padded(tokenizer: Any, piece: list[int]) -> list[int]:
    ids = [tokenizer.bos_token_id, *piece, tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def layers(loaded: Loaded) -> int:
    """What clip skip can count back."""
    return min(part.encoder.config.num_hidden_layers for part in loaded.texts)
