"""Out of memory never loses a job: what was done is not done again, and the picture is the undisturbed one, bit for bit."""

import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sd_ui.engine import load, memory
from sd_ui.engine.device import choose
from sd_ui.engine.driver import Driver
from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.samplers.plan import SigmaPlan
from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs.reasons import reason_of
from sd_ui.models.index import ModelIndex
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Eased, Stepped
from sd_ui.spec.request import GenerationRequest, ImageToImage, ModelChoice, Sampling
from tests.checkpoints import tiny_folder
from tests.engine.tiny import PICTURE, SEED, SILENT, SIZE

EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
STEPS = 4
BASE = GenerationRequest("a red cat", "dog", ModelChoice("a"), Sampling("Euler", steps=STEPS, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)
SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "DPM++ 3M SDE", "DPM++ SDE", "UniPC", "Heun", "Restart")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ModelIndex:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        tiny_folder(folder / name, seed=seed)
    return ModelIndex([folder], EMBEDDED, folder / "none")


@pytest.fixture
def engine(models, tmp_path, monkeypatch) -> Engine:
    """As on a card: its memory is not the one where weights can wait."""
    monkeypatch.setattr(memory, "is_apart", lambda device: True)
    monkeypatch.setattr(memory, "tidy", lambda device: None)  # a second each time in a process that has loaded as much as this one
    return plain_engine(models, tmp_path)


def plain_engine(models, folder) -> Engine:
    return Engine(PipelineManager(models.cards, choose("cpu"), 10**9), Blobs(folder / "inputs"))


class Short:
    """A part that finds no memory at some of its calls, counted from 1."""

    def __init__(self, module, *at: int) -> None:
        self.calls, self._at = 0, at
        self._hook = module.register_forward_pre_hook(self)

    def __call__(self, module, args) -> None:
        self.calls += 1
        if self.calls in self._at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    def remove(self) -> None:
        self._hook.remove()


def drawn_by(engine: Engine, request: GenerationRequest, part: str = "denoiser", *at: int, delivery: Delivery = SILENT):
    """-> the events, and the calls of the part."""
    with engine.manager.lease(request.model) as loaded:
        short = Short(
            {"decoder": loaded.vae.decoder, "encoder": loaded.vae.encoder, "text": loaded.text_encoder, "denoiser": loaded.denoiser}[part], *at
        )
    try:
        return list(engine.generate(request, delivery)), short.calls
    finally:
        short.remove()


def picture(events) -> bytes:
    (drawn,) = [event for event in events if isinstance(event, Drawn)]
    return drawn.rgb


def told(events) -> list[str]:
    return [event.text for event in events if isinstance(event, Eased)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_job_goes_on_from_its_last_step(engine, sampler):
    request = replace(BASE, sampling=replace(BASE.sampling, sampler=sampler))
    whole, calls = drawn_by(engine, request)
    for at in (calls // 2, calls):
        events, counted = drawn_by(engine, request, "denoiser", at)
        assert picture(events) == picture(whole) and counted == calls + 1  # the one that failed
        assert [e.index for e in events if isinstance(e, Stepped)] == [e.index for e in whole if isinstance(e, Stepped)]
        assert len(told(events)) == 1


def test_it_says_where_and_how_and_so_does_the_picture(engine):
    events, _ = drawn_by(engine, BASE, "denoiser", 3)
    (text,) = told(events)
    assert text == "Out of memory at step 3: continued with text encoders, denoiser and VAE in graphics memory one after the other."
    (drawn,) = [event for event in events if isinstance(event, Drawn)]
    assert text in drawn.notes and drawn.made.memory == "components" and drawn.made.economies == ()
    at = events.index(Eased(text))
    assert isinstance(events[at - 1], Stepped) and events[at - 1].index == 2 and events[at + 1].index == 3
    assert "because memory ran out before" in engine.manager.facts()["how it runs"]


@pytest.mark.parametrize(("part", "words"), [("text", "while the prompt was read"), ("decoder", "while the picture was decoded")])
def test_reading_and_decoding_are_tried_again(engine, part, words):
    whole, calls = drawn_by(engine, BASE, part)
    again, counted = drawn_by(Engine(engine.manager, engine.blobs), BASE, part, 1)  # one that does not remember what it has read
    assert picture(again) == picture(whole) and counted == calls + 1 and words in told(again)[0]


def test_encoding_a_picture_is_tried_again(engine):
    request = replace(BASE, source=ImageToImage(engine.blobs.put(PICTURE), 0.6))
    whole, calls = drawn_by(engine, request, "encoder")
    again, counted = drawn_by(engine, request, "encoder", 1)
    assert picture(again) == picture(whole) and counted == calls + 1 and "while the picture was encoded" in told(again)[0]


def test_each_time_it_goes_on_more_gently_until_a_layer_is_all_that_is_there(engine):
    whole, calls = drawn_by(engine, BASE)
    events, counted = drawn_by(engine, BASE, "denoiser", 2, 3, 5)
    assert counted == calls + 3 and picture(events) == picture(whole)
    assert [text.partition(":")[0] for text in told(events)] == [f"Out of memory at step {step}" for step in (2, 2, 3)]
    (drawn,) = [event for event in events if isinstance(event, Drawn)]
    assert drawn.made.memory == "sequential" and drawn.made.economies == ("VAE in tiles",)


def test_when_nothing_is_gentler_the_job_fails_with_what_would_help_and_gives_its_model_back(engine):
    with pytest.raises(torch.OutOfMemoryError) as error:
        drawn_by(engine, BASE, "denoiser", *range(1, 100))
    assert reason_of(error.value, BASE).startswith("There is not enough memory for 64x64. Try a smaller picture")
    assert picture(list(engine.generate(BASE, SILENT)))


def test_what_was_learned_holds_for_this_size_and_larger_ones_only(engine):
    drawn_by(engine, BASE, "denoiser", 1)
    policies = {}
    for side in (SIZE // 2, SIZE, SIZE * 2):
        (drawn,) = [e for e in engine.generate(replace(BASE, width=side, height=side), SILENT) if isinstance(e, Drawn)]
        policies[side] = drawn.made.memory
    assert policies == {SIZE // 2: "", SIZE: "components", SIZE * 2: "components"}


def test_first_the_models_that_nobody_uses_make_room(models, tmp_path):
    engine = plain_engine(models, tmp_path)
    whole, calls = drawn_by(engine, BASE)
    with engine.manager.lease(ModelChoice("b")):
        pass
    events, counted = drawn_by(engine, BASE, "denoiser", 4)
    assert picture(events) == picture(whole) and counted == calls + 1
    assert told(events) == ["Out of memory at step 4: continued with what no job uses out of memory."] and engine.manager.resident == ("a",)


def test_where_weights_cannot_wait_elsewhere_attention_is_sliced_and_the_record_says_so(models, tmp_path):
    engine = plain_engine(models, tmp_path)
    whole, _ = drawn_by(engine, BASE)
    events, _ = drawn_by(engine, BASE, "denoiser", 2)
    (drawn,) = [event for event in events if isinstance(event, Drawn)]
    assert drawn.made.memory == "" and "attention in slices" in drawn.made.economies
    assert max(abs(a - b) for a, b in zip(drawn.rgb, picture(whole), strict=True)) <= 2


def test_other_jobs_lose_nothing(engine):
    requests = {
        "a": BASE,
        "b": replace(BASE, seed=99, sampling=Sampling("DPM++ 2M", steps=6, cfg_scale=2.0)),
        "c": replace(BASE, model=ModelChoice("b")),
    }
    alone = {job: picture(engine.generate(request, SILENT)) for job, request in requests.items()}
    driver, together = Driver(), {}
    for job, request in requests.items():
        driver.add(job, engine.course(request, SILENT))
    with engine.manager.lease(BASE.model) as loaded:
        short = Short(loaded.denoiser, 4, 7)
    while driver.jobs:
        together |= {job: said.rgb for job, said in driver.turn() if isinstance(said, Drawn)}
    short.remove()
    assert together == alone


def test_what_was_computed_half_way_is_freed_before_it_is_tried_again(engine):
    left = []

    def fail(module, args):
        activation = torch.zeros(1000)
        if not left:
            left.append(weakref.ref(activation))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert left[0]() is None

    with engine.manager.lease(BASE.model) as loaded:
        hook = loaded.denoiser.register_forward_pre_hook(fail)
    events = list(engine.generate(BASE, SILENT))
    hook.remove()
    assert len(told(events)) == 1 and picture(events)


def test_a_sampler_that_finds_no_memory_itself_is_begun_anew_and_comes_to_the_same_place(engine, monkeypatch):
    request = replace(BASE, sampling=replace(BASE.sampling, sampler="DPM++ 2M SDE"))
    whole, calls = drawn_by(engine, request)
    real, done = SigmaPlan.advanced, []

    def short(self, run, said):
        done.append(1)
        if len(done) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, run, said)

    monkeypatch.setattr(SigmaPlan, "advanced", short)
    events, counted = drawn_by(engine, request)
    assert picture(events) == picture(whole) and counted == calls + 1 and "at step 3" in told(events)[0]


def test_a_model_for_which_the_card_is_too_small_is_read_into_main_memory(engine, monkeypatch):
    whole = picture(engine.generate(BASE, SILENT))
    real, tries = load.load, []

    def short(card, vae, place, hashes=None, *more):
        tries.append(card.name)
        if card.name == "b" and len(tries) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(card, vae, place, hashes, *more)

    monkeypatch.setattr(load, "load", short)
    assert picture(engine.generate(replace(BASE, model=ModelChoice("b")), SILENT)) and tries == ["b"] * 3
    assert picture(engine.generate(BASE, SILENT)) == whole
