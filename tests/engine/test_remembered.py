"""What is asked for again is not computed again, and is the same to the last bit."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import CLIPTextModel

from sd_ui.engine import remembered
from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.remembered import Remembered
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Stepped
from sd_ui.spec.made import Made, WornLora
from sd_ui.spec.request import GenerationRequest, ImageToImage, ModelChoice, Noise, Sampling
from tests.checkpoints import original_tensors, tiny_folder, tiny_parts, tiny_vae_file
from tests.engine.tiny import PICTURE, loaded
from tests.flow_files import save, text_tensors

EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
BASE = GenerationRequest("a red cat", model=ModelChoice("a"), sampling=Sampling("Euler a", steps=2, cfg_scale=4.0), width=64, height=64, seed=7)
ROOM = 10**6


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ModelIndex:
    place = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        tiny_folder(place / name, seed=seed)
    tiny_vae_file(place / "vae.safetensors", seed=9)
    return ModelIndex([place], EMBEDDED, place / "none")


@pytest.fixture
def engine(models, tmp_path) -> Engine:
    """With room for one model at a time."""
    manager = PipelineManager(models.cards, choose("cpu"), 1, models.hashes)
    return Engine(manager, Blobs(tmp_path / "inputs"), remembered.latents(ROOM))


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Of whole models, whichever they are."""
    counted: Counter[str] = Counter()
    names = {CLIPTextModel: "text", UNet2DConditionModel: "unet"}

    def count(module: torch.nn.Module, _: object) -> None:
        if name := names.get(type(module)):  # type: ignore[call-overload]
            counted[name] += 1

    hook = register_module_forward_pre_hook(count)
    try:
        yield counted
    finally:
        hook.remove()


def drawn(engine: Engine, request: GenerationRequest) -> tuple[bytes, Made]:
    (found,) = (event for event in engine.generate(request, Delivery(preview="off")) if isinstance(event, Drawn))
    return found.rgb, found.made


# ---------------------------------------------------------------- texts
def test_a_repeated_prompt_makes_no_call_of_the_text_encoder(engine):
    drawn(engine, BASE)
    with calls() as counted:
        drawn(engine, replace(BASE, seed=8))
    assert counted == {"unet": 2}


def test_nor_after_the_model_has_left_the_memory_and_come_back(engine):
    drawn(engine, BASE)
    drawn(engine, replace(BASE, model=ModelChoice("b")))
    assert engine.manager.resident == ("b",)
    with calls() as counted:
        drawn(engine, replace(BASE, seed=8))
    assert counted == {"unet": 2}


def test_another_prompt_clip_skip_or_model_is_read(engine):
    drawn(engine, BASE)
    others = replace(BASE, prompt="a dog"), replace(BASE, model=ModelChoice("a", clip_skip=2)), replace(BASE, model=ModelChoice("b"))
    for other in others:
        with calls() as counted:
            drawn(engine, other)
        assert counted["text"]


def test_text_encoders_in_a_lora_read_for_themselves():
    plain = replace(loaded(), model_hash="x")
    worn = [replace(plain, loras=(WornLora("l", 1.0, text, "hash"),)) for text in (0.0, 0.5, 1.0)]
    assert remembered.reader(worn[0]) == remembered.reader(plain)
    assert len({remembered.reader(one) for one in worn}) == 3


def test_without_a_hash_only_the_very_same_encoder_counts():
    plain = loaded()
    assert remembered.reader(plain) == remembered.reader(replace(plain)) != remembered.reader(loaded(seed=5))


# ---------------------------------------------------------------- latents
def test_the_same_request_again_calls_nothing_but_the_vae_and_is_the_same_picture(engine):
    first = drawn(engine, BASE)
    with calls() as counted:
        assert drawn(engine, BASE) == first
        assert drawn(engine, replace(BASE, styles=("any",))) == first
    assert not counted
    (step,) = (event for event in engine.generate(BASE) if isinstance(event, Stepped))
    assert (step.index, step.total, step.remaining) == (2, 2, 0.0)


def test_another_vae_decodes_what_is_there(engine):
    drawn(engine, BASE)
    other = replace(BASE, model=ModelChoice("a", vae="vae"))
    with calls() as counted:
        decoded = drawn(engine, other)
    assert not counted
    engine.latents = remembered.latents(0)
    assert drawn(engine, other) == decoded != drawn(engine, BASE)


def test_each_picture_of_a_job_is_known_by_itself(engine):
    alone = drawn(engine, replace(BASE, seed=8))
    with calls() as counted:
        together = [event.rgb for event in engine.generate(replace(BASE, count=2)) if isinstance(event, Drawn)]
    assert together[1] == alone[0] and counted["unet"] == 2


@pytest.mark.parametrize("change", [
    {"seed": 8}, {"prompt": "a dog"}, {"width": 72}, {"sampling": Sampling("Euler a", steps=2, cfg_scale=5.0)},
    {"noise": Noise(variation_strength=0.5)}, {"model": ModelChoice("b")},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_whatever_changes_pixels_is_computed(engine, change):
    drawn(engine, BASE)
    with calls() as counted:
        drawn(engine, replace(BASE, **change))
    assert counted["unet"] == 2


def test_a_picture_that_was_begun_from_has_gone_through_the_vae(engine):
    asked = replace(BASE, source=ImageToImage(engine.blobs.put(PICTURE), strength=1.0))
    drawn(engine, asked)
    with calls() as counted:
        drawn(engine, asked)
        assert not counted
        drawn(engine, replace(asked, model=ModelChoice("a", vae="vae")))
    assert counted["unet"] == 2


def test_without_room_everything_is_computed_and_is_the_same(engine):
    first = drawn(engine, BASE)
    engine.latents = remembered.latents(0)
    with calls() as counted:
        assert drawn(engine, BASE) == first == drawn(engine, BASE)
    assert counted["unet"] == 4


def test_a_model_whose_file_has_changed_is_asked(tmp_path):
    tiny_folder(tmp_path / "a")
    index = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")
    engine = Engine(PipelineManager(index.cards, choose("cpu"), None, index.hashes), Blobs(tmp_path / "inputs"), remembered.latents(ROOM))
    first = drawn(engine, BASE)
    tiny_folder(tmp_path / "a", seed=5)
    index.refresh()
    with calls() as counted:
        assert drawn(engine, BASE) != first
    assert counted["unet"] == 2 and counted["text"]


@pytest.mark.parametrize("change", ["another file", "the file"])
def test_other_text_encoders_from_files_of_their_own_are_asked(tmp_path, change):
    """What is in memory and what is remembered were made with those that were there."""
    unet, vae, text = tiny_parts()
    _, _, other = tiny_parts(seed=5)
    tensors = {name: tensor for name, tensor in original_tensors(unet, vae, text).items() if not name.startswith("cond_stage_model.")}
    models = tmp_path / "models"
    save(tensors, models / "a.safetensors")
    save(text_tensors(text), models / "text_encoders" / "clip_l.safetensors")
    index = ModelIndex([models], EMBEDDED, tmp_path / "none")
    engine = Engine(PipelineManager(index.cards, choose("cpu"), None, index.hashes), Blobs(tmp_path / "inputs"), remembered.latents(ROOM))
    first = drawn(engine, BASE)
    assert drawn(engine, BASE) == first
    name = "clip_l" if change == "the file" else "clip_l_of_mine"
    save(
        text_tensors(other) | ({} if change == "the file" else {"text_projection.weight": torch.zeros(8, 8)}),
        models / "text_encoders" / f"{name}.safetensors",
    )
    index.refresh()
    assert drawn(engine, BASE)[0] != first[0]


# ---------------------------------------------------------------- what is kept
def test_the_least_recently_asked_leaves_when_the_room_is_taken():
    kept: Remembered[str] = Remembered(10, len)
    for name in ("aaaa", "bbbb"):
        kept.keep(name, name)
    assert kept.find("aaaa") == "aaaa"
    kept.keep("cccc", "cccc")
    assert [kept.find(name) for name in ("aaaa", "bbbb", "cccc")] == ["aaaa", None, "cccc"]
    assert kept.keep("too large", "d" * 11) == "d" * 11 and kept.find("too large") is None


def test_what_is_kept_is_nobody_elses(engine):
    drawn(engine, BASE)
    (latents,) = engine.latents._known.values()
    assert latents.device.type == "cpu" and latents.nbytes == 4 * 8 * 8 * 4
