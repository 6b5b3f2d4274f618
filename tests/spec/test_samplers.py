"""The names of samplers: ours, and the older spellings of other programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec.samplers import AUTOMATIC, EVERY, MODELS_OWN, SAMPLERS, SCHEDULES, SHORT, resolved, schedule_of, split


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_name_is_read_back_alone_and_with_every_schedule(sampler):
    assert split(sampler) == split(f"  {sampler.upper()} ") == (sampler, None)
    for schedule in SCHEDULES:
        assert split(f"{sampler} {schedule}") == split(f"{sampler}  {schedule}".lower()) == (sampler, schedule)


@given(st.text())
def test_what_is_no_sampler_comes_back_as_it_is(name):
    sampler, schedule = split(name)
    assert (sampler in SAMPLERS and (schedule is None or schedule in SCHEDULES)) or (sampler, schedule) == (name, None)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_automatic_stands_for_a_schedule_that_the_sampler_goes_with(sampler):
    facts = SAMPLERS[sampler]
    assert set(facts.schedules) <= set(EVERY)
    assert resolved(sampler, AUTOMATIC) == facts.automatic and facts.automatic in (facts.schedules or [AUTOMATIC])
    assert bool(facts.schedules) == (sampler != MODELS_OWN)  # which brings a schedule of its own, too
    assert all(resolved(sampler, schedule) == schedule for schedule in facts.schedules)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_names_tell_who_adds_fresh_noise(sampler):
    others = ("LCM", "TCD", "Restart", "DPM fast", "DPM adaptive", "DPM++ 2M SDE Heun")
    assert SAMPLERS[sampler].fresh_noise == (sampler.endswith((" a", "SDE")) or sampler in others)


@pytest.mark.parametrize(("name", "expected"), [
    ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "Exponential")), ("dpm++ 3m sde karras", ("DPM++ 3M SDE", "Karras")),
    ("k_euler_a", ("Euler a", None)), ("k_lms_ka", ("LMS", "Karras")), ("k_dpmpp_2m", ("DPM++ 2M", None)), ("PLMS", ("PLMS", None)),
])  # fmt: skip
def test_the_names_of_other_programs_are_read(name, expected):
    assert split(name) == expected


def test_schedules_go_by_their_short_names_too():
    assert [schedule_of(name) for name in ("sgm_uniform", "SGMUniform", "align_your_steps", "KARRAS", "automatic", "what")] == [
        "SGM Uniform", "SGM Uniform", "Align Your Steps", "Karras", AUTOMATIC, None,
    ]  # fmt: skip


def test_every_name_has_a_method_and_every_schedule_a_formula():
    from sd_ui.engine.samplers import sigmas, table

    assert set(table.ROWS) == set(SAMPLERS) - {MODELS_OWN} and set(SHORT.values()) <= set(SAMPLERS)
    assert set(sigmas.SCHEDULES) == set(EVERY)
