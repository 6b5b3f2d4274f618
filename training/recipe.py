"""How much of what: the recipe for two processor cores, and the one for a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.loop import Plan
from training.models import SHAPES, Shape
from training.styles import STYLES

STAGES = ("data", "vae", "judge", "text", "ab", "depth", "unet", *STYLES)  # in this order
AGAIN = ("judge", "depth", "decoder", "unet", *STYLES)  # may go on when they are given more minutes; on all others, weights of later stages stand


@dataclass(frozen=True)
class Recipe:
    """minutes: shares of the whole run. batches: per worker. rates: learning rates. workers: processes.

    compared: samples for each noise schedule, at most; and as many a minute as are to be expected. styled: scenes for each style.
    """

    shape: str
    device: str
    workers: int
    side: int
    scenes: int
    held_out: int
    compared: int
    compared_a_minute: int
    minutes: Mapping[str, float]
    batches: Mapping[str, int]
    rates: Mapping[str, float]
    compared_shape: str = "quick"
    styled: int = 2000
    average: float = 0.998
    save_every: float = 2.5

    @property
    def networks(self) -> Shape:
        return SHAPES[self.shape]

    def plan(self, stage: str, minutes: float) -> Plan:
        """minutes: of this stage."""
        return Plan(minutes, self.rates["style" if stage in STYLES else stage], average=self.average, save_every=self.save_every)

    def comparison(self, minutes: float, schedules: int) -> Plan:
        """minutes: of the whole comparison. They decide how many samples each schedule gets, not how long each may take: it must be fair."""
        samples = min(self.compared, minutes / schedules * self.compared_a_minute)
        steps = samples / (self.batches["ab"] * self.workers)
        return Plan(float("inf"), self.rates["ab"], steps=steps, average=self.average, save_every=self.save_every)


CPU = Recipe(
    shape="small",
    device="cpu",
    workers=2,
    side=128,
    scenes=20_000,
    held_out=1000,
    compared=50_000,
    compared_a_minute=8000,
    minutes={"vae": 0.19, "judge": 0.10, "text": 0.02, "ab": 0.07, "depth": 0.04, "unet": 0.54, "midas": 0.02, "dawn": 0.02, "decoder": 0.19},
    batches={"vae": 16, "judge": 32, "text": 64, "ab": 24, "depth": 8, "unet": 24, "style": 24, "decoder": 16},
    rates={"vae": 2e-3, "judge": 2e-3, "text": 1e-3, "ab": 1.2e-3, "depth": 1e-3, "unet": 1.2e-3, "style": 1.5e-3, "decoder": 5e-4},
)
GPU = Recipe(
    shape="large",
    device="cuda",
    workers=1,
    side=256,
    scenes=50_000,
    held_out=1000,
    compared=200_000,
    compared_a_minute=60_000,
    minutes={"vae": 0.25, "judge": 0.05, "text": 0.02, "ab": 0.10, "depth": 0.05, "unet": 0.49, "midas": 0.02, "dawn": 0.02, "decoder": 0.25},
    batches={"vae": 256, "judge": 256, "text": 512, "ab": 256, "depth": 64, "unet": 256, "style": 256, "decoder": 256},
    rates={"vae": 2e-3, "judge": 2e-3, "text": 1e-3, "ab": 1e-3, "depth": 1e-3, "unet": 1e-3, "style": 1.5e-3, "decoder": 5e-4},
    average=0.9995,
    save_every=1.0,
)
TINY = Recipe(  # for tests: everything once, in seconds
    shape="tiny",
    device="cpu",
    workers=1,
    side=64,
    scenes=64,
    held_out=32,
    compared=40,
    compared_a_minute=1000,
    styled=16,
    minutes=CPU.minutes,
    batches=dict.fromkeys(CPU.batches, 4),
    rates=CPU.rates,
    compared_shape="tiny",
)
RECIPES: Mapping[str, Recipe] = {"cpu": CPU, "gpu": GPU, "tiny": TINY}
