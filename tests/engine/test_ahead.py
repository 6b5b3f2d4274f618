"""What is done for the next load while the engine works: it changes nothing that anybody sees but time."""

import threading
from pathlib import Path

import pytest

from sd_ui.engine.ahead import Ahead
from sd_ui.engine.device import choose
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models.hashes import Hashes
from sd_ui.models.index import ModelIndex
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.request import ModelChoice
from tests.checkpoints import tiny_folder

EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
A, B = ModelChoice("a"), ModelChoice("b")
CPU = choose("cpu")
PLENTY = 10**9


class Watched(Sidecars):
    """Notes what is made, and waits before it where it is told to."""

    def __init__(self, folder: Path, gate: threading.Event | None = None) -> None:
        super().__init__(folder, PLENTY, least=0, spare=0)
        self.gate, self.begun, self.made, self.checks = gate, threading.Event(), [], []

    def make(self, card: ModelCard, place, go_on) -> bool:
        self.begun.set()
        if self.gate:
            assert self.gate.wait(60)
        done = super().make(card, place, go_on)
        self.made.append(card.name)
        return done

    def check(self, card: ModelCard, place, go_on) -> None:
        super().check(card, place, go_on)
        self.checks.append(card.name)


@pytest.fixture
def models(tmp_path) -> ModelIndex:
    for seed, name in enumerate("ab"):
        tiny_folder(tmp_path / "models" / name, seed=seed)
    return ModelIndex([tmp_path / "models"], EMBEDDED, tmp_path / "none")


def manager(models: ModelIndex, kept: Sidecars, budget: int = PLENTY) -> PipelineManager:
    return PipelineManager(models.cards, CPU, budget, models.hashes, ahead=Ahead(kept, models.hashes))


def use(manager: PipelineManager, choice: ModelChoice) -> None:
    with manager.lease(choice):
        pass


def settled(manager: PipelineManager) -> None:
    assert manager.ahead and manager.ahead.wait(60)


def test_a_model_that_was_loaded_the_slow_way_gets_its_copy_once(models, tmp_path):
    kept = Watched(tmp_path / "copies")
    first, second = manager(models, kept), manager(models, kept)
    for pipelines in (first, first, second):
        use(pipelines, A)
        settled(pipelines)
    assert kept.made == ["a"]


def test_a_program_that_ends_soon_writes_no_copy_and_uses_what_is_there(models, tmp_path):
    kept = Watched(tmp_path / "copies")
    short = PipelineManager(models.cards, CPU, PLENTY, models.hashes, Ahead(kept, models.hashes, copying=False))
    use(short, A)
    settled(short)
    assert kept.made == [] and short.ahead.sidecars is kept


def test_the_next_jobs_model_is_made_ready_and_nothing_gives_way_to_it(models, tmp_path):
    kept = Watched(tmp_path / "copies")
    pipelines = manager(models, kept, budget=1)
    with pipelines.lease(A) as running:
        for _ in range(3):  # however often it is said
            pipelines.ready(B)
        settled(pipelines)
        assert pipelines.resident == ("a",) and running.denoiser is not None
    assert kept.made == ["a", "b"] and kept.checks == ["b"]
    assert models.hashes.known(models.card("b").path)


def test_a_model_in_memory_is_ready_already(models, tmp_path):
    kept = Watched(tmp_path / "copies")
    pipelines = manager(models, kept)
    use(pipelines, A)
    settled(pipelines)
    pipelines.ready(A)
    settled(pipelines)
    assert kept.checks == []


def test_a_next_job_that_is_cancelled_ends_what_was_begun_for_it(models, tmp_path):
    gate = threading.Event()
    kept = Watched(tmp_path / "copies", gate)
    pipelines = manager(models, kept)
    pipelines.ready(B)
    assert kept.begun.wait(60)
    pipelines.ready(None)
    gate.set()
    settled(pipelines)
    assert kept.made == [] and not list((tmp_path / "copies").iterdir())


@pytest.mark.parametrize("unknown", [ModelChoice("no such model"), ModelChoice("embedded")])
def test_what_cannot_be_made_ready_harms_nobody(models, tmp_path, unknown):
    kept = Watched(tmp_path / "copies")
    pipelines = manager(models, kept)
    pipelines.ready(unknown)
    settled(pipelines)
    use(pipelines, A)
    assert pipelines.resident == ("a",)


def test_a_model_whose_files_are_gone_harms_nobody(models, tmp_path):
    kept = Watched(tmp_path / "copies")
    ahead, card = Ahead(kept, Hashes()), models.card("b")
    for file in card.path.rglob("*.safetensors"):
        file.unlink()
    ahead.ready(card, CPU)
    assert ahead.wait(60) and kept.made == []
    ahead.ready(models.card("a"), CPU)
    assert ahead.wait(60) and kept.made == ["a"]
