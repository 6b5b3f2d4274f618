"""Guidance is what the papers write, and what diffusers' guiders compute; and a run in which it has a part is the run that says so."""

from dataclasses import replace

import pytest
import torch
from diffusers.guiders import ClassifierFreeGuidance, ClassifierFreeZeroStarGuidance
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from sd_ui.engine import guidance, interval
from sd_ui.engine.denoise import Prediction, Start, fast_forward, numbered
from sd_ui.engine.guidance import guide, projected, pushed, rescaled, zero_star
from sd_ui.engine.noise import begun
from sd_ui.spec.request import GUIDANCES, GenerationRequest, Guidance, Sampling
from tests.engine.tiny import SEED, SIZE, latents_of, loaded, run_of

BASE = GenerationRequest("a red cat", "a dog", sampling=Sampling("Euler", steps=6, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)


def pair(seed=0):
    return torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def asked(**said) -> GenerationRequest:
    sampling = {name: said.pop(name) for name in ("sampler", "steps", "cfg_scale") if name in said}
    return replace(BASE, sampling=replace(BASE.sampling, **sampling, guidance=Guidance(**said)))


def same(one, other, atol=1e-5):
    return torch.allclose(one, other, atol=atol)


# ---------------------------------------------------------------- the formulas
@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
def test_rescale_is_the_papers_and_diffusers(part):
    """Lin et al. 2023, equations 13 to 15."""
    uncond, cond = pair()
    guided = guidance.guided(uncond, cond, 7.0).guided
    paper = part * guided * (cond.std() / guided.std()) + (1 - part) * guided
    theirs = ClassifierFreeGuidance(guidance_scale=7.0, guidance_rescale=part).forward(cond, uncond).pred
    assert same(rescaled(guided, cond, part), paper) and same(rescaled(guided, cond, part), theirs)
    assert same(rescaled(guided, cond, 1.0).std(), cond.std())


def test_cfg_zero_star_is_the_papers_and_diffusers():
    uncond, cond = pair()
    s = (cond.flatten() @ uncond.flatten()) / uncond.flatten().norm() ** 2
    guider = ClassifierFreeZeroStarGuidance(guidance_scale=7.0, zero_init_steps=0)
    guider.set_state(step=1, num_inference_steps=10, timestep=torch.tensor(900))
    theirs = guider.forward(cond, uncond).pred
    assert same(zero_star(uncond, cond, 7.0), s * uncond + 7.0 * (cond - s * uncond))
    assert same(zero_star(uncond, cond, 7.0), theirs)


@pytest.mark.parametrize(("momentum", "threshold", "parallel"), [(-0.5, 7.5, 0.0), (0.0, 0.0, 1.0), (-0.75, 2.5, 0.3), (0.5, 100.0, 0.0)])
def test_apg_is_the_papers_and_diffusers(momentum, threshold, parallel):
    """Sadat et al. 2024, algorithm 1, with its memory over three steps. diffusers counts the scale from the conditional prediction."""
    memory = MomentumBuffer(momentum)
    ours, average = guide(Guidance("APG", threshold=threshold, momentum=momentum, parallel=parallel), 7.0), 0.0
    for seed in range(3):
        uncond, cond = pair(seed)
        average = cond - uncond + momentum * average
        push = average * min(1.0, threshold / float(average.norm())) if threshold else average
        unit = cond / cond.norm()
        along = (push * unit).sum() * unit
        paper = cond + 6.0 * (push - along + parallel * along)
        theirs = normalized_guidance(cond, uncond, 6.0, memory, parallel, threshold, use_original_formulation=True)
        got = ours(Prediction(cond, cond, uncond), lambda said: said)
        assert same(got, paper, 1e-4) and same(got, theirs, 1e-4)


def test_apg_without_its_three_settings_is_cfg():
    uncond, cond = pair()
    assert same(projected(cond, pushed(uncond, cond, None, 0.0), 7.0, 0.0, 1.0), guidance.guided(uncond, cond, 7.0).guided, 1e-4)


@pytest.mark.parametrize("method", GUIDANCES)
def test_at_scale_1_every_way_is_the_prompt_alone(method):
    uncond, cond = pair()
    got = guide(Guidance(method, threshold=0.0), 1.0)(Prediction(cond, cond, uncond), lambda said: said)
    assert same(got, cond)
    assert guide(Guidance(method, 0.5), 7.0)(Prediction(cond, cond), lambda said: said) is cond


def test_apg_works_on_clean_latents():
    uncond, cond = pair()
    got = guide(Guidance("APG"), 7.0)(Prediction(cond, cond, uncond), lambda said: 1 - said)
    assert same(got, projected(1 - cond, uncond - cond, 7.0, 7.5, 0.0))


# ---------------------------------------------------------------- in a run
def test_plain_guidance_is_the_run_as_it_was_before_there_was_a_choice():
    run = run_of(loaded(), BASE)
    assert torch.equal(latents_of(run), latents_of(run_of(loaded(), asked(start=0.0, stop=1.0))))


@pytest.mark.parametrize("said", [{"method": "APG"}, {"method": "CFG-Zero*"}, {"rescale": 0.7}, {"start": 0.4}, {"stop": 0.5}])
def test_each_setting_changes_the_picture_and_stays_a_number(said):
    usual, changed = latents_of(run_of(loaded(), BASE)), latents_of(run_of(loaded(), asked(**said)))
    assert changed.isfinite().all() and not same(usual, changed, 1e-3)


@pytest.mark.parametrize("said", [{"method": "APG"}, {"method": "CFG-Zero*"}, {"rescale": 0.7}, {"start": 0.4}])
def test_without_guidance_none_of_them_changes_anything(said):
    usual, changed = latents_of(run_of(loaded(), asked(cfg_scale=1.0))), latents_of(run_of(loaded(), asked(cfg_scale=1.0, **said)))
    assert torch.equal(usual, changed)


def rows_asked(request):
    model, seen = loaded(), []
    hook = model.denoiser.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        latents_of(run_of(model, request))
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize(("sampler", "said", "rows"), [
    ("Euler", {"start": 0.2}, [1, 1, 1, 2, 2, 2, 2, 2, 2, 2]), ("Euler", {"stop": 0.3}, [2, 2, 2] + [1] * 7),
    ("Euler", {"start": 0.2, "stop": 0.5}, [1, 1, 1, 2, 2, 1, 1, 1, 1, 1]), ("Heun", {"start": 0.1}, [1] * 3 + [2] * 16),
])  # fmt: skip
def test_outside_its_part_of_the_run_guidance_costs_nothing(sampler, said, rows):
    assert rows_asked(asked(sampler=sampler, steps=10, **said)) == rows


@pytest.mark.parametrize("scale", [1.0, 7.0, 12.5])
def test_cfgpp_is_told_both_predictions_at_any_scale(scale):
    assert rows_asked(asked(sampler="DDIM CFG++", steps=4, cfg_scale=scale)) == [2] * 4
    assert guidance.scale(Sampling("DDIM CFG++", cfg_scale=12.5)) == pytest.approx(1)


@torch.inference_mode()
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "UniPC"])
@pytest.mark.parametrize("method", GUIDANCES)
def test_a_tape_holds_what_guidance_remembers(method, sampler):
    run = run_of(loaded(), asked(method=method, rescale=0.3, sampler=sampler))
    plan, predict = run.plan(), run.predict()

    def fresh():
        noise, source = begun(4, SIZE, SIZE, SEED, BASE.noise)
        return numbered(plan.sample(Start(plan.from_noise(noise)), source))

    tape, want = recorded(fresh(), predict)
    for k in (1, len(tape) // 2, len(tape) - 1):
        again = fresh()
        ask = fast_forward(again, tape[:k])
        _, got = recorded(again, predict, ask)
        assert torch.equal(got, want)


def recorded(sampling, predict, ask=None):
    tape = []
    said = ask or next(sampling)
    try:
        while True:
            if hasattr(said, "call"):
                tape.append(predict(said.call)(said.latents, said.timestep))
                said = sampling.send(tape[-1])
            else:
                said = next(sampling)
    except StopIteration as end:
        return tape, end.value


def test_the_whole_run_is_no_part():
    assert interval.whole(Guidance()) and not interval.whole(Guidance(start=0.1)) and not interval.whole(Guidance(stop=0.9))
