"""Writes docs/models.md from the tables that recognise and load models: python docs/make_models.py"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "models.md"
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.engine.families.table import FAMILIES  # noqa: E402
from sd_ui.models import files, flow_files, flow_folders, folders, gguf, presets, published, stock  # noqa: E402
from sd_ui.models.finding import MODES  # noqa: E402
from sd_ui.models.presets import Preset  # noqa: E402
from sd_ui.models.stock import StockFamily  # noqa: E402
from sd_ui.spec import request  # noqa: E402

NATIVE, STOCK, NONE = "native", "stock", "none"
OURS = (*folders.PIPELINES, *(name for family in flow_folders.FAMILIES for name in family.pipelines))
HEAD = """# Models
Made from the tables of `sd_ui/models/`, `sd_ui/engine/families/` and `presets/models/` by `python docs/make_models.py`; a test compares.

## Families and modes
**native**: our own loop around the model; its latents are those of diffusers' own pipeline, bit for bit, on tiny random weights
(`tests/engine/test_oracle.py`, `test_oracle_sd2.py`, `test_oracle_sdxl.py`, `test_oracle_sd3.py`, `test_oracle_flux.py`). **none**: the family does
not have the mode, or nothing here runs it.
**stock**: diffusers' own pipeline draws the whole picture; see below what that means (`tests/engine/test_stock.py`, `test_stock_families.py`).
"""
STOCK_MEANS = """## What stock means
Models of these families are diffusers folders with safetensors (`model_index.json`, and a folder for each part). Nothing in them is executed: each
part is built by the class that our table names for it, and a folder that asks for another one is refused. The picture is, pixel for pixel, that of
diffusers' own pipeline with the same seed on the processor, and picture i of a batch is that of seed + i. Preview, progress, cancel, the queue,
replay and memory policies are those of every model.

- **Sampler**: the model's own, with its own schedule. Another one is refused.
- **CFG scale**: counted as the pipeline counts it, except that 1 is no guidance everywhere (Z-Image's pipeline says 0). It costs a second call of the
  model above 1. Models that were distilled to need none take 1 alone.
- **Prompt**: plain text. Brackets are characters; a weight such as `(cat:1.2)`, prompt editing, `[a|b]` and network tags are refused; `AND`, `BREAK`
  and the names of embeddings are words. The emphasis Ignore takes brackets out, None accepts weights as text. Styles, wildcards and comments work. A
  prompt that is longer than what the family reads is cut, and the picture says so.
- **Denoising strength**: as everywhere: 0 is the picture itself, 1 is txt2img, and between them round(steps x strength) steps run, at least one.
  Flux.2 Klein also looks at the picture while it repaints it.
- **Inpainting** leaves every pixel outside of the mask as it was. Masked content: Original and Fill. A soft mask edge is refused.
- **Size**: rounded to what the family needs, never to other sizes that it was trained at.
- **What does not work**: LoRAs, another VAE, a refiner, hires fix, clip skip, variations, resized seeds, other noise than the processor's, more or
  less of it, all steps at any strength, CFG rescale, guidance methods and intervals. Each is refused with the reason before anything is queued.
- Where float16 would be used, these models run in bfloat16, because most of them overflow in float16.
"""
FORMATS = """## Formats
- One `.safetensors` file as it was published (the original programs' names), recognised by its header; what it does not say (layers, tokenizer,
  noise) is bundled, so nothing is fetched. Or a diffusers folder, whose parts may come in several files. Pickles are refused.
- Weights in single, half (float16, bfloat16) or 8-bit precision (float8 e4m3fn and e5m2, with ComfyUI's scales or without), also mixed.
- GGUF: {GGUF}, besides F32, F16 and BF16; no package is needed. A transformer or
  U-Net alone, as ComfyUI's converters write it (Flux.1, SD 3, Stable Diffusion 1.x and XL), with its other parts in files of their own; T5 as a text
  encoder; whole checkpoints whose tensors have the published names, as of Stable Diffusion 1.x.
- Diffusers folders whose parts bitsandbytes quantised (4 bits: nf4, fp4; 8 bits), without that package. In one file these are refused, and so are
  folders quantised by torchao, quanto and others: the page says by what.
- Linear layers that GGUF or bitsandbytes packs stay packed in memory, in native families' denoisers and text encoders: they take what they take on
  the disk, and are unpacked at each call ([memory.md](memory.md)). Everything else (float8, tables of words, convolutions, layers whose rows do not
  fill blocks, families that are stock) is unpacked when it is loaded, into the precision that is computed in.
- A U-Net or transformer alone of Stable Diffusion 1.x, XL, 3 and Flux.1 takes its text encoders from files of their own (`clip_l`, `clip_g`,
  `t5xxl`), whatever they are called: they are told by their tensors.
- From Hugging Face on demand, in the tab Models or with `python -m sd_ui models get owner/name`: of a folder the parts that are loaded, in half
  precision where there is a choice; of several files the one that is named; never a pickle. It is looked into before it is fetched.
- VAEs: `AutoencoderKL`, alone in a file or in a folder, and `AutoencoderTiny` in a folder. A VAE in one file is scaled as the model needs that it
  serves; one in a folder says what it is for, and another family's is refused. Where the rest is in float16, SDXL's VAE is in float32, unless its
  config says that it need not be.
- A checkpoint of Stable Diffusion 1.x, 2.x or XL in one file may come without a VAE. It borrows one: the one that is chosen, else
  `name.vae.safetensors` beside `name.safetensors` (A1111's convention) or elsewhere under that name, else the family's usual one
  (`vae-ft-mse-840000...`, `sdxl_vae...`), else a folder's that says it is for the family. The picture names it. Where there is none, the page says
  which file helps and where it goes.
- What a U-Net in one file predicts (noise or v) is told by, in this order: the preset of its name; an empty tensor `v_pred`; its metadata
  (`modelspec.prediction_type`, `modelspec.predict_key`, `modelspec.architecture`); a `.yaml` of the same name beside it; its name (`v-pred`, `768-v`;
  in Stable Diffusion 2 also `768` and `512`); and where nothing tells, Stable Diffusion 2 is asked itself, in one small call of the U-Net.
- The depth estimator of Stable Diffusion 2's depth model is read from the folder (DPT, GLPN) or from the one file (MiDaS's DPT-Hybrid).
- Latent consistency models whose U-Net is told the CFG scale (LCM Dreamshaper and its like) run as any other of their family, in a few steps of LCM
  at scale 8 or so; the negative prompt is in what they learnt, and is not asked for.
- A refiner is any checkpoint for the same latents: it takes over where the noise is low, with its own reading of the prompts.
- Clip skip 1 is the layer that the family was trained with: the last one in Stable Diffusion 1.x, the one before the last in 2.x and SDXL.
  For SDXL 2 means the same as 1; larger numbers go further back everywhere.
- An empty negative prompt is zeros in SDXL, as in AUTOMATIC1111.

## Stable Diffusion 3, 3.5 and Flux.1
- One file may be a whole checkpoint, or a transformer alone, with or without the prefix `model.diffusion_model.`. Text encoders that it does not have
  are looked for in the folders of models, by their headers (such as `text_encoders/clip_l.safetensors`, `clip_g.safetensors`,
  `t5xxl_fp16.safetensors`); of several the largest is taken. A VAE is borrowed as described above (`ae.safetensors`, `sd3_vae.safetensors`). A card
  without a part that it needs says which file goes where. Stable Diffusion 3 works without T5, too. The tokenizers of CLIP and T5 are bundled.
- The text: CLIP in chunks of 75 tokens, as everywhere; T5 reads the whole prompt, filled up to 256 tokens (Flux.1 dev: 512), and nothing is cut off.
  Weights of words count for both, as in Forge. Clip skip 1 and 2 are the layer before the last; Flux.1 takes from CLIP the text as a whole alone.
- Samplers: Euler and Heun go the flow's own way; DPM++ 2M, DPM++ SDE, DPM++ 2M SDE (Heun), DPM++ 3M SDE, DPM2 and DEIS the same way in noise over
  signal. The others are refused, and so are the schedules Polyexponential, KL Optimal, Align Your Steps, DDIM and Turbo. Automatic is the schedule of
  diffusers' pipelines: even steps, shifted to noise (Flux.1 dev: the more, the larger the picture). Sizes are multiples of 16.
- Flux.1 dev is told its guidance: **Distilled CFG scale**, 3.5; Fill 30, Depth 10. CFG scale is 1: above it, the negative prompt counts, in a second
  call of the model. Schnell is told nothing, and draws in 4 steps.
- Depth: a map of one's own is given. Canny is refused. Previews: a matrix to colours, fitted to the model's own VAE when a picture begins.
- LoRAs change the transformer and CLIP; those that change T5 or the last modulation are refused by name. Where text encoders lie in files of their
  own, LoRAs that change them do not fit.
"""


def page() -> str:
    formats = FORMATS.replace("{GGUF}", ", ".join(gguf.UNPACKED))
    return "\n".join([HEAD, *families(), "", *stock_families(), "", strangers(), "", STOCK_MEANS, formats, *refused(), "", *few_steps(), ""])


def stock_families() -> list[str]:
    names = ["family", "as", "sides are multiples of", "tokens", "negative prompt", *request.MODES]
    head = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return [*head, *(stock_row(one) for one in stock.FAMILIES.values())]


def stock_row(one: StockFamily) -> str:
    cells = [STOCK if mode in one.pipelines else NONE for mode in request.MODES]
    return f"| {one.title} | `{one.name}` | {one.multiple} | {one.tokens} | {'yes' if one.negative else 'no'} | {' | '.join(cells)} |"


def strangers() -> str:
    """Of what diffusers' AutoPipeline draws pictures with, by its own names."""
    from diffusers.pipelines import auto_pipeline as auto

    tables = (auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, auto.AUTO_INPAINT_PIPELINES_MAPPING)
    known = {*OURS, *(name for family in stock.FAMILIES.values() for name in family.pipelines.values())}
    names = sorted({name for table in tables for name, kind in table.items() if kind.__name__ not in known})
    return f"Of the names that diffusers' AutoPipeline knows, these are not run here: {', '.join(f'`{name}`' for name in names)}."


def families() -> list[str]:
    head = ["| family | as | made for | channels | " + " | ".join(request.MODES) + " |", "|---" * (4 + len(request.MODES)) + "|"]
    return [*head, *(row(one) for one in (*reversed(published.PUBLISHED), *flow_files.PUBLISHED))]


def row(one: published.Published | flow_files.PublishedFlow) -> str:
    known = MODES[one.family]
    cells = [NATIVE if one.family in FAMILIES and any(mode in modes for modes in known.values()) else NONE for mode in request.MODES]
    channels = ", ".join(f"{count} ({' '.join(modes)})" for count, modes in known.items())
    return f"| {one.title} | `{one.family}` | {one.side}x{one.side} | {channels} | {' | '.join(cells)} |"


def refused() -> list[str]:
    whys = dict.fromkeys(why for _, _, why in files.STRANGERS)
    pipelines = ", ".join(f"`{name}`" for name in OURS)
    others = f"Folders of other pipelines than those of the stock families above, {pipelines}."
    head = ["## What is refused", f"{others} And, where nothing above takes it, a file that, by its tensors,", ""]
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
