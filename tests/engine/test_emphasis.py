"""What a text encoder is given and what becomes of it are those of AUTOMATIC1111, rule by rule, on tiny models."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sd_ui.engine import start, text
from sd_ui.engine.denoise import Ask, Prediction, fast_forward, numbered
from sd_ui.engine.families import sd
from sd_ui.engine.guidance import composed, guided
from sd_ui.engine.noise import latent_noise, randomness
from sd_ui.prompt.language import calls_of
from sd_ui.prompt.schedule import timeline
from sd_ui.spec.request import EMPHASES, GenerationRequest, Sampling
from tests.engine import tiny
from tests.engine.tiny import SEED, SIZE, latents_of, run_of
from tests.prompt.test_attention import slowly as weighed_slowly
from tests.prompt.test_chunks import slowly as chunked_slowly

BASE = GenerationRequest("a red cat", "house", sampling=Sampling("Euler", steps=6, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)
PROMPTS = [
    "a red cat",
    "a (red:1.4) cat, [dog] of ((house))",
    "(photo:0.5) BREAK cat, [the:1.1) dog",
    "cat " * 100,
    "cat, dog, (red:1.3) " * 40,
    "a (cat:-0.5)",
    "",
]


@cache
@torch.inference_mode()
def loaded():
    """With an encoder whose rows have a mean, as those of real models have: the tiny ones come out of a norm that takes it away."""
    model = tiny.loaded()
    (part,) = model.texts
    encoder = copy.deepcopy(part.encoder)
    encoder.final_layer_norm.bias.data.normal_(0.5, 0.3, generator=torch.Generator().manual_seed(2))
    return replace(model, texts=(replace(part, encoder=encoder),))


# ---------------------------------------------------------------- the slow reference
def slowly(model, texts, clip_skip, emphasis):
    """The texts of one schedule, (n, 77 x chunks, width): chunk by chunk, all texts at once, in float32."""
    lines = [chunks_of(model.tokenizer, text, emphasis) for text in texts]
    columns = []
    for i in range(max(map(len, lines))):
        column = [line[i] if i < len(line) else ([], []) for line in lines]
        ids = torch.tensor([framed(model.tokenizer, ids) for ids, _ in column])
        multipliers = torch.tensor([[1.0, *weights, *[1.0] * (76 - len(weights))] for _, weights in column])
        hidden = model.text_encoder(ids, output_hidden_states=True).hidden_states[-clip_skip]
        z = model.text_encoder.final_layer_norm(hidden)
        before = z.mean()
        if emphasis in ("Original", "No norm"):
            z = z * multipliers.reshape(*multipliers.shape, 1).expand(z.shape)
        if emphasis == "Original":
            z = z * (before / z.mean())
        columns.append(z)
    return torch.hstack(columns)


def chunks_of(tokenizer, text, emphasis):
    pieces = [(text, 1.0)] if emphasis == "None" else weighed_slowly(text)
    ids, weights = [], []
    for piece, weight in pieces:
        is_break = (piece, weight) == ("BREAK", -1.0)
        found = [None] if is_break else tokenizer(piece, add_special_tokens=False).input_ids
        ids += found
        weights += [] if is_break else [weight] * len(found)
    comma = tokenizer.get_vocab()[",</w>"]
    chunks, place = [], 0
    for chunk in chunked_slowly([0 if id == comma else id + 1 if id is not None else None for id in ids], 75):
        chunks.append(([comma if id == 0 else id - 1 for id in chunk], weights[place : place + len(chunk)]))
        place += len(chunk)
    return chunks


def framed(tokenizer, ids):
    return [tokenizer.bos_token_id, *ids, *[tokenizer.eos_token_id] * (76 - len(ids))]


@torch.inference_mode()
@pytest.mark.parametrize("emphasis", EMPHASES)
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_embeddings_are_those_of_the_slow_rules(prompt, emphasis):
    model = loaded()
    for clip_skip in (1, 2):
        ours = text.embedding(model, prompt, clip_skip, emphasis).tokens
        torch.testing.assert_close(ours, slowly(model, [prompt], clip_skip, emphasis), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["cat", " dog ", ", ", "(red:1.3)", "[", "]", "(", ")", "BREAK ", "house " * 30, ":0.7)"]), max_size=12).map("".join))
def test_any_prompt_is_read_by_the_slow_rules(prompt):
    model = loaded()
    torch.testing.assert_close(text.embedding(model, prompt, 1).tokens, slowly(model, [prompt], 1, "Original"), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(
    "prompt", ["a [(red:1.5) cat:dog:3] of the house", "[(cat:1.3)|dog, (house:0.4)]", "[cat :" + "dog " * 90 + ":0.5] (red:1.2)"]
)
def test_the_texts_of_a_schedule_share_length_and_mean(prompt):
    model, spans = loaded(), timeline(prompt, 6)
    told = text.TextEncoder().encode(model, prompt, "", 1, 4.0, 6)
    theirs = slowly(model, [span.text for span in spans], 1, "Original")
    for span, want in zip(spans, theirs, strict=True):
        torch.testing.assert_close(told.at(span.last).cond.tokens[0], want, rtol=1e-5, atol=1e-5)


def test_a_plain_prompt_is_encoded_once_and_its_rows_are_not_touched():
    model, seen = loaded(), []
    hook = model.text_encoder.register_forward_hook(lambda _, args, out: seen.append(out.last_hidden_state))
    try:
        with torch.inference_mode():
            told = text.TextEncoder().encode(model, "a red cat", "dog", 1, 4.0, 20)
    finally:
        hook.remove()
    assert len(seen) == 2 and len(told.told) == 1
    assert torch.equal(told.at(7).cond.tokens, seen[0]) and torch.equal(told.at(7).uncond.tokens, seen[1])


# ---------------------------------------------------------------- schedules
@torch.inference_mode()
def latents(prompt, negative="house", **sampling):
    request = replace(BASE, prompt=prompt, negative_prompt=negative, sampling=replace(BASE.sampling, **sampling))
    return latents_of(run_of(loaded(), request))


@torch.inference_mode()
def told_to(prompt, steps=6, sampler="Euler", negative=""):
    """The prompt that is shown to the model at each of its calls, by its embedding."""
    model, seen = loaded(), []
    alone = {name: text.embedding(model, name, 1).tokens for name in ("cat", "dog", "red", "house")}
    request = replace(BASE, prompt=prompt, negative_prompt=negative, sampling=Sampling(sampler, steps=steps, cfg_scale=4.0))

    def look(_, args, kwargs):
        *_, row = kwargs["encoder_hidden_states"]
        seen.append(next(name for name, tokens in alone.items() if torch.equal(tokens[0], row)))

    hook = model.denoiser.register_forward_pre_hook(look, with_kwargs=True)
    try:
        latents_of(run_of(model, request))
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("prompt", "steps", "sampler", "said"),
    [
        ("[cat:dog:3]", 6, "Euler", ["cat"] * 4 + ["dog"] * 2),
        ("[cat:dog:0.5]", 6, "Euler", ["cat"] * 4 + ["dog"] * 2),
        ("[cat:dog:0]", 3, "Euler", ["dog"] * 3),
        ("[cat:dog:9]", 3, "Euler", ["cat"] * 3),
        ("[cat|dog|red]", 6, "Euler", ["cat", "cat", "dog", "red", "cat", "dog"]),
        ("[cat:dog:0.5]", 4, "Heun", ["cat"] * 5 + ["dog"] * 2),
        ("[cat:dog:3]", 4, "Heun", ["cat"] * 4 + ["dog"] * 3),
    ],
)
def test_the_model_is_told_what_a1111_tells_it(prompt, steps, sampler, said):
    """A1111 counts calls of the model from 0, and a text lasts up to the call of its number."""
    assert told_to(prompt, steps, sampler) == said


def test_a_schedule_that_never_switches_is_the_plain_prompt():
    assert torch.equal(latents("[cat:dog:6]"), latents("cat")) and torch.equal(latents("[cat:dog:0]"), latents("dog"))
    assert not torch.equal(latents("[cat:dog:2]"), latents("cat"))
    assert torch.equal(latents("cat", "[dog:house:0]"), latents("cat", "house"))
    assert not torch.equal(latents("cat", "[dog:house:2]"), latents("cat", "house"))


def test_samplers_of_two_calls_a_step_count_twice_as_many():
    assert calls_of(Sampling("Euler", steps=20)) == 20 and calls_of(Sampling("Heun", steps=20)) == 40


@torch.inference_mode()
@pytest.mark.parametrize("sampler", ["Euler a", "Heun", "DPM++ 2M"])
@pytest.mark.parametrize("prompt", ["[cat|dog] red", "[cat:dog:2]"])
def test_a_tape_of_a_scheduled_prompt_fast_forwards_bit_for_bit(prompt, sampler):
    run = run_of(loaded(), replace(BASE, prompt=prompt, sampling=Sampling(sampler, steps=5, cfg_scale=4.0)))
    predict = run.predict()

    def again():
        plan, source = run.plan(), randomness(SEED)
        return numbered(plan.sample(start.begin(plan, run.scene, latent_noise(4, SIZE, SIZE, source), 1.0), source))

    tape, want = told(again(), predict)
    for k in range(len(tape)):
        fresh = again()
        ask = fast_forward(fresh, tape[:k])
        assert isinstance(ask, Ask) and ask.call == k
        assert torch.equal(told(fresh, predict, ask)[1], want)


def told(sampling, predict, ask=None):
    tape: list[Prediction] = []
    try:
        said = ask or next(sampling)
        while True:
            if isinstance(said, Ask):
                tape.append(predict(said.call)(said.latents, said.timestep))
                said = sampling.send(tape[-1])
            else:
                said = next(sampling)
    except StopIteration as end:
        return tape, end.value


# ---------------------------------------------------------------- AND
def predictions(prompt, negative="house", scale=4.0):
    model = loaded()
    words = text.TextEncoder().encode(model, prompt, negative, 1, scale)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return sd.predict(model.denoiser, words.at(0), scale)(x, torch.tensor(500))


@torch.inference_mode()
def test_and_adds_up_weighted_differences():
    cat, dog = predictions("cat"), predictions("red dog")
    both = predictions("cat :0.7 AND red dog :-0.2")
    want = cat.uncond + 4.0 * (0.7 * (cat.cond - cat.uncond) - 0.2 * (dog.cond - dog.uncond))
    torch.testing.assert_close(both.guided, want, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_and_counts_at_cfg_1_too():
    cat, dog = predictions("cat"), predictions("dog")
    both = predictions("cat AND dog", scale=1.0)
    torch.testing.assert_close(both.guided, cat.cond + dog.cond - cat.uncond, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predictions("cat :0.5", scale=1.0).guided, (cat.cond + cat.uncond) / 2, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_negative_prompt_of_another_length_is_asked_apart():
    long = "cat " * 100
    alone, both = predictions(long, scale=1.0), predictions(long)
    torch.testing.assert_close(both.cond, alone.cond, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.uncond, predictions("house", scale=1.0).cond, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_of_texts_of_several_lengths_the_last_row_of_the_short_one_is_repeated():
    model = loaded()
    told_ = text.TextEncoder().encode(model, "cat AND " + "dog " * 100, "house", 1, 4.0).at(0)
    negative, wanted = told_.calls
    assert negative.tokens.shape == (1, 77, 32) and wanted.tokens.shape == (2, 154, 32)
    assert torch.equal(wanted.tokens[0, 77:], told_.cond.tokens[0, -1:].expand(77, -1))


def test_one_text_of_weight_1_is_its_own_prediction():
    uncond, cond = torch.randn(2, 1, 4, 8, 8)
    assert composed(uncond, [cond], [1.0]) is cond
    assert torch.equal(guided(uncond, composed(uncond, [cond], [1.0]), 7.0).guided, guided(uncond, cond, 7.0).guided)
