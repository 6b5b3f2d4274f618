"""Thousands of models in a folder: how long it takes until their names are known, the first time and at each start after it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

from benchmarks.measure import Row, in_turn
from sd_ui.models.index import ModelIndex
from tests.models.library import sparse

ROOT = Path(__file__).parents[1]
MANY, LAYERS = 5000, 64  # a LoRA for the attention of Stable Diffusion 1.5 has 64 such layers in its U-Net


def rows(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        folder, outputs = Path(place) / "models", Path(place) / "outputs"
        outputs.mkdir()
        files = [lora(folder / f"{i % 50}" / f"{i}.safetensors", i) for i in range(MANY)]
        spent = in_turn(rounds, {"first": scan(folder, None), "again": scan(folder, outputs), "library": headers(files)})
    first, again, library = spent["first"], spent["again"], spent["library"]
    return [
        Row(f"{MANY} LoRAs looked at for the first time, against reading their headers with safetensors", f"{first.cpu:.2f} CPU s",
            f"{library.cpu:.2f} CPU s", f"{first.cpu / library.cpu:.2f}"),
        Row("the same at each later start", f"{again.cpu:.2f} CPU s", f"{library.cpu:.2f} CPU s", f"{again.cpu / library.cpu:.2f}"),
    ]  # fmt: skip


def scan(folder: Path, outputs: Path | None) -> Callable[[], object]:
    """outputs None: nothing is known of before."""
    cache = outputs and outputs / ".models"
    return lambda: ModelIndex([folder], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models", cache=cache)


def headers(files: list[Path]) -> Callable[[], object]:
    """Names and metadata of each file, and nothing made of them."""

    def read() -> list[object]:
        found: list[object] = []
        for path in files:
            with safe_open(path, "numpy") as file:
                found.append((file.metadata(), list(file.keys())))
        return found

    return read


def lora(path: Path, seed: int) -> Path:
    """A genuine header; the weights are zeros that take no room on the disk."""
    names = [f"lora_unet_down_blocks_{i // 32}_attentions_{i // 16 % 2}_transformer_blocks_{i % 16}_attn2_to_k" for i in range(LAYERS)]
    parts: dict[str, tuple[int, ...]] = {"alpha": (), "lora_down.weight": (16, 768), "lora_up.weight": (320, 16)}
    shapes = {f"{name}.{part}": shape for name in names for part, shape in parts.items()}
    words = {"a": {f"word {i}": i for i in range(99)}}
    return sparse(path, shapes, {"ss_output_name": f"lora {seed}", "ss_tag_frequency": json.dumps(words)})
