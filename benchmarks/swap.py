"""How long until another model of the size of SD 1.5 is ready, with its file in the system's memory: ours against diffusers' two ways."""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import checkpoints
from benchmarks.measure import Row, Spent, compared, in_turn

# isort: split
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as said_by_diffusers

from sd_ui.engine import load
from sd_ui.engine.ahead import Ahead
from sd_ui.engine.device import DTYPES, Place, choose
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models.hashes import Hashes
from sd_ui.models.index import ModelIndex
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.request import ModelChoice

PLENTY = 2**40  # bytes
PAGE = 4096
SIZE = "1,066 M parameters"


def rows(rounds: int) -> list[Row]:
    said_by_diffusers.set_verbosity_error()
    said_by_diffusers.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers would like another scheduler
        place = Path(name)
        checkpoints.written(place / "models")
        file, folder = _cards(place)
        here = choose()
        found = [*_swap(place, file, here, rounds), *_swap(place, folder, here, rounds)]
        for dtype in {torch.bfloat16, torch.float16} - {here.dtype}:
            found += _swap(place, file, Place(here.device, dtype), rounds)
        return [*found, _resident(place, here, rounds)]


def _swap(place: Path, card: ModelCard, where: Place, rounds: int) -> list[Row]:
    kept, hashes = Sidecars(place / "copies", PLENTY), Hashes(place)
    if kept.wanted(card, where):
        kept.make(card, where, lambda: None)
    ours, first, theirs = _ours(card, where, hashes, kept), _ours(card, where, hashes, None), _theirs(card, place, where)
    _same(ours(), theirs())
    ready = in_turn(rounds, {"ours": ours, "theirs": theirs, "first": first})
    touched = in_turn(rounds, {"ours": lambda: _touched(ours()), "theirs": lambda: _touched(theirs())})
    peaks = [_peak(side, place, card, where) for side in ("ours", "theirs")]
    kept.drop(card, where)
    how = "from_single_file" if card.layout == "file" else "from_pretrained"
    return [
        _with_peaks(compared(f"a model of {SIZE} in float16, loaded to {where.dtype_name}, against {how}", ready["ours"], ready["theirs"]), peaks),
        compared("the same, and every page of its weights touched once", touched["ours"], touched["theirs"]),
        compared("the same where it has no copy yet", ready["first"], ready["theirs"]),
    ]


def _resident(place: Path, where: Place, rounds: int) -> Row:
    """Both models are in memory; each lease takes the other one."""
    index, hashes = ModelIndex([place / "models"], place / "none", place / "none"), Hashes(place)
    manager = PipelineManager(index.cards, where, PLENTY, hashes, Ahead(Sidecars(place / "copies", 0), hashes))
    choices = [ModelChoice(card.name) for card in _cards(place)]

    def swap() -> None:
        for choice in choices:
            with manager.lease(choice):
                pass

    spent = in_turn(rounds, {"ours": swap})["ours"]
    half = Spent(spent.wall / 2, spent.cpu / 2)
    return Row("taking a model that is in memory", f"{half.cpu * 1000:.1f} CPU ms ({half.wall * 1000:.1f} ms)")


# ---------------------------------------------------------------- the two sides
def _cards(place: Path) -> tuple[ModelCard, ModelCard]:
    models = place / "models"
    cards = [card for card in ModelIndex([models], place / "none", place / "none").cards().values() if card.path.parent == models]
    file, folder = (next(card for card in cards if card.layout == layout) for layout in ("file", "folder"))
    return file, folder


def _ours(card: ModelCard, where: Place, hashes: Hashes, kept: Sidecars | None) -> Callable[[], Loaded]:
    def run() -> Loaded:
        return _settled(load.load(card, None, where, hashes, kept), where)

    return run


def _theirs(card: ModelCard, place: Path, where: Place) -> Callable[[], Any]:
    config = str(place / "models" / "random")

    def run() -> Any:
        told = {"torch_dtype": where.dtype, "local_files_only": True, "safety_checker": None}
        if card.layout == "file":
            pipeline = StableDiffusionPipeline.from_single_file(str(card.path), config=config, **told)
        else:
            pipeline = StableDiffusionPipeline.from_pretrained(card.path, **told)
        return _settled(pipeline.to(where.device), where)

    return run


def _settled(model: Any, where: Place) -> Any:
    if where.device.type == "cuda":
        torch.cuda.synchronize()
    return model


def _modules(model: Any) -> tuple[Any, Any, Any]:
    return model.denoiser if isinstance(model, Loaded) else model.unet, model.vae, model.text_encoder


def _same(ours: Any, theirs: Any) -> None:
    for mine, other in zip(_modules(ours), _modules(theirs), strict=True):
        own, stock = mine.state_dict(), other.state_dict()
        if own.keys() != stock.keys() or not all(torch.equal(own[name], stock[name]) for name in own):
            raise AssertionError("the two do not load the same numbers")


def _touched(model: Any) -> None:
    for module in _modules(model):
        for tensor in module.parameters():
            tensor.reshape(-1)[:: PAGE // tensor.element_size()].sum()


# ---------------------------------------------------------------- memory
def _with_peaks(row: Row, peaks: list[float]) -> Row:
    """Each side in a process of its own, before the first step: what loading added to what the imports take."""
    ours, theirs = peaks
    return Row(row.what, f"{row.ours}, {ours:.2f} GB", f"{row.theirs}, {theirs:.2f} GB", row.ratio)


def _peak(side: str, place: Path, card: ModelCard, where: Place) -> float:
    told = json.dumps([side, str(place), card.layout, str(where.device), where.dtype_name])
    done = subprocess.run([sys.executable, "-m", "benchmarks.swap", told], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _child(told: str) -> None:
    side, name, layout, device, dtype = json.loads(told)
    place, where = Path(name), Place(torch.device(device), DTYPES[dtype])
    card = next(card for card in _cards(place) if card.layout == layout)
    run = _ours(card, where, Hashes(place), Sidecars(place / "copies", PLENTY)) if side == "ours" else _theirs(card, place, where)
    before = _status("VmHWM")
    model = run()
    print(_status("VmHWM") - before if model is not None else 0)


def _status(name: str) -> float:
    """GB, as Linux says it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1e6


if __name__ == "__main__":
    _child(sys.argv[1])
