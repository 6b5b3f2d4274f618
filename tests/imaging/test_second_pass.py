"""Hires fix in A1111's words, there and back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.imaging import infotext
from sd_ui.spec.limits import fitted
from sd_ui.spec.made import Made, Record
from sd_ui.spec.request import EMBEDDED, UPSCALERS, GenerationRequest, Hires, ModelChoice, Sampling
from tests.ui.cards import EMBEDDED_CARD

FIRST = Sampling("Euler a", "Karras", 12, 5.0)
REQUEST = GenerationRequest("a cat", model=ModelChoice(EMBEDDED), sampling=FIRST, width=128, height=96, seed=5)
ASKED = st.builds(
    Hires,
    st.integers(16, 40).map(lambda n: n * 8),
    st.integers(12, 40).map(lambda n: n * 8),
    st.sampled_from(UPSCALERS),
    st.floats(0, 1),
    st.builds(lambda steps: replace(FIRST, steps=steps), st.integers(1, 150)),
    st.sampled_from(["", "a dog, running", "x: y"]),
    st.sampled_from(["", "rain"]),
)


def text_of(asked: Hires | None) -> str:
    return infotext.write(Record(replace(REQUEST, hires=asked), Made(), seed=5), EMBEDDED)


@given(ASKED)
def test_what_we_write_we_read(asked: Hires) -> None:
    reading = infotext.values(text_of(asked))
    assert reading.mode == "txt2img" and not reading.notes
    assert fitted("txt2img", reading.values, {EMBEDDED: EMBEDDED_CARD}).request.hires == asked


def test_a_factor_is_written_as_a_factor():
    assert "Denoising strength: 0.7, RNG: CPU, Hires upscale: 2, Hires upscaler: Latent, Version" in text_of(Hires(256, 192, sampling=FIRST))
    assert "Hires resize: 256x256, Hires steps: 5, Hires upscaler: Lanczos" in text_of(Hires(256, 256, "Lanczos", 0.5, replace(FIRST, steps=5)))


@pytest.mark.parametrize(("width", "factor"), [(800, 1.14), (800, 1.15), (64, 30.0), (1000, 1.16), (520, 1.1)])
def test_a_factor_stands_only_where_it_gives_the_size_again(width: int, factor: float) -> None:
    request = replace(REQUEST, width=width, height=width)
    size = int(width * factor) // 8 * 8 if factor != 1.14 else 912
    asked = Hires(size, size, sampling=FIRST)
    text = infotext.write(Record(replace(request, hires=asked), Made(), seed=5), EMBEDDED)
    assert fitted("txt2img", infotext.values(text).values, {EMBEDDED: EMBEDDED_CARD}).request.hires == asked


def test_the_same_sampler_with_another_schedule_comes_back():
    asked = Hires(256, 192, sampling=replace(FIRST, schedule="Automatic"))
    assert fitted("txt2img", infotext.values(text_of(asked)).values, {EMBEDDED: EMBEDDED_CARD}).request.hires == asked


def test_another_sampler_comes_back_with_its_usual_schedule():
    asked = Hires(256, 192, sampling=replace(FIRST, sampler="DPM++ 2M", schedule="Automatic"))
    assert fitted("txt2img", infotext.values(text_of(asked)).values, {EMBEDDED: EMBEDDED_CARD}).request.hires == asked


def test_a_text_without_a_second_pass_turns_it_off():
    assert infotext.values(text_of(None)).values["hires_upscaler"] == "None"


@pytest.mark.parametrize(("said", "upscaler", "noted"), [
    ("Hires upscale: 2", "Latent", False),
    ("Hires upscale: 2, Hires upscaler: latent (nearest)", "Latent (nearest)", False),
    ("Hires upscale: 2, Hires upscaler: 4x-UltraSharp", "Lanczos", True),
])  # fmt: skip
def test_an_upscaler_that_is_not_here_is_said(said: str, upscaler: str, noted: bool) -> None:
    reading = infotext.values(f"a\nSteps: 4, Sampler: Euler, Seed: 1, RNG: CPU, Denoising strength: 0.5, {said}")
    assert (reading.values["hires_upscaler"], reading.values["hires_strength"]) == (upscaler, 0.5) and "strength" not in reading.values
    assert any("4x-UltraSharp" in note for note in reading.notes) == noted
