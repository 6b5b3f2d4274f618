"""What Stable Diffusion does, statement by statement, on tiny models with random weights."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sd_ui.engine import depth, pixels, start, text
from sd_ui.engine.denoise import Prediction, Step, answered, fast_forward
from sd_ui.engine.families import sd
from sd_ui.engine.family import TextPart
from sd_ui.engine.guidance import guided
from sd_ui.engine.inputs import Inputs
from sd_ui.engine.noise import Drawn, latent_noise, randomness
from sd_ui.engine.remembered import Remembered
from sd_ui.engine.samplers import table
from sd_ui.engine.samplers.table import ROWS
from sd_ui.engine.start import Scene
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, ModelChoice, Sampling, steps_to_run
from sd_ui.spec.samplers import EVERY, SAMPLERS
from tests.engine.tiny import CPU, DEPTH, MASK, PICTURE, REF, SEED, SIZE, latents_of, loaded, run_of

BASE = GenerationRequest("a red cat", sampling=Sampling("Euler", steps=6, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)
INPUTS = Inputs(PICTURE, MASK, DEPTH)
EVERY_PAIR = [(name, "Automatic") for name in ROWS] + [(name, s) for name in ("Euler", "DPM2", "LCM") for s in EVERY if s != "DDIM"]
LEVELS = ("Simple", "Turbo")  # schedules that pick from the model's levels, of which LCM has 50
DETERMINISTIC = [name for name in ROWS if not SAMPLERS[name].fresh_noise]
NOISY = [name for name in ROWS if SAMPLERS[name].fresh_noise]


def with_sampler(name: str, steps: int = 6) -> GenerationRequest:
    return replace(BASE, sampling=replace(BASE.sampling, sampler=name, steps=steps))


# ---------------------------------------------------------------- noise and seeds
def test_512_by_512_pixels_are_a_latent_of_4_by_64_by_64():
    assert latent_noise(4, 512, 512, randomness(0)).shape == (1, 4, 64, 64)
    assert latent_noise(4, 768, 512, randomness(0)).shape == (1, 4, 64, 96)


def test_the_seed_alone_fixes_the_noise_in_float32_on_the_cpu():
    first, again, other = (latent_noise(4, 512, 512, randomness(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.dtype == torch.float32 and first.device.type == "cpu"
    assert first[0, 0, 0, :3].tolist() == [-1.5255959033966064, -0.7502318024635315, -0.6539809107780457]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_seed_is_the_same_latent_on_any_device():
    assert torch.equal(latent_noise(4, 512, 512, randomness(5)).to("cuda").cpu(), latent_noise(4, 512, 512, randomness(5)))


def test_noise_does_not_depend_on_threads_or_on_the_global_generator():
    want = latent_noise(4, 256, 256, randomness(3))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(99)
        assert torch.equal(latent_noise(4, 256, 256, randomness(3)), want)
    finally:
        torch.set_num_threads(threads)


def test_the_same_request_gives_the_same_latents_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = loaded()
    assert torch.equal(latents_of(run_of(model, BASE)), latents_of(run_of(model, BASE)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ROWS)
def test_picture_i_of_a_batch_is_the_picture_of_seed_plus_i(name):
    request, model = replace(with_sampler(name), count=3), loaded()
    run = run_of(model, request)
    alone = run_of(model, replace(request, seed=SEED + 2, count=1))
    assert torch.equal(latents_of(run, 2), latents_of(alone))
    assert not torch.equal(latents_of(run, 1), latents_of(run, 2))


def test_the_largest_seed_is_followed_by_the_smallest():
    assert replace(BASE, seed=2**64 - 1).seed_of(1) == 0


# ---------------------------------------------------------------- guidance
def test_guidance_is_uncond_plus_scale_times_the_difference():
    uncond, cond = torch.randn(2, 1, 4, 8, 8)
    for scale in (-2.0, 0.0, 1.0, 7.5, 30.0):
        said = guided(uncond, cond, scale)
        assert torch.equal(said.guided, uncond + scale * (cond - uncond))
        assert said.cond is cond and said.uncond is uncond
    assert torch.equal(guided(uncond, cond, 0.0).guided, uncond)


@pytest.mark.parametrize(("cfg_scale", "rows"), [(1.0, 1), (4.0, 2), (0.0, 2)])
def test_cfg_1_runs_no_unconditional_pass(cfg_scale, rows):
    model, seen = loaded(), []
    hook = model.denoiser.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        latents_of(run_of(model, replace(BASE, sampling=replace(BASE.sampling, cfg_scale=cfg_scale))))
    finally:
        hook.remove()
    assert seen == [rows] * BASE.sampling.steps


def test_cfg_0_ignores_the_prompt_and_the_negative_prompt_counts_elsewhere():
    model = loaded()

    def latents(prompt, negative, scale):
        return latents_of(run_of(model, replace(BASE, prompt=prompt, negative_prompt=negative, sampling=replace(BASE.sampling, cfg_scale=scale))))

    assert torch.equal(latents("a cat", "", 0.0), latents("a dog", "", 0.0))
    assert not torch.equal(latents("a cat", "", 4.0), latents("a dog", "", 4.0))
    assert not torch.equal(latents("a cat", "", 4.0), latents("a cat", "house", 4.0))
    assert torch.equal(latents("a cat", "", 1.0), latents("a cat", "house", 1.0))


# ---------------------------------------------------------------- text
def test_a_prompt_is_77_tokens_times_the_width():
    model = loaded()
    assert text.embedding(model, "a photo of a red cat", 1).tokens.shape == (1, 77, model.text_encoder.config.hidden_size)


def test_clip_skip_1_is_the_encoders_own_output():
    model = loaded()
    ids = model.tokenizer("a red cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(text.embedding(model, "a red cat", 1).tokens, model.text_encoder(ids).last_hidden_state)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_n_takes_the_nth_last_layer(skip):
    """The reference cuts the layers off and runs what is left."""
    model = loaded()
    encoder = model.text_encoder
    layers = encoder.encoder.layers
    ids = model.tokenizer("a red cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    want = text.embedding(model, "a red cat", skip).tokens
    encoder.encoder.layers = layers[: len(layers) - (skip - 1)]
    try:
        assert torch.equal(encoder(ids).last_hidden_state, want)
    finally:
        encoder.encoder.layers = layers


def test_more_clip_skip_than_layers_is_said():
    run = run_of(loaded(), replace(BASE, model=ModelChoice(clip_skip=9)))
    assert run.notes() == ("Clip skip 9 was taken as 3: the text encoder has 3 layers.",)


def test_a_long_prompt_is_cut_into_chunks_and_the_negative_stays_short():
    model = loaded()
    told = text.TextEncoder().encode(model, "cat " * 100, "dog", 1, 4.0).at(0)
    assert told.cond.tokens.shape == (1, 154, 32) and told.uncond.tokens.shape == (1, 77, 32)
    assert torch.equal(told.cond.tokens[:, :77], text.embedding(model, "cat " * 75, 1).tokens)
    assert [len(call.tokens) for call in told.calls] == [1, 1]


def test_an_embedding_is_computed_once():
    model, seen, encoder = loaded(), [], text.TextEncoder()
    hook = model.text_encoder.register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        for _ in range(3):
            encoder.encode(model, "a cat", "", 1, 4.0)
    finally:
        hook.remove()
    assert len(seen) == 2


def test_of_many_texts_the_latest_are_remembered():
    model, encoder = loaded(), text.TextEncoder(Remembered(3, len))
    with torch.inference_mode():
        for i in range(5):
            encoder.encode(model, f"cat {i}", "", 1, 1.0)
    assert [texts for _, texts, *_ in encoder._known._known] == [(f"cat {i}",) for i in range(2, 5)]


# ---------------------------------------------------------------- samplers
class Recorder:
    """A model that remembers what it said; with a tape it could be asked for nothing more."""

    def __init__(self, predict):
        self.predict, self.tape = predict, []

    def __call__(self, latents, t):
        self.tape.append(self.predict(latents, t))
        return self.tape[-1]


def sampled(name: str, schedule: str = "Automatic", steps: int = 6):
    """-> (a function that makes the sampling anew, the model)"""
    model = loaded()
    words = text.TextEncoder().encode(model, "a red cat", "", 1, 4.0)
    predict = sd.predict(model.denoiser, words.at(0), 4.0)

    def again():
        plan = table.plan(name, schedule, model.scheduler_config, steps, steps, CPU.device)
        source = randomness(SEED)
        return plan.sample(start.begin(plan, Scene(), latent_noise(4, SIZE, SIZE, source), 1.0), source)

    return again, predict


def run_to_the_end(steps):
    told = []
    try:
        while True:
            told.append(next(steps))
    except StopIteration as end:
        return told, end.value


@torch.inference_mode()
@pytest.mark.parametrize("name", ROWS)
def test_a_recorded_tape_fast_forwards_every_sampler_bit_for_bit(name):
    again, predict = sampled(name, steps=20 if name == "Restart" else 6)
    recorder = Recorder(predict)
    steps, want = run_to_the_end(answered(again(), recorder))
    for k in range(0, len(recorder.tape), 1 if len(recorder.tape) < 12 else 5):
        fresh = again()
        ask = fast_forward(fresh, recorder.tape[:k])
        rest, got = run_to_the_end(answered(fresh, predict, ask))
        assert torch.equal(got, want), f"after {k} predictions"
        assert len(rest) == len(steps) - k
    assert torch.equal(fast_forward(again(), recorder.tape), want)


def draws(name: str) -> list[bool]:
    """Whether each answer of a run made it take something from the run's randomness."""
    _, predict = sampled(name)
    steps = 20 if name == "Restart" else 6
    plan = table.plan(name, "Automatic", loaded().scheduler_config, steps, steps, CPU.device)
    source = Counted(SEED)
    begun = start.begin(plan, Scene(), latent_noise(4, SIZE, SIZE, source), 1.0)
    before, drew = source.drawn, []
    for _ in answered(plan.sample(begun, source), predict):
        drew.append(source.drawn > before)
        before = source.drawn
    return drew


class Counted(Drawn):
    """Randomness that counts what is taken from it."""

    drawn = 0

    def __init__(self, seed):
        super().__init__(seed)
        stream = self.normal
        self.normal = lambda shape: self.counted(stream(shape))

    def unit(self, seed, shape):
        return self.counted(super().unit(seed, shape))

    def counted(self, noise):
        self.drawn += 1
        return noise


@torch.inference_mode()
@pytest.mark.parametrize("name", NOISY)
def test_samplers_with_fresh_noise_draw_it_from_the_seed(name):
    drew = draws(name)
    if name == "Restart":
        assert sum(drew) == 1
    elif "SDE" in name or name.startswith("DPM "):  # a Brownian path draws more than it is asked for, and remembers it
        assert sum(drew) >= 2
    elif name in ("DPM2 a", "DPM++ 2S a"):
        assert all(drew[1:-1:2])
    else:
        assert all(drew[:-1])


@torch.inference_mode()
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_other_samplers_draw_no_noise_but_the_first(name):
    assert not any(draws(name))


@pytest.mark.parametrize(("name", "schedule"), EVERY_PAIR)
@pytest.mark.parametrize(("steps", "run"), [(1, 1), (2, 1), (20, 20), (20, 9), (50, 50)])
def test_as_many_steps_as_were_asked_for_are_counted_one_by_one(name, schedule, steps, run):
    """Whatever a sampler asks in between, and however close the last timesteps are."""
    plan = table.plan(name, schedule, loaded().scheduler_config, steps, run, CPU.device)
    begun = start.Start(torch.ones(1, 4, 1, 1))
    told, _ = run_to_the_end(answered(plan.sample(begun, randomness(0)), lambda x, t: Prediction(x, x)))
    indexes = [step.index for step in told]
    if name == "DPM adaptive":
        assert set(indexes) <= set(range(1, run + 1))
    elif schedule not in LEVELS or name != "LCM":
        assert sorted(set(indexes)) == list(range(1, run + 1))
    assert indexes == sorted(indexes) and {step.total for step in told} == {plan.total}
    assert plan.total == run or (schedule in LEVELS and name == "LCM")


@pytest.mark.parametrize(("name", "schedule", "steps", "counted"), [
    ("Euler", "DDIM", 20, 20), ("Euler", "DDIM", 30, 31), ("DPM2", "DDIM", 20, 21), ("DDIM", "Uniform", 30, 30), ("DDIM", "Uniform", 150, 166),
    ("LCM", "Simple", 150, 50),
])  # fmt: skip
def test_where_a_schedule_cannot_have_so_many_steps_those_are_counted_that_are_run(name, schedule, steps, counted):
    plan = table.plan(name, schedule, loaded().scheduler_config, steps, steps, CPU.device)
    told, _ = run_to_the_end(answered(plan.sample(start.Start(torch.ones(1, 4, 1, 1)), randomness(0)), lambda x, t: Prediction(x, x)))
    assert plan.total == counted and sorted({step.index for step in told}) == list(range(1, counted + 1))


@torch.inference_mode()
@pytest.mark.parametrize("name", ROWS)
def test_steps_follow_the_noise_schedule_down(name):
    again, predict = sampled(name)
    steps, _ = run_to_the_end(answered(again(), predict))
    sigmas = [step.sigma for step in steps]
    assert [step.index for step in steps] == sorted(step.index for step in steps)
    assert steps[0].index == 1 and steps[-1].index == steps[-1].total
    from_the_top = name not in ("DDIM", "DDIM CFG++", "PLMS")
    assert (14 if from_the_top else 5) < sigmas[0] < 15 and sigmas[-1] < 2
    firsts = [round(next(step.sigma for step in steps if step.index == i), 4) for i in sorted({step.index for step in steps})]
    assert firsts == sorted(firsts, reverse=True) or name == "DPM fast"  # its questions go lower than the noise that it then adds


def perfect(clean: torch.Tensor, prediction_type: str, space: str):
    """A model that knows the answer: from the noise level it says just what leads to `clean`."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)

    def predict(x, t):
        where = float(t)
        low = int(where)
        part = where - low
        level = kept[low].log() * (1 - part) + kept[min(low + 1, 999)].log() * part
        a, s = level.exp().sqrt().float(), (1 - level.exp()).sqrt().float()
        noise = (x - a * clean) / s
        out = noise if prediction_type == "epsilon" else a * noise - s * clean
        return Prediction(out, out)

    return predict


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ROWS)
def test_the_predicted_clean_latent_is_right_for_every_sampler(name, prediction_type):
    facts = {**loaded().scheduler_config, "prediction_type": prediction_type}
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    plan = table.plan(name, "Uniform", facts, 12, 12, CPU.device)
    source = randomness(0)
    begun = start.begin(plan, Scene(), latent_noise(4, SIZE, SIZE, source), 1.0)
    steps, last = run_to_the_end(answered(plan.sample(begun, source), perfect(clean, prediction_type, name)))
    for step in steps:
        assert (step.denoised - clean).abs().max() < 0.08 * max(1.0, step.sigma), (step.index, step.sigma)
    assert (last - clean).abs().max() < 0.3


# ---------------------------------------------------------------- pictures as input
def test_steps_of_a_denoising_strength():
    assert [steps_to_run(20, s) for s in (0, 0.001, 0.3, 0.5, 0.75, 0.999, 1)] == [0, 1, 6, 10, 15, 20, 20]
    assert steps_to_run(50, 0.58) == 29


@pytest.mark.parametrize("name", ROWS)
def test_strength_1_is_txt2img_of_the_same_seed(name):
    model, request = loaded(), with_sampler(name)
    from_picture = replace(request, source=ImageToImage(REF, 1.0))
    assert torch.equal(latents_of(run_of(model, from_picture, INPUTS)), latents_of(run_of(model, request)))


@pytest.mark.parametrize("name", ROWS)
def test_less_strength_keeps_more_of_the_picture(name):
    model = loaded()
    clean = pixels.encoded(model, pixels.tensor(PICTURE))
    far = []
    for strength in (0.2, 0.9):
        plan = table.plan(name, "Automatic", model.scheduler_config, 10, steps_to_run(10, strength), CPU.device)
        noise = latent_noise(4, SIZE, SIZE, randomness(SEED))
        far.append((plan.noised(clean, noise) - clean).std().item())
    assert far[0] < far[1]


@pytest.mark.parametrize("name", ROWS)
def test_the_held_part_of_a_latent_comes_out_clean(name):
    model = loaded()
    run = run_of(model, replace(with_sampler(name), source=Inpaint(REF, REF, 0.6)), INPUTS)
    latents = latents_of(run)
    outside = (run.scene.held_mask == 0).expand_as(latents)
    assert torch.equal(latents[outside], run.scene.clean[outside])
    assert not torch.equal(latents, run.scene.clean)


def test_one_masked_pixel_frees_its_latent_cell():
    mask = torch.zeros(1, 1, 64, 64)
    mask[0, 0, 13, 50] = 1
    cells = start.latent_mask(mask)
    assert cells.sum() == 1 and cells[0, 0, 1, 6] == 1


def test_depth_is_an_extra_channel_between_minus_1_and_1():
    plane = depth.plane(DEPTH * 40 + 3, SIZE, SIZE)
    assert plane.shape == (1, 1, 8, 8) and plane.min() == -1 and plane.max() == 1


def test_a_flat_depth_map_makes_no_nan():
    assert torch.equal(depth.plane(torch.full((64, 64), 0.4), SIZE, SIZE), torch.zeros(1, 1, 8, 8))
    run = run_of(loaded(5), replace(BASE, source=DepthToImage(REF, REF, 0.7)), Inputs(PICTURE, depth=torch.ones(SIZE, SIZE)))
    assert latents_of(run).isfinite().all()


def test_depth_reaches_the_model_at_every_strength():
    model = loaded(5)
    flat, slope = torch.ones(SIZE, SIZE), torch.linspace(0, 1, SIZE).expand(SIZE, SIZE)
    for strength in (0.5, 1.0):
        request = replace(BASE, source=DepthToImage(REF, REF, strength))
        got = [latents_of(run_of(model, request, Inputs(PICTURE, depth=plane))) for plane in (flat, slope)]
        assert not torch.equal(*got)


def test_what_the_vae_encodes_it_decodes_to_the_same_size():
    model = loaded()
    wide = Image.fromarray(np.random.RandomState(1).randint(0, 255, (72, 128, 3), np.uint8))
    latents = pixels.encoded(model, pixels.tensor(wide))
    assert latents.shape == (1, 4, 9, 16) and latents.is_contiguous() and latents.dtype == torch.float32
    assert pixels.decoded(model, latents).size == (128, 72)


def test_numbers_that_are_not_finite_are_an_error_and_not_a_black_picture():
    with pytest.raises(pixels.NotFinite, match="float32"):
        pixels.decoded(loaded(), torch.full((1, 4, 8, 8), torch.nan))


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_a_vae_that_overflows_in_half_precision_decodes_in_float32_and_is_half_again(kind):
    model = replace(loaded(vae=kind), vae=copy.deepcopy(loaded(vae=kind).vae).bfloat16())
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    want, tried = pixels.decoded(loaded(vae=kind), latents), []

    def overflow(module, given, out):
        tried.append(out.dtype)
        return out if out.dtype == torch.float32 else out * torch.inf

    model.vae.decoder.register_forward_hook(overflow)
    got = pixels.decoded(model, latents)
    assert tried == [torch.bfloat16, torch.float32] and model.vae.dtype == torch.bfloat16
    assert np.abs(np.asarray(got, dtype=int) - np.asarray(want, dtype=int)).mean() < 4


@torch.inference_mode()
@pytest.mark.parametrize("source", [None, ImageToImage(REF, 0.6), Inpaint(REF, REF, 0.6)])
def test_half_precision_is_about_the_same_picture(source):
    """What is computed in half precision beside what is not: rows, noise, masks and planes stay float32 outside the model."""
    request = replace(BASE, source=source)
    half = copy.deepcopy([loaded().denoiser, loaded().vae, loaded().text_encoder])
    unet, vae, text_encoder = (part.bfloat16() for part in half)
    model = replace(loaded(), denoiser=unet, vae=vae, texts=(TextPart(text_encoder, loaded().tokenizer),), place=replace(CPU, dtype=torch.bfloat16))
    inputs = Inputs() if source is None else INPUTS
    ours, exact = latents_of(run_of(model, request, inputs)), latents_of(run_of(loaded(), request, inputs))
    assert ours.dtype == torch.float32 and (ours - exact).abs().mean() < 0.1 * exact.std()


def test_steps_are_values_and_say_where_they_stand():
    again, predict = sampled("Euler", steps=4)
    with torch.inference_mode():
        steps, _ = run_to_the_end(answered(again(), predict))
    assert all(isinstance(step, Step) for step in steps)
    assert [(step.index, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
