"""Draws what the model in the box makes of its examples, with the app's own engine: python docs/make_samples.py

For the page: presets/models/embedded.webp, a strip of one picture for each example of presets/models/embedded.toml, seed 2 for all.
For the LoRAs in the box: a preview beside each, seed 2. For training/README.md: training/samples.png, seeds 2 and 1, with the sentences below them,
then the same sentences in each of the LoRAs, seed 2.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
LORAS = ROOT / "sd_ui" / "embedded_loras"
SEEDS = (2, 1)
QUALITY = 88


def index() -> ModelIndex:
    return ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models", LORAS)


def request(card: ModelCard, prompt: str, seed: int) -> GenerationRequest:
    best = card.defaults
    sampling = Sampling(best.sampler, best.schedule, best.steps, best.cfg_scale)
    return GenerationRequest(prompt, sampling=sampling, width=best.width, height=best.height, seed=seed)


@contextmanager
def opened(models: ModelIndex) -> Iterator[Engine]:
    with TemporaryDirectory() as inputs:
        yield Engine(PipelineManager(models.cards, choose("cpu", "float32"), None), Blobs(Path(inputs)))


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
    card, loras = models.card(EMBEDDED), [lora.name for lora in models.loras(EMBEDDED)]
    with opened(models) as engine:
        rows = [[picture(engine, request(card, prompt, seed)) for prompt in card.examples] for seed in SEEDS]
        worn = {name: [picture(engine, request(card, f"{prompt} <lora:{name}:1>", SEEDS[0])) for prompt in card.examples] for name in loras}
    strip(rows[0]).save(STRIP, quality=QUALITY, method=6)
    for name, pictures in worn.items():
        pictures[0].save(LORAS / f"{name}.png", optimize=True)
    pairs = [(rows[s][i], f"{prompt} (seed {seed})") for i, prompt in enumerate(card.examples) for s, seed in enumerate(SEEDS)]
    pairs += [(image, f"{name}: {prompt}") for name, pictures in worn.items() for image, prompt in zip(pictures, card.examples, strict=True)]
    sheet([image for image, _ in pairs], [caption for _, caption in pairs], columns=8, side=128).save(SHEET, optimize=True)
    print(f"{STRIP.relative_to(ROOT)} and {SHEET.relative_to(ROOT)}: {len(card.examples)} examples; LoRAs: {', '.join(loras) or 'none'}")


if __name__ == "__main__":
    main()
