"""Models in memory: borrowed ones stay, the least recently used leave, parts are shared, and a failure harms nobody."""

from pathlib import Path

import pytest
import torch

from sd_ui.engine import load, memory
from sd_ui.engine.device import choose
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.models.index import ModelIndex
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import ModelChoice
from tests.checkpoints import tiny_folder, tiny_vae_file

EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
A, B, C = ModelChoice("a"), ModelChoice("b"), ModelChoice("c")
PLENTY = 10**9


@pytest.fixture
def models(tmp_path) -> ModelIndex:
    for seed, name in enumerate("abc"):
        tiny_folder(tmp_path / name, seed=seed)
    tiny_vae_file(tmp_path / "vae.safetensors")
    return ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")


def manager(models: ModelIndex, budget: int | None = PLENTY) -> PipelineManager:
    return PipelineManager(models.cards, choose("cpu"), budget)


def one_model(models: ModelIndex) -> int:
    loaded = load.load(models.card("a"), None, choose("cpu"))
    return memory.size([loaded.denoiser, loaded.vae, loaded.text_encoder])


def test_what_a_model_needs_is_known_before_it_is_loaded(models):
    assert load.needs(models.card("a"), choose("cpu")) == one_model(models)
    assert load.needs(models.card("a"), choose("cpu", "bf16")) == one_model(models) / 2


def use(manager: PipelineManager, *choices: ModelChoice) -> None:
    for choice in choices:
        with manager.lease(choice):
            pass


def test_a_model_is_loaded_once(models):
    pipelines = manager(models)
    with pipelines.lease(A) as first, pipelines.lease(A) as second:
        assert first is second
    with pipelines.lease(A) as third:
        assert third is first
    assert pipelines.resident == ("a",)


def test_the_least_recently_used_model_leaves_first(models):
    pipelines = manager(models, 2 * one_model(models))
    use(pipelines, A, B, A, C)
    assert pipelines.resident == ("c", "a")


def test_without_a_limit_in_the_way_all_stay(models):
    pipelines = manager(models)
    use(pipelines, A, B, C)
    assert pipelines.resident == ("c", "b", "a")


def test_a_borrowed_model_never_leaves(models):
    pipelines = manager(models, 1)
    with pipelines.lease(A) as a:
        use(pipelines, B)
        assert "a" in pipelines.resident
        with pipelines.lease(A) as again:
            assert again is a
    assert pipelines.resident == ("a",)


def test_the_last_one_used_stays_for_the_next_job_however_large(models):
    pipelines = manager(models, 1)
    use(pipelines, A)
    assert pipelines.resident == ("a",)
    use(pipelines, B)
    assert pipelines.resident == ("b",)


def test_another_vae_shares_all_the_rest(models):
    pipelines = manager(models)
    with pipelines.lease(A) as own, pipelines.lease(ModelChoice("a", "vae")) as other:
        assert other.denoiser is own.denoiser and other.text_encoder is own.text_encoder and other.vae is not own.vae
        assert other.vae_card.name == "vae"
    assert pipelines.resident == ("a with vae", "a")
    back = manager(models)
    with back.lease(ModelChoice("a", "vae")) as other, back.lease(A) as own:
        assert own.denoiser is other.denoiser and own.vae_card is None and type(own.vae) is type(other.vae)
        assert own.vae.config.block_out_channels != other.vae.config.block_out_channels


def test_what_is_dropped_is_freed(models):
    import weakref

    pipelines = manager(models, 1)
    with pipelines.lease(A) as loaded:
        gone = weakref.ref(loaded.denoiser)
    del loaded
    use(pipelines, B)
    assert gone() is None


def test_a_changed_file_is_loaded_again_and_a_running_job_ends_on_the_old_one(models, tmp_path):
    pipelines = manager(models)
    with pipelines.lease(A) as old:
        before = old.denoiser.conv_in.weight.clone()
        tiny_folder(tmp_path / "a", seed=9)
        with pipelines.lease(A) as new:
            assert not torch.equal(new.denoiser.conv_in.weight, before)
            assert new.model_hash != old.model_hash
        assert torch.equal(old.denoiser.conv_in.weight, before)
    assert pipelines.resident == ("a",)


def test_a_failure_leaves_the_previous_model_working(models, tmp_path):
    pipelines = manager(models)
    use(pipelines, A)
    weights = tmp_path / "b" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BadRequest, match="b cannot be used"), pipelines.lease(B):
        pass
    (tmp_path / "b").rename(tmp_path / "away")
    with pytest.raises(BadRequest, match="b cannot be used: its files are not there any more"), pipelines.lease(B):
        pass
    for bad in (ModelChoice("nobody"), ModelChoice("vae"), ModelChoice("a", "nobody"), ModelChoice("a", "b")):
        with pytest.raises(BadRequest, match="is not known"), pipelines.lease(bad):
            pass
    assert pipelines.resident == ("a",)
    with pipelines.lease(A) as loaded:
        assert loaded.card.name == "a"


def test_a_job_that_fails_gives_its_model_back(models):
    pipelines = manager(models, 1)
    with pytest.raises(ZeroDivisionError), pipelines.lease(A):
        raise ZeroDivisionError
    use(pipelines, B)
    assert pipelines.resident == ("b",)


def test_when_memory_is_short_everything_else_makes_room(models, monkeypatch):
    pipelines, real, tries = manager(models), load.load, []
    use(pipelines, A, B)

    def short(card, vae, place, hashes):
        tries.append(pipelines.resident)
        if len(tries) == 1:
            raise MemoryError
        return real(card, vae, place, hashes)

    monkeypatch.setattr(load, "load", short)
    use(pipelines, C)
    assert tries == [("b", "a"), ()] and pipelines.resident == ("c",)


@pytest.mark.parametrize("system", ["not enough memory", "can't allocate memory"])  # Windows, Linux
def test_a_model_that_never_fits_says_so(models, monkeypatch, system):
    def short(*_):
        raise RuntimeError(f"[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: {system}: you tried to allocate 9 bytes.")

    monkeypatch.setattr(load, "load", short)
    with pytest.raises(BadRequest, match="does not fit into memory"), manager(models).lease(A):
        pass


def test_the_facts_name_what_is_in_use(models):
    pipelines = manager(models, None)
    assert pipelines.facts()["models"] == "" and pipelines.facts()["attention"] == ""
    use(pipelines, A)
    facts = pipelines.facts()
    assert facts["models"] == "a" and facts["attention"] == "sdpa" and facts["dtype"] == "float32" and "MiB" in facts["memory"]
