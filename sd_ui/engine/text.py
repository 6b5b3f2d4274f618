"""Prompts to embeddings, the way CLIP was trained: tokens in chunks between start and end, padded; no text leaves this file as text."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sd_ui.engine.guidance import needs_uncond
from sd_ui.engine.loaded import Loaded

REMEMBERED = 64


@dataclass(frozen=True)
class Conditioning:
    """cond, uncond: (1, 77 x chunks, width) on the model's device; uncond is None where guidance is off."""

    cond: Tensor
    uncond: Tensor | None

    @property
    def rows(self) -> Tensor:
        """As the model is called: unconditional first, as in diffusers' pipelines."""
        return self.cond if self.uncond is None else torch.cat([self.uncond, self.cond])


@dataclass
class TextEncoder:
    """Remembers the embeddings of recent texts for as long as their model lives. Used by the engine's thread alone."""

    _known: "WeakKeyDictionary[Any, dict[tuple[str, int, int], Tensor]]" = field(default_factory=WeakKeyDictionary)

    def encode(self, loaded: Loaded, prompt: str, negative: str, clip_skip: int, cfg_scale: float) -> Conditioning:
        """Both texts get the same number of chunks, since the model is called with both at once."""
        texts = [prompt, negative] if needs_uncond(cfg_scale) else [prompt]
        chunks = max(len(chunked(loaded.tokenizer, text)) for text in texts)
        cond, *uncond = [self._embedding(loaded, text, clip_skip, chunks) for text in texts]
        return Conditioning(cond, uncond[0] if uncond else None)

    def _embedding(self, loaded: Loaded, text: str, clip_skip: int, chunks: int) -> Tensor:
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


def embedding(loaded: Loaded, text: str, clip_skip: int, chunks: int) -> Tensor:
    """(1, chunks x 77, width). clip_skip n takes the hidden state of the n-th last layer, then the final norm.

    Written out here because diffusers' own clip_skip fails with the present CLIPTextModel of transformers.
    """
    encoder, tokenizer = loaded.text_encoder, loaded.tokenizer
    pieces = chunked(tokenizer, text)
    pieces += [[]] * (chunks - len(pieces))
    ids = torch.tensor([padded(tokenizer, piece) for piece in pieces], device=encoder.device)
    hidden = encoder(ids, output_hidden_states=True).hidden_states[-min(clip_skip, layers(loaded))]
    return encoder.final_layer_norm(hidden).reshape(1, -1, hidden.shape[-1])


def padded(tokenizer: Any, piece: list[int]) -> list[int]:
    ids = [tokenizer.bos_token_id, *piece, tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def layers(loaded: Loaded) -> int:
    count: int = loaded.text_encoder.config.num_hidden_layers
    return count
