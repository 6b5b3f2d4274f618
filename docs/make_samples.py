"""Draws what the model in the box makes of its examples, with the app's own engine: python docs/make_samples.py

For the page: presets/models/embedded.webp, a strip of one picture for each example of presets/models/embedded.toml, seed 1 for all.
For training/README.md: training/samples.png, seeds 1 and 2 for each, with the sentences below.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.engine.device import choose  # noqa: E402
from sd_ui.engine.generate import Engine  # noqa: E402
from sd_ui.engine.pipeline_manager import PipelineManager  # noqa: E402
from sd_ui.imaging.blobs import Blobs  # noqa: E402
from sd_ui.models.index import ModelIndex  # noqa: E402
from sd_ui.spec.cards import ModelCard  # noqa: E402
from sd_ui.spec.delivery import Delivery  # noqa: E402
from sd_ui.spec.events import Drawn  # noqa: E402
from sd_ui.spec.request import EMBEDDED, GenerationRequest, Sampling  # noqa: E402
from training.sheets import sheet  # noqa: E402

STRIP, SHEET = ROOT / "presets" / "models" / "embedded.webp", ROOT / "training" / "samples.png"
SEEDS = (1, 2)
QUALITY = 88


def index() -> ModelIndex:
    return ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models")


def request(card: ModelCard, prompt: str, seed: int) -> GenerationRequest:
    best = card.defaults
    sampling = Sampling(best.sampler, best.schedule, best.steps, best.cfg_scale)
    return GenerationRequest(prompt, sampling=sampling, width=best.width, height=best.height, seed=seed)


def drawn(models: ModelIndex, seeds: Sequence[int]) -> list[list[Image.Image]]:
    """By seed, then by example."""
    card = models.card(EMBEDDED)
    with TemporaryDirectory() as inputs:
        engine = Engine(PipelineManager(models.cards, choose("cpu", "float32"), None), Blobs(Path(inputs)))
        return [[picture(engine, request(card, prompt, seed)) for prompt in card.examples] for seed in seeds]


def picture(engine: Engine, asked: GenerationRequest) -> Image.Image:
    events = engine.generate(asked, replace(Delivery(), preview="off"))
    return next(Image.frombytes("RGB", (event.width, event.height), event.rgb) for event in events if isinstance(event, Drawn))


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    side = pictures[0].width
    whole = Image.new("RGB", (side * len(pictures), side))
    for i, image in enumerate(pictures):
        whole.paste(image, (i * side, 0))
    return whole


def main() -> None:
    models = index()
    rows = drawn(models, SEEDS)
    strip(rows[0]).save(STRIP, quality=QUALITY, method=6)
    examples = models.card(EMBEDDED).examples
    pairs = [(rows[s][i], f"{prompt} (seed {seed})") for i, prompt in enumerate(examples) for s, seed in enumerate(SEEDS)]
    sheet([image for image, _ in pairs], [caption for _, caption in pairs], columns=6, side=160).save(SHEET, optimize=True)
    print(f"{STRIP.relative_to(ROOT)} and {SHEET.relative_to(ROOT)}: {len(examples)} examples, seeds {', '.join(map(str, SEEDS))}")


if __name__ == "__main__":
    main()
