"""The command: python -m training.evaluate [FOLDER]. A released model sits the examination: stock pipelines draw, the judge and the rule look.

Beside every figure stands its ceiling: what the judge and the rule say of the renders themselves, and of renders that went through the VAE.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from training import rule
from training.course import Course
from training.judge import Judge, answers, right, truths
from training.loop import autocast
from training.models import TASKS
from training.pipelines import Parts, draw, pictures
from training.prompts import Question, some
from training.recipe import RECIPES
from training.release import load
from training.render import Picture, depth_map, render
from training.sheets import sheet
from training.space import FIRST_THING
from training.stages.autoencoder import psnr, signed, unsigned
from training.stages.depth import rank_correlation
from training.train import RUN, make_way
from training.world import COLOURS

STEPS, GUIDANCE = 20, 3.0
OTHER_MODES = 64  # questions
Figures = dict[str, float]


@dataclass(frozen=True)
class Examiner:
    """questions: of one thing, and of two."""

    parts: Parts
    judge: Judge
    alone: Sequence[Question]
    pairs: Sequence[Question]
    folder: Path

    def examined(self) -> Mapping[str, Figures]:
        few = self.alone[:OTHER_MODES]
        shown = self.rendered(few)
        sections = {
            "ceiling, renders": self.ceiling(through_vae=False),
            "ceiling, after the VAE": self.ceiling(through_vae=True),
            "text to image, one thing": self.read(drawn := self.text_to_image(self.alone), self.alone),
            "text to image, two things": self.places(pairs := self.text_to_image(self.pairs)),
            "image to image": self.image_to_image(few, shown),
            "inpainting": self.inpainting(few, shown),
        }
        if "depth" in self.parts.unets:
            sections["depth to image"] = self.depth_to_image(few, shown)
        self.keep([*drawn[:24], *pairs[:24]], [*self.alone[:24], *self.pairs[:24]], "txt2img")
        return sections

    # ------------------------------------------------------------ what is looked at
    def rendered(self, questions: Sequence[Question]) -> Picture:
        return render([question.scene for question in questions], self.parts.side)

    def read(self, images: Tensor, questions: Sequence[Question]) -> Figures:
        told = right(answers(self.judge, images), truths([question.scene for question in questions]))
        return {name: share for name, share in told.items() if not name.startswith(("second", "things"))}

    def places(self, images: Tensor) -> Figures:
        """Of two things: both colours there, wherever; and where they were asked for, among those."""
        said, asked = answers(self.judge, images), truths([question.scene for question in self.pairs])
        told = torch.stack([said["colour"], said["second colour"]], 1)
        wanted = torch.stack([asked["colour"], asked["second colour"]], 1)
        placed, swapped = (told == wanted).all(1), (told == wanted.flip(1)).all(1)
        both = placed | swapped
        return {"both colours": share(both), "left and right": share(placed[both]), "both shapes": share(self.shapes(said, asked))}

    def shapes(self, said: Mapping[str, Tensor], asked: Mapping[str, Tensor]) -> Tensor:
        return (said["shape"] == asked["shape"]) & (said["second shape"] == asked["second shape"])

    def through_vae(self, images: Tensor) -> Tensor:
        with torch.no_grad(), autocast("cpu"):
            return torch.cat([unsigned(self.parts.vae.decode(self.parts.vae.encode(signed(part)).latents).sample) for part in images.split(16)])

    # ------------------------------------------------------------ the sections
    def ceiling(self, through_vae: bool) -> Figures:
        alone, pairs = self.rendered(self.alone), self.rendered(self.pairs)
        images, of_pairs = alone.image, pairs.image
        figures: Figures = {}
        if through_vae:
            images, of_pairs = self.through_vae(images), self.through_vae(of_pairs)
            figures["psnr"] = psnr(images, alone.image)
        return figures | self.read(images, self.alone) | self.places(of_pairs) | {"rule": self.by_rule(images, alone.ids, self.alone)}

    def text_to_image(self, questions: Sequence[Question]) -> Tensor:
        return draw(self.parts.text_to_image(), questions, STEPS, GUIDANCE, height=self.parts.side, width=self.parts.side)

    def image_to_image(self, questions: Sequence[Question], shown: Picture) -> Figures:
        """Each repaints the picture of the next one's scene."""
        before, pipeline = shown.image.roll(-1, 0), self.parts.image_to_image()
        light, strong = (draw(pipeline, questions, STEPS, GUIDANCE, image=pictures(before), strength=strength) for strength in (0.3, 0.95))
        return {"psnr at 0.3": psnr(before, light), "colour at 0.95": self.read(strong, questions)["colour"]}

    def inpainting(self, questions: Sequence[Question], shown: Picture) -> Figures:
        """The thing is masked, with a margin, and asked for again in another colour."""
        masks = max_pool2d((shown.ids >= FIRST_THING).float()[:, None], 17, 1, 8)
        others = [recoloured(question) for question in questions]
        drawn = self.inpainted(others, shown.image, masks)
        self.keep(list(drawn[:48]), others[:48], "inpaint")
        outside = 1 - masks
        return {
            "colour": self.read(drawn, others)["colour"],
            "psnr outside, before paste-back": psnr_where(drawn, shown.image, outside),
            "psnr outside, of the VAE": psnr_where(self.through_vae(shown.image), shown.image, outside),
        }

    def inpainted(self, questions: Sequence[Question], images: Tensor, masks: Tensor) -> Tensor:
        white = pictures(masks.expand(-1, 3, -1, -1))
        size = {"height": self.parts.side, "width": self.parts.side, "strength": 1.0}
        return draw(self.parts.inpaint(), questions, STEPS, GUIDANCE, image=pictures(images), mask_image=white, **size)

    def depth_to_image(self, questions: Sequence[Question], shown: Picture) -> Figures:
        """From the exact depth map; the picture to begin from is an even gray, so that depth and words alone decide."""
        asked = depth_map(shown.depth)
        gray = pictures(torch.full_like(shown.image, 0.5))
        drawn = draw(self.parts.depth_to_image(), questions, STEPS, GUIDANCE, image=gray, depth_map=asked, strength=1.0)
        self.keep(list(drawn[:48]), questions[:48], "depth2img")
        with torch.no_grad():
            estimated = torch.cat([self.parts.estimator(part).predicted_depth for part in drawn.split(16)])
            ceiling = torch.cat([self.parts.estimator(part).predicted_depth for part in shown.image.split(16)])
        return {
            "rank correlation": rank_correlation(estimated, asked),
            "rank correlation of renders": rank_correlation(ceiling, asked),
            "rule": self.by_rule(drawn, shown.ids, questions),
            **self.read(drawn, questions),
        }

    def by_rule(self, images: Tensor, ids: Tensor, questions: Sequence[Question]) -> float:
        kept = [rule.follows(image, at >= FIRST_THING, q.scene.things[0].colour) for image, at, q in zip(images, ids, questions, strict=True)]
        return sum(kept) / len(kept)

    def keep(self, images: Sequence[Tensor], questions: Sequence[Question], name: str) -> None:
        sheet(images, [question.prompt for question in questions]).save(self.folder / f"{name}.png")


def recoloured(question: Question) -> Question:
    """The same scene and sentence with the next colour but two."""
    [thing] = question.scene.things
    colours = list(COLOURS)
    colour = colours[(colours.index(thing.colour) + 3) % len(colours)]
    prompt = question.prompt.replace(f"{thing.colour} {thing.shape}", f"{colour} {thing.shape}")
    return replace(question, scene=replace(question.scene, things=(replace(thing, colour=colour),)), prompt=prompt)


def psnr_where(a: Tensor, b: Tensor, where: Tensor) -> float:
    """where (n, 1, h, w): 1 where pixels count."""
    squares = (((a - b) ** 2).mean(1, keepdim=True) * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp(min=1)
    return float((-10 * torch.log10(squares.clamp(min=1e-10))).mean())


def share(these: Tensor) -> float:
    return float(these.float().mean()) if len(these) else 0.0


def table(sections: Mapping[str, Figures]) -> str:
    lines = [f"| {section} | {', '.join(f'{name} {told(value)}' for name, value in figures.items())} |" for section, figures in sections.items()]
    return "\n".join(["| what | figures |", "|---|---|", *lines])


def told(value: float) -> str:
    return f"{value:.1f} dB" if value > 1.5 else f"{value:.1%}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="a released model (default: release in --run)")
    parser.add_argument("--recipe", choices=RECIPES, default="cpu", help="of the training that made the judge (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=RUN, help="where the judge is, and where figures and sheets go (default: training/run)")
    parser.add_argument("--questions", type=int, default=256, help="how many, five eighths of them about one thing (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.questions < len(TASKS):
        parser.error(f"--questions: {options.questions} are too few; at least {len(TASKS)}")
    make_way()
    model = options.model or options.run / "release"
    folder = options.run / "evaluated" / model.resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    alone = options.questions * 5 // 8
    judge = Course(options.run, RECIPES[options.recipe], 0).judge()
    sections = Examiner(load(model), judge, some(1, alone), some(2, options.questions - alone), folder).examined()
    (folder / "figures.json").write_text(json.dumps(sections, indent=2) + "\n", encoding="utf-8")
    print(table(sections))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
