"""A look at a U-Net while it learns: samples of fixed questions through the stock pipelines, judged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from training.judge import Judge, answers, right, truths
from training.pipelines import Parts, assembled, draw, pictures
from training.prompts import Question, some
from training.render import render
from training.sheets import sheet
from training.stages.autoencoder import psnr
from training.stages.denoiser import Denoiser

STEPS, GUIDANCE = 15, 3.0
ASKED = ("floor", "sky", "colour", "shape")


class Look:
    """count: of questions. strengths: of image-to-image to try too."""

    def __init__(self, judge: Judge, count: int, pairs: int = 0, strengths: tuple[float, ...] = ()):
        self._judge, self._count, self._pairs, self._strengths = judge, count, pairs, strengths

    def __call__(self, denoiser: Denoiser, folder: Path) -> Mapping[str, float]:
        parts = assembled(denoiser.unet, denoiser.text, denoiser.tokenizer, denoiser.vae, denoiser.latents.scale, denoiser.alphas)
        alone = some(1, self._count)
        pairs = some(2, self._pairs)
        images = draw(parts.text_to_image(), [*alone, *pairs], STEPS, GUIDANCE, height=parts.side, width=parts.side)
        sheet(list(images[-32:]), [question.prompt for question in (*alone, *pairs)][-32:]).save(folder / "sheet.png")
        figures = {name: self._read(images[: len(alone)], alone)[name] for name in ASKED}
        if pairs:
            read = self._read(images[len(alone) :], pairs)
            figures |= {"left colour": read["colour"], "right colour": read["second colour"]}
        for strength in self._strengths:
            figures |= self._repainted(parts, alone, strength)
        return figures

    def _read(self, images: Tensor, questions: Sequence[Question]) -> dict[str, float]:
        return right(answers(self._judge, images), truths([question.scene for question in questions]))

    def _repainted(self, parts: Parts, questions: Sequence[Question], strength: float) -> dict[str, float]:
        """Pictures of other scenes, repainted: what is left of them, and whether the prompt is followed."""
        others = [*questions[1:], questions[0]]
        before = render([question.scene for question in others], parts.side).image
        after = draw(parts.image_to_image(), questions, 20, GUIDANCE, image=pictures(before), strength=strength)
        return {f"psnr at {strength}": psnr(before, after), f"colour at {strength}": self._read(after, questions)["colour"]}
