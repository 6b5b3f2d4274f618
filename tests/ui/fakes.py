"""An engine that paints noise turning into a picture, a step at a time: everything else of the page's tests is real."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Event, Loading, Mapped, Stepped
from sd_ui.spec.made import Made
from sd_ui.spec.request import DepthToImage, GenerationRequest
from tests.jobs.fakes import Courses


@dataclass
class Painter(Courses):
    """pace: seconds a step. A prompt with "fail" in it fails."""

    pace: float = 0.05
    courses: dict[str, Iterator[Event]] = field(default_factory=dict)

    def add(self, job: str, request: GenerationRequest, delivery: Delivery, done: frozenset[int]) -> None:
        self.courses[job] = self.course(request, delivery, done)

    def facts(self) -> dict[str, str]:
        return {"device": "cpu", "dtype": "float32", "attention": "paint"}

    def course(self, request: GenerationRequest, delivery: Delivery, done: frozenset[int]) -> Iterator[Event]:
        yield Loading("the painter")
        if isinstance(request.source, DepthToImage):
            yield Mapped(encoded(np.tile(np.arange(64, dtype="uint8") * 4, (64, 1)), "PNG"))
        for index in sorted(set(range(request.count)) - done):
            yield from self.painted(request, delivery, index)

    def painted(self, request: GenerationRequest, delivery: Delivery, index: int) -> Iterator[Event]:
        seed, steps = request.seed_of(index), request.sampling.steps
        rng = np.random.default_rng(seed)
        picture = smooth(rng.integers(0, 255, (4, 4, 3)), request)
        noise = rng.normal(128, 60, picture.shape)
        for step in range(1, steps + 1):
            time.sleep(self.pace)
            if "fail" in request.prompt and step == 3:
                raise ValueError("the paint has run out")
            frame = np.clip(picture * step / steps + noise * (1 - step / steps), 0, 255).astype("uint8")
            preview = encoded(frame, "JPEG") if delivery.preview != "off" and step % delivery.preview_every == 0 else None
            yield Stepped(step, steps, preview, index + 1, request.count, step * self.pace, (steps - step) * self.pace)
        yield Drawn(index, seed, request.width, request.height, picture.astype("uint8").tobytes(), Made(app="test"))


def smooth(colours: np.ndarray, request: GenerationRequest) -> np.ndarray:
    image = Image.fromarray(colours.astype("uint8")).resize((request.width, request.height), Image.Resampling.BICUBIC)
    return np.asarray(image).astype("float32")


def encoded(pixels: np.ndarray, format: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format)
    return data.getvalue()


def painter(pace: float = 0.05) -> Callable[[Callable[[str], None]], Painter]:
    def opened(tell: Callable[[str], None]) -> Painter:
        tell("Mixing the colours.")
        return Painter(pace)

    return opened
