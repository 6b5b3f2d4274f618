"""Weights of words, put onto what a text encoder says: the rules behind A1111's setting "Emphasis mode"."""

from collections.abc import Sequence

import torch
from torch import Tensor


def weighed(tokens: Sequence[Tensor], weights: Sequence[Tensor], counts: Sequence[int], emphasis: str) -> list[Tensor]:
    """The embeddings of texts that take turns in one run, each token's row multiplied by its weight.

    tokens: (chunks, 77, width) each, weights: (chunks, 77), equally many chunks. counts: how often each text stands in the schedule.
    "Original" then brings the mean of each chunk back to what it was, over all these texts together, as AUTOMATIC1111's `sd_emphasis.py`
    does; "No norm" leaves it. Where all weights are 1 the very same tensors come back.
    """
    if all(bool((weight == 1).all()) for weight in weights):
        return list(tokens)
    scaled = [said * weight[..., None].to(said.device, said.dtype) for said, weight in zip(tokens, weights, strict=True)]
    if emphasis != "Original":
        return scaled
    factor = _means(tokens, counts) / _means(scaled, counts)
    factor = torch.where(factor.isfinite(), factor, 1.0)[:, None, None]
    return [(said * factor).to(said.dtype) for said in scaled]


def _means(tokens: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """(chunks,) in float32."""
    means = [said.float().mean(dim=(1, 2)) * count for said, count in zip(tokens, counts, strict=True)]
    return torch.stack(means).sum(dim=0) / sum(counts)
