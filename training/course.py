"""One training as a whole: its folder, its recipe, and what each stage needs of those before it."""

import time
from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderTiny
from torch import Tensor
from transformers import CLIPTokenizer

from training import loop, models
from training.data import HELD_OUT, TRAINING, Renders
from training.judge import Judge
from training.latents import Latents
from training.recipe import Recipe


@dataclass(frozen=True)
class Course:
    """minutes: of all stages together."""

    folder: Path
    recipe: Recipe
    minutes: float

    def share(self, stage: str) -> float:
        return self.minutes * self.recipe.minutes.get(stage, 0)

    @property
    def renders(self) -> Renders:
        return Renders(self.folder / "data", TRAINING, self.recipe.side, self.recipe.scenes)

    @property
    def held_out(self) -> Renders:
        return Renders(self.folder / "data", HELD_OUT, self.recipe.side, self.recipe.held_out)

    @property
    def latents(self) -> Latents:
        return Latents(self.folder / "latents", self.renders, self.folder / "vae", self.recipe.shape)

    def tokenizer(self) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer")

    def trained(self, stage: str, network: str) -> dict[str, Tensor]:
        """The moving average of an earlier stage's weights."""
        state = loop.resumed(self.folder / stage)
        if state is None:
            raise SystemExit(f"{stage} has not been trained yet: python -m training.train --minutes N --stage {stage}")
        return state.average[network]

    def vae(self) -> AutoencoderTiny:
        """Frozen; with the decoder that has learnt on, if there is one. The encoder is the same in both."""
        vae = models.vae(self.recipe.networks)
        vae.load_state_dict(self.trained("decoder" if (self.folder / "decoder" / "state.pt").exists() else "vae", "vae"))
        return vae.to(self.recipe.device).eval().requires_grad_(False)

    def judge(self) -> Judge:
        judge = Judge()
        judge.load_state_dict(self.trained("judge", "judge"))
        return judge.eval()

    def tell(self, line: str) -> None:
        """To the terminal and to the log."""
        said = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {line}"
        print(said, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "history.txt").open("a", encoding="utf-8") as file:
            file.write(said + "\n")
