"""Run by test_creep in a process of its own: swaps models and prints how much memory the process has after each round of them."""

import sys
from pathlib import Path

import psutil
import torch

from sd_ui.engine import memory
from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling


def main(folder: Path, swaps: int, names: str) -> None:
    """A picture with each model in turn, of which only one fits into the budget."""
    torch.set_num_threads(1)
    memory.settle()
    models = ModelIndex([folder], folder / "none", folder / "none")
    pipelines = PipelineManager(models.cards, choose("cpu"), budget=1)
    engine = Engine(pipelines, Blobs(folder / "inputs"))
    for swap in range(swaps):
        request = GenerationRequest("cat", "", ModelChoice(names[swap % len(names)]), Sampling("Euler", steps=1, cfg_scale=1.0), width=64, height=64)
        for _ in engine.generate(request, Delivery(preview="off")):
            pass
        assert pipelines.resident == (request.model.checkpoint,)
        if swap % len(names) == len(names) - 1 or swap == swaps - 1:
            memory.tidy(torch.device("cpu"))
            print(psutil.Process().memory_info().rss, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
