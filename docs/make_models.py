"""Writes docs/models.md from the tables that recognise and load models: python docs/make_models.py"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "models.md"
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.engine.families.table import FAMILIES  # noqa: E402
from sd_ui.models import files, folders, presets, published  # noqa: E402
from sd_ui.models.finding import MODES  # noqa: E402
from sd_ui.models.presets import Preset  # noqa: E402
from sd_ui.spec import request  # noqa: E402

NATIVE, NONE = "native", "none"
HEAD = """# Models
Made from the tables of `sd_ui/models/`, `sd_ui/engine/families/` and `presets/models/` by `python docs/make_models.py`; a test compares.

## Families and modes
**native**: our own loop around the model; its latents are those of diffusers' own pipeline, bit for bit, on tiny random weights
(`tests/engine/test_oracle.py`, `test_oracle_sd2.py`, `test_oracle_sdxl.py`). **none**: the family does not have the mode, or nothing here runs it.
No family runs by diffusers' own pipelines.
"""
FORMATS = """## Formats
- One `.safetensors` file as it was published (the original programs' names, half or single precision), recognised by its header; what it does not
  say (layers, tokenizer, noise) is bundled, so nothing is fetched. Or a diffusers folder, whose parts may come in several files. Pickles are refused.
- VAEs: `AutoencoderKL`, alone in a file or in a folder, and `AutoencoderTiny` in a folder. A VAE in one file is scaled as the model needs that it
  serves; one in a folder says what it is for, and another family's is refused. Where the rest is in float16, SDXL's VAE is in float32, unless its
  config says that it need not be.
- A checkpoint of Stable Diffusion 1.x, 2.x or XL in one file may come without a VAE. It borrows one: the one that is chosen, else `name.vae.safetensors`
  beside `name.safetensors` (A1111's convention) or elsewhere under that name, else the family's usual one (`vae-ft-mse-840000...`, `sdxl_vae...`), else
  a folder's that says it is for the family. The picture names it. Where there is none, the page says which file helps and where it goes.
- What a U-Net in one file predicts (noise or v) is told by, in this order: the preset of its name; an empty tensor `v_pred`; its metadata
  (`modelspec.prediction_type`, `modelspec.predict_key`, `modelspec.architecture`); a `.yaml` of the same name beside it; its name (`v-pred`, `768-v`;
  in Stable Diffusion 2 also `768` and `512`); and where nothing tells, Stable Diffusion 2 is asked itself, in one small call of the U-Net.
- The depth estimator of Stable Diffusion 2's depth model is read from the folder (DPT, GLPN) or from the one file (MiDaS's DPT-Hybrid).
- A refiner is any checkpoint for the same latents: it takes over where the noise is low, with its own reading of the prompts.
- Clip skip 1 is the layer that the family was trained with: the last one in Stable Diffusion 1.x, the one before the last in 2.x and SDXL.
  For SDXL 2 means the same as 1; larger numbers go further back everywhere.
- An empty negative prompt is zeros in SDXL, as in AUTOMATIC1111.
"""


def page() -> str:
    return "\n".join([HEAD, *families(), "", FORMATS, *refused(), "", *few_steps(), ""])


def families() -> list[str]:
    head = ["| family | as | made for | U-Net's channels | " + " | ".join(request.MODES) + " |", "|---" * (4 + len(request.MODES)) + "|"]
    return [*head, *(row(one) for one in reversed(published.PUBLISHED))]


def row(one: published.Published) -> str:
    known = MODES[one.family]
    cells = [NATIVE if one.family in FAMILIES and any(mode in modes for modes in known.values()) else NONE for mode in request.MODES]
    channels = ", ".join(f"{count} ({' '.join(modes)})" for count, modes in known.items())
    return f"| {one.title} | `{one.family}` | {one.side}x{one.side} | {channels} | {' | '.join(cells)} |"


def refused() -> list[str]:
    whys = dict.fromkeys(why for _, _, why in files.STRANGERS)
    pipelines = ", ".join(f"`{name}`" for name in folders.PIPELINES)
    head = ["## What is refused", f"Folders of other pipelines than {pipelines}. And a file that, by its tensors,", ""]
    return [*head, *(f"- {why.replace(' which is', '')}" for why in whys)]


def few_steps() -> list[str]:
    head = ["## Models of few steps", "Known by their names alone; the settings are where they start, in `presets/models/`.", ""]
    head += ["| family | names | steps | CFG scale | sampler | schedule | size |", "|---|---|---|---|---|---|---|"]
    return [*head, *(preset_row(preset) for preset in presets.read(ROOT / "presets" / "models").values() if preset.names)]


def preset_row(preset: Preset) -> str:
    said = preset.defaults or {}
    names = ", ".join(f"`{name}`" for name in preset.names)
    size = f"{said['width']}x{said['height']}" if "width" in said else "the family's"
    return f"| `{preset.family}` | {names} | {said['steps']} | {said['cfg_scale']} | {said['sampler']} | {said['schedule']} | {size} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
