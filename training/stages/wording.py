"""The text encoder's first lesson: to say what a caption says. So the U-Net finds words that mean something already, and learns only to draw them."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.data import Renders
from training.judge import ANSWERS, right, truths
from training.lessons import Reading, answered
from training.loop import Turn
from training.models import Shape, text_encoder, tokenized

SHOWN = 512


class Wording:
    name = "text"

    def __init__(self, shape: Shape, renders: Renders, held_out: Renders, tokenizer: CLIPTokenizer, batch: int, device: str):
        self.batch, self.device, self._renders, self._held_out, self._tokenizer = batch, device, renders, held_out, tokenizer
        torch.manual_seed(0)
        self.text = text_encoder(shape, len(tokenizer)).to(device)
        self.reading = Reading(shape.text[0]).to(device)
        self.networks: Mapping[str, nn.Module] = {"text": self.text, "reading": self.reading}

    @cached_property
    def _tokens(self) -> Tensor:
        return tokenized(self._renders.captions, self._tokenizer)

    @cached_property
    def _truths(self) -> dict[str, Tensor]:
        return truths(self._renders.scenes)

    def loss(self, turn: Turn) -> Tensor:
        which = torch.from_numpy(turn.rng.integers(0, self._renders.count, self.batch))
        tokens = self._tokens[which, torch.from_numpy(turn.rng.integers(0, self._tokens.shape[1], self.batch))].long()
        asked = {question: self._truths[question][which].to(self.device) for question in ANSWERS}
        return answered(self._read(tokens.to(self.device)), asked)

    def _read(self, tokens: Tensor) -> dict[str, Tensor]:
        told: dict[str, Tensor] = self.reading(self.text(tokens).last_hidden_state, tokens, self._tokenizer.eos_token_id)
        return told

    def show(self, folder: Path) -> Mapping[str, float]:
        """Of the fullest captions of scenes that training never saw: the share of questions answered right."""
        count = min(SHOWN, self._held_out.count)
        tokens = tokenized(self._held_out.captions[:count], self._tokenizer)[:, 0].long()
        said = {question: scores.argmax(1).cpu() for question, scores in self._read(tokens.to(self.device)).items()}
        return right(said, truths(self._held_out.scenes[:count]))
