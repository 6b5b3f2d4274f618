"""Predictions from measured jobs: near where something was measured, humble where nothing was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_ui.forecast.costs import cost
from sd_ui.forecast.forecast import KIN, NOTHING, OTHER, OWN, Model, Seer, of_machine
from sd_ui.forecast.work import work_of
from sd_ui.spec.request import Guidance, Refiner, Sampling
from tests.forecast.machine import CARDS, Machine, asked, whole, without

MACHINE = Machine()


def model(name):
    return Model(name, *CARDS.get(name, ("", 0)))


def foretold(measurements, request, resident=True):
    return Seer(measurements, model).forecast(work_of(request), resident)


def off(machine, measurements, request):
    """By which part a prediction is wrong."""
    return abs(foretold(measurements, request).seconds / whole(machine, request) - 1)


def test_without_a_measurement_nothing_is_claimed():
    said = foretold([], asked())
    assert (said.basis, said.runs, said.seconds, said.working) == (NOTHING, 0, 0, 0)


@pytest.mark.parametrize("name", ["small", "one", "large"])
@pytest.mark.parametrize(
    "request_",
    [{"size": 512}, {"size": 384, "steps": 8}, {"size": 768, "steps": 30}, {"cfg": 1.0}, {"count": 4}, {"sampler": "Heun", "steps": 12}],
    ids=str,
)
def test_after_three_runs_it_is_wrong_by_less_than_a_third(name, request_):
    """Runs of other sizes and steps than the one that is asked for, on a machine that is never twice as fast; the first had to load."""
    machine = Machine(noise=0.12)
    runs = [(512, 20), (640, 10), (512, 15)]
    seen = [machine.ran(asked(name, size, steps), seed, cold=seed == 0, odd=1.2 if seed == 0 else 1) for seed, (size, steps) in enumerate(runs)]
    assert off(machine, seen, asked(name, **request_)) < 0.3


def test_with_many_runs_at_many_sizes_it_is_close_far_outside_them():
    machine = Machine(noise=0.08)
    seen = [machine.ran(asked("one", size, steps), size * steps) for size in (256, 384, 512, 640) for steps in (4, 10, 20)]
    assert off(machine, seen, asked("one", 1024)) < 0.15 and off(machine, seen, asked("one", 128)) < 0.25


def test_one_job_that_something_else_slowed_down_moves_nothing():
    seen = [MACHINE.ran(asked(steps=steps), steps) for steps in (10, 15, 20, 25)]
    spoilt = [*seen, MACHINE.ran(asked(steps=12), odd=9.0)]
    assert off(MACHINE, spoilt, asked()) < 0.1


def test_a_model_of_the_same_kind_is_as_good_as_the_same():
    said = foretold([MACHINE.ran(asked("one"), seed) for seed in range(3)], asked("two"))
    assert said.basis == KIN and said.source == "one" and said.seconds == pytest.approx(whole(MACHINE, asked("two")), rel=0.1)


def test_another_familys_time_is_scaled_by_arithmetic_and_called_rough():
    """The large model in the box's place: within a factor of two is what arithmetic can promise."""
    seen = [MACHINE.ran(asked("one", size), size) for size in (384, 512, 640)]
    said = foretold(seen, asked("large", 1024))
    assert said.basis == OTHER and 0.5 < said.seconds / whole(MACHINE, asked("large", 1024)) < 2 and said.working == 0


def test_the_models_own_measurements_count_before_all_others():
    seen = [MACHINE.ran(asked("two"), odd=7.0)] * 10 + [MACHINE.ran(asked("one"))]
    assert foretold(seen, asked("one")).basis == OWN and off(MACHINE, seen, asked("one")) < 0.3


def test_loading_counts_only_where_the_model_is_not_in_memory():
    seen = [MACHINE.ran(asked(), cold=True), MACHINE.ran(asked())]
    here, elsewhere = (foretold(seen, asked(), resident) for resident in (True, False))
    assert here.loading == 0 and elsewhere.loading == pytest.approx(4e-9 * CARDS["one"][1]) and elsewhere.drawing == here.drawing


def test_samplers_whose_calls_no_count_tells_are_known_by_what_they_asked():
    adaptive = without(MACHINE.ran(asked(sampler="DPM adaptive", steps=10), odd=6), calls=60)
    once, thrice = (foretold([MACHINE.ran(asked()), *more], asked(sampler="DPM adaptive", steps=10)).drawing for more in ([], [adaptive]))
    assert thrice > 3 * once


def test_a_refiner_is_paid_for_by_its_own_speed():
    seen = [MACHINE.ran(asked("one")), MACHINE.ran(asked("large"))]
    plain, refined = foretold(seen, asked("one")).seconds, foretold(seen, asked("one", refiner=Refiner("large", 0.5))).seconds
    dear = foretold(seen, asked("large")).seconds
    assert plain < refined < dear and refined == pytest.approx((plain + dear) / 2, rel=0.1)


def test_memory_grows_with_the_picture_and_the_most_that_was_seen_counts():
    seen = [MACHINE.ran(asked(size=size)) for size in (256, 512, 768)]
    hidden = without(seen[1], working=1_000)  # the process had kept memory from before
    for size in (256, 512, 1024):
        cells = size * size // 64
        assert foretold([*seen, hidden], asked(size=size)).working == pytest.approx(30_000_000 + 250_000 * cells, rel=0.15)


def test_a_size_that_was_drawn_in_little_memory_is_expected_to_be_as_slow_again():
    quick = [MACHINE.ran(asked(size=size)) for size in (256, 512)]
    slow = [without(MACHINE.ran(asked(size=size), odd=5.0), policy="groups, VAE in tiles") for size in (1024, 1280)]
    large, small = (foretold([*quick, *slow], asked(size=size)).seconds for size in (1152, 384))
    assert large == pytest.approx(5 * whole(MACHINE, asked(size=1152)), rel=0.2)
    assert small == pytest.approx(whole(MACHINE, asked(size=384)), rel=0.2)


def test_only_jobs_of_this_device_and_number_type_count():
    slow, fast = Machine(speed=1e10).ran(asked()), without(Machine(speed=1e13).ran(asked()), device="H200", dtype="float16")
    assert of_machine([slow, fast], "CPU", "float32") == [slow] and of_machine([slow, fast], "H200", "float16") == [fast]
    assert of_machine([fast, slow]) == [slow] and of_machine([]) == [] and of_machine([slow], "M4", "float32") == []


def test_the_arithmetic_is_that_of_the_published_models():
    """0.80e12 operations for a row of Stable Diffusion 1.5 at 512x512, 5.98e12 of SDXL at 1024x1024."""
    for family, numbers, cells, operations in (("sd1", 1_070_000_000, 4096, 0.80e12), ("sdxl", 3_470_000_000, 16384, 5.98e12)):
        found = cost(family, numbers)
        assert found.linear * cells + found.quadratic * cells**2 == pytest.approx(operations, rel=0.05)


# ---------------------------------------------------------------- how much a request is
def test_the_work_of_a_request_is_counted():
    plain = work_of(asked(size=512, steps=20))
    assert (plain.cells, plain.calls, plain.rows, plain.previews) == (4096, 20, 2, 20)
    assert work_of(asked(cfg=1)).rows == 1 and work_of(asked(sampler="Heun")).calls == 40
    assert work_of(asked(cfg=1, sampler="DDIM CFG++")).rows == 2


def test_guidance_of_a_part_of_the_run_and_further_texts_are_counted():
    half = Sampling(cfg_scale=7.0, guidance=Guidance(start=0.25, stop=0.75))
    request = asked()
    assert work_of(type(request)("a", sampling=half)).rows == 1.5
    assert work_of(type(request)("a AND b AND c", sampling=Sampling(cfg_scale=7.0))).rows == 4


@settings(max_examples=40)
@given(
    runs=st.lists(st.tuples(st.sampled_from(sorted(CARDS)), st.integers(8, 256), st.integers(1, 60), st.floats(0.01, 100)), max_size=8),
    size=st.integers(8, 512),
)
def test_no_past_makes_a_prediction_negative_or_endless(runs, size):
    seen = [MACHINE.ran(asked(name, side * 8, steps), odd=odd) for name, side, steps, odd in runs]
    for name in CARDS:
        said = foretold(seen, asked(name, size * 8), resident=False)
        assert 0 <= said.seconds < 1e9 and said.working >= 0
