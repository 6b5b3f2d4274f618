"""Seeds, noise and guidance at the door: what belongs together, what means nothing, and the way back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec import extras
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.codec import dump, load
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import fitted
from sd_ui.spec.request import EMBEDDED, GUIDANCES, NOISES, PAG_LAYERS, GenerationRequest, Guidance, Noise, Sampling

CARDS = {EMBEDDED: ModelCard(EMBEDDED, "checkpoint", "sd1", None, "folder", 0, ("txt2img",))}


def accepted(**values):
    return fitted("txt2img", values, CARDS)


def test_nothing_said_is_a_request_as_it_was_before_there_was_more_to_say():
    request = accepted(seed=3).request
    assert request.noise == Noise() and request.sampling.guidance == Guidance()
    old = dump(request)
    del old["noise"], old["sampling"]["guidance"]
    assert load(GenerationRequest, old) == request


def test_a_variation_seed_is_drawn_where_none_is_given_and_kept():
    noise = accepted(variation_strength=0.1).request.noise
    assert 0 <= noise.variation_seed < 2**32 and noise.variation_strength == 0.1
    assert accepted(variation_strength="0.1", variation_seed="12345678901234567890").request.noise.variation_seed == 12345678901234567890


@pytest.mark.parametrize(("values", "word"), [
    ({"variation_seed": 5}, "Variation seed"), ({"apg_threshold": 3}, "APG threshold"),
    ({"apg_parallel": 0.5, "guidance": "CFG-Zero*"}, "APG parallel"), ({"pag_adaptive_scale": 0.1}, "PAG adaptive scale"),
    ({"pag_layers": "up"}, "PAG layers"),
])  # fmt: skip
def test_what_means_nothing_is_said_and_changes_no_request(values, word):
    told = accepted(seed=1, **values)
    assert [note for note in told.notes if word in note and "was not used" in note]
    assert told.request == accepted(seed=1, guidance=values.get("guidance", "CFG")).request


@pytest.mark.parametrize(("values", "field"), [
    ({"seed_resize_width": 512}, "seed_resize_width"), ({"seed_resize_height": 512}, "seed_resize_height"), ({"guidance_start": 1}, "guidance_start"),
    ({"guidance_start": 0.5, "guidance_stop": 0.5}, "guidance_stop"), ({"guidance": "PAGG"}, "guidance"), ({"noise_source": "GPU"}, "noise_source"),
    ({"variation_strength": 1.1}, "variation_strength"), ({"cfg_rescale": -0.1}, "cfg_rescale"), ({"eta_seed_delta": -1}, "eta_seed_delta"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_its_name(values, field):
    with pytest.raises(BadRequest) as refused:
        accepted(**values)
    assert refused.value.field == field


def test_variations_share_the_seed_and_each_has_a_variation_seed_of_its_own():
    varied = GenerationRequest(seed=7, count=3, noise=Noise(variation_seed=2**64 - 1, variation_strength=0.2))
    assert [varied.seed_of(i) for i in range(3)] == [7, 7, 7]
    assert [varied.noise_of(i).variation_seed for i in range(3)] == [2**64 - 1, 0, 1]
    plain = GenerationRequest(seed=7, noise=Noise(variation_seed=5))
    assert plain.seed_of(2) == 9 and plain.noise_of(2) == plain.noise


NOISE = st.builds(
    Noise, st.sampled_from(NOISES), st.integers(0, 2**64 - 1), st.floats(0.01, 1), st.integers(1, 64).map(lambda n: n * 8),
    st.integers(1, 64).map(lambda n: n * 8), st.integers(0, 2**32 - 1),
)  # fmt: skip
GUIDED = st.builds(
    Guidance, st.sampled_from(GUIDANCES), st.floats(0, 1), st.floats(0, 0.4), st.floats(0.5, 1), st.just(4.0), st.just(0.5), st.just(0.25),
    st.sampled_from([0.0, 3.0]), st.just(0.01), st.sampled_from(PAG_LAYERS),
)  # fmt: skip


@given(NOISE, GUIDED, st.integers(0, 3))
def test_what_is_written_is_read_as_that_picture_alone(noise, guidance, index):
    request = GenerationRequest(seed=1, count=4, sampling=Sampling(guidance=guidance), noise=noise)
    back = accepted(**extras.written(request, index)).request
    assert back.noise == request.noise_of(index)
    without_apg = {"threshold": Guidance.threshold, "momentum": Guidance.momentum, "parallel": Guidance.parallel}
    without_pag = {"pag_adaptive": Guidance.pag_adaptive, "pag_layers": Guidance.pag_layers}
    kept = guidance if guidance.method == "APG" else replace(guidance, **without_apg)
    assert back.sampling.guidance == (kept if guidance.pag else replace(kept, **without_pag))


def test_a_family_without_a_u_net_is_not_perturbed_and_says_so():
    cards = {EMBEDDED: replace(CARDS[EMBEDDED], family="sd3")}
    told = fitted("txt2img", {"pag_scale": 3, "sampler": "Euler"}, cards)
    assert told.request.sampling.guidance.pag == 0 and any("PAG scale means nothing for embedded" in note for note in told.notes)
