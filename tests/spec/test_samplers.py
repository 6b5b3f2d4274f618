"""The names of samplers: ours, and the older spellings of other programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS, SCHEDULES, SIGMA_SCHEDULES, resolved, split


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
    assert set(facts.schedules) <= set(SIGMA_SCHEDULES)
    assert resolved(sampler, AUTOMATIC) == facts.automatic and facts.automatic in facts.schedules
    assert all(resolved(sampler, schedule) == schedule for schedule in facts.schedules)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_names_tell_who_adds_fresh_noise(sampler):
    assert SAMPLERS[sampler].fresh_noise == (sampler.endswith((" a", "SDE")) or sampler == "LCM")
