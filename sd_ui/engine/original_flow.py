"""What the published files of SD 3 and Flux.1 call a transformer's tensors -> the names of diffusers, with what was one matrix there apart."""

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from sd_ui.engine.parts import Weights
from sd_ui.models.flow_names import APART, TABLES, Table

SHIFT_FIRST = re.compile(r"norm_out\.linear\.|transformer_blocks\.(\d+)\.norm1_context\.linear\.")  # diffusers has the scale first, in these


def converted(family: str, weights: Weights, width: int) -> dict[str, Tensor]:
    """weights: without the prefix of a whole checkpoint. width: of the transformer. What is not known keeps its name, for whoever checks."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for new, piece in _converted(TABLES[family], name, tensor, width):
            swapped = SHIFT_FIRST.match(new) and piece.shape[0] == 2 * width
            found[new] = torch.cat(piece.chunk(2)[::-1]) if swapped else piece
    return found


def _converted(table: Table, name: str, tensor: Tensor, width: int) -> Iterator[tuple[str, Tensor]]:
    if name == "pos_embed":
        yield "pos_embed.pos_embed", tensor
        return
    stem, _, last = name.rpartition(".")
    last = {"scale": "weight"}.get(last, last)
    for pattern, parts in APART:
        if found := re.fullmatch(pattern, stem):
            sizes = [width] * 3 + [tensor.shape[0] - 3 * width] * (len(parts) - 3)
            if sum(sizes) == tensor.shape[0] and min(sizes) > 0:
                yield from ((f"{found.expand(part)}.{last}", piece) for part, piece in zip(parts, tensor.split(sizes), strict=True))
                return
    new = next((found.expand(theirs) for pattern, theirs in table if (found := re.fullmatch(pattern, stem))), stem)
    yield f"{new}.{last}" if new != stem else name, tensor
