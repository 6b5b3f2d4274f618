"""Models folders of thousands of files, each with a genuine header and weights that take no room on the disk."""

import json
import math
import struct
from pathlib import Path

from sd_ui.models.index import ModelIndex

ROOT = Path(__file__).parents[2]


def lora(path: Path, width: int = 768, rank: int = 4, **metadata: str) -> Path:
    """width: of the text: 768 for SD 1.x, 2048 for SDXL. rank: by which a test tells two files apart."""
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    return sparse(path, {f"{layer}.lora_down.weight": (rank, width), f"{layer}.lora_up.weight": (320, rank)}, metadata)


def checkpoint(path: Path) -> Path:
    """What tells a file of Stable Diffusion 1.x; nothing could be drawn with it."""
    text = "cond_stage_model.transformer.text_model.embeddings."
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        f"{text}token_embedding.weight": (49408, 768),
        f"{text}position_embedding.weight": (77, 768),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    }
    return sparse(path, shapes)


def sparse(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    entries, end = {"__metadata__": metadata or {}}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def index(*folders: Path, keep: Path | None = None) -> ModelIndex:
    """keep: the outputs folder."""
    cache, own = (keep / ".models", keep / "presets") if keep else (None, None)
    return ModelIndex(folders, ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models", cache=cache, own=own)
