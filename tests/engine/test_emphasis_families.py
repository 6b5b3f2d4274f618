"""Weights and chunks in Stable Diffusion 2 and SDXL: every text encoder by A1111's rules for itself, the pooled text from the first chunk."""

import pytest
import torch

from sd_ui.engine import text
from sd_ui.engine.families import sdxl
from sd_ui.spec.request import EMPHASES
from tests.engine import test_oracle_sd2 as sd2
from tests.engine import test_oracle_sdxl as xl
from tests.engine.test_emphasis import chunks_of

PROMPTS = ["a red cat", "a (red:1.4) cat, [dog] of ((house))", "(photo:0.5) BREAK cat, [the:1.1) dog", "cat, dog, (red:1.3) " * 30, ""]


def weighed_slowly(part, prompt, emphasis, hidden):
    """(1, 77 x chunks, width) of one text encoder. hidden: what is taken of its output."""
    columns = []
    for ids, weights in chunks_of(part.tokenizer, prompt, emphasis):
        z = hidden(part.encoder, filled(part.tokenizer, ids))
        multipliers = torch.tensor([[1.0, *weights, *[1.0] * (76 - len(weights))]])
        before = z.mean()
        z = z * multipliers[..., None] if emphasis in ("Original", "No norm") else z
        columns.append(z * (before / z.mean()) if emphasis == "Original" else z)
    return torch.hstack(columns)


def filled(tokenizer, ids):
    """As A1111 fills a chunk: to its end with ends of text, then all behind the first of them becomes padding."""
    row = [tokenizer.bos_token_id, *ids, *[tokenizer.eos_token_id] * (76 - len(ids))]
    first = row.index(tokenizer.eos_token_id)
    return torch.tensor([[*row[: first + 1], *[tokenizer.pad_token_id] * (len(row) - first - 1)]])


@torch.inference_mode()
@pytest.mark.parametrize("emphasis", EMPHASES)
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_sdxl_weighs_what_both_of_its_encoders_say(prompt, emphasis):
    model = xl.model()
    ours = text.embedding(model, prompt, 1, emphasis)
    wide = [
        weighed_slowly(part, prompt, emphasis, lambda encoder, ids: encoder(ids, output_hidden_states=True).hidden_states[-2]) for part in model.texts
    ]
    torch.testing.assert_close(ours.tokens, torch.cat(wide, dim=-1), rtol=1e-3, atol=1e-4)
    second = model.texts[1]
    (ids, _), *_ = chunks_of(second.tokenizer, prompt, emphasis)
    torch.testing.assert_close(ours.pooled, second.encoder(filled(second.tokenizer, ids)).text_embeds, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("emphasis", ["No norm", "Ignore", "None"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_stable_diffusion_2_weighs_the_layer_that_it_reads(prompt, emphasis):
    model = sd2.model(4)
    ours = text.embedding(model, prompt, 1, emphasis).tokens
    torch.testing.assert_close(
        ours, weighed_slowly(model.texts[0], prompt, emphasis, lambda encoder, ids: encoder(ids).last_hidden_state), rtol=1e-4, atol=1e-4
    )


@torch.inference_mode()
def test_a_composed_prompt_tells_sdxl_every_text_as_a_whole():
    model = xl.model()
    told = text.TextEncoder().encode(model, "cat AND dog :0.5 AND red house", "photo", 1, 4.0).at(0)
    (call,) = told.calls
    assert call.wanted == (False, True, True, True) and call.tokens.shape == (4, 77, 64)
    alone = [text.embedding(model, prompt, 1).pooled for prompt in ("photo", "cat", " dog", " red house")]
    assert torch.equal(call.pooled, torch.cat(alone))
    assert len(sdxl.base_ids((64, 64), call)) == 4 and [row[-1] for row in sdxl.refiner_ids((64, 64), call)] == [2.5, 6.0, 6.0, 6.0]
    said = model.family.predict(model.denoiser, told, 4.0, None, (64, 64))(torch.randn(1, 4, 8, 8), torch.tensor(500))
    assert said.guided.isfinite().all() and said.guided.shape == (1, 4, 8, 8)
