"""Which stage runs, in which processes, made of what; and which have ended."""

from dataclasses import replace
from pathlib import Path

from training import loop, models, text
from training.course import Course
from training.loop import Plan, Stage
from training.recipe import AGAIN
from training.schedules import CANDIDATES, chosen
from training.stages import comparison
from training.stages.autoencoder import Autoencoder
from training.stages.denoiser import Denoiser
from training.stages.depth import Depth
from training.stages.judging import Judging
from training.stages.looking import Look
from training.stages.styling import Styling
from training.stages.wording import Wording
from training.styles import STYLES
from training.workers import Alone, Team, together

MOST_PARAMETERS = 20_000_000  # of what two processes train together
JUDGED = 48  # pictures at every look


def go(course: Course, stage: str, minutes: float) -> None:
    """Runs one stage to its end, unless it has already come there."""
    mark = course.folder / stage / "ended"
    if mark.exists() and stage not in AGAIN:
        return
    match stage:
        case "data":
            prepare(course)
        case "ab":
            compare(course, minutes)
        case _:
            train(course, stage, minutes)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def prepare(course: Course) -> None:
    course.tell(f"data: {course.recipe.scenes} scenes, {course.recipe.side} pixels wide")
    for renders in (course.held_out, course.renders):
        renders.make(course.recipe.device)
    text.build(course.folder / "tokenizer")


def compare(course: Course, minutes: float) -> None:
    course.latents.make(course.recipe.device)
    plan = course.recipe.comparison(minutes, len(CANDIDATES))
    figures = {}
    for name in CANDIDATES:
        folder = course.folder / "ab" / name.replace(" ", "-")
        in_processes(course, "ab", folder, plan, choice=name)
        figures[name] = comparison.last_line(folder)
    comparison.write(course.folder / "ab", figures)
    course.tell(f"ab: {comparison.best(figures)!r} is chosen")


def train(course: Course, stage: str, minutes: float) -> None:
    if stage == "unet":
        course.latents.make(course.recipe.device)
    in_processes(course, stage, course.folder / stage, course.recipe.plan(stage, minutes))


def in_processes(course: Course, stage: str, folder: Path, plan: Plan, choice: str = "") -> None:
    if course.recipe.workers == 1:
        work(Alone(), course, stage, folder, plan, choice)
    else:
        together(work, MOST_PARAMETERS, course, stage, folder, plan, choice)


def work(team: Team, course: Course, stage: str, folder: Path, plan: Plan, choice: str) -> None:
    loop.run(stage_of(course, stage, choice), plan, folder, team, course.tell)


def stage_of(course: Course, name: str, choice: str = "") -> Stage:
    """choice: of the noise schedule, while they are compared."""
    recipe, batch = course.recipe, course.recipe.batches.get(name, 0)
    match name:
        case "vae":
            return Autoencoder(recipe.networks, course.renders, course.held_out, batch, recipe.device)
        case "decoder":
            return Autoencoder(recipe.networks, course.renders, course.held_out, batch, recipe.device, course.trained("vae", "vae"))
        case "judge":
            return Judging(course.renders, course.held_out, batch, recipe.device, course.vae())
        case "depth":
            return Depth(course.renders, course.held_out, batch, recipe.device)
        case "text":
            return Wording(recipe.networks, course.renders, course.held_out, course.tokenizer(), batch, recipe.device)
        case "ab":
            return compared(course, choice)
        case "unet":
            return whole(course)
        case _ if name in STYLES:
            return styled(course, name)
    raise ValueError(name)


def whole(course: Course) -> Denoiser:
    recipe, alphas = course.recipe, CANDIDATES[chosen(course.folder / "ab")]()
    look = Look(course.judge(), few(course), few(course))
    parts = (recipe.networks, course.latents, course.vae(), course.tokenizer())
    return Denoiser("unet", *parts, alphas, recipe.batches["unet"], recipe.device, look, begin=worded(course))


def compared(course: Course, choice: str) -> Denoiser:
    """The same small U-Net under each schedule."""
    recipe, look = course.recipe, Look(course.judge(), few(course), strengths=(comparison.LIGHT, comparison.STRONG, comparison.FULL))
    shape = replace(models.SHAPES[recipe.compared_shape], text=recipe.networks.text)
    parts = (shape, course.latents, course.vae(), course.tokenizer())
    return Denoiser(f"ab, {choice}", *parts, CANDIDATES[choice](), recipe.batches["ab"], recipe.device, look, all_tasks=False, begin=worded(course))


def styled(course: Course, name: str) -> Styling:
    recipe, alphas = course.recipe, CANDIDATES[chosen(course.folder / "ab")]()
    unet = models.unet(recipe.networks, side=recipe.side // models.PIXELS)
    unet.load_state_dict(course.trained("unet", "unet"))
    text = models.text_encoder(recipe.networks, len(course.tokenizer()))
    text.load_state_dict(course.trained("unet", "text"))
    parts = (unet, text, course.vae(), course.tokenizer(), course.latents.scale, alphas)
    return Styling(name, STYLES[name], *parts, recipe.batches["style"], recipe.device, course.judge(), recipe.styled)


def worded(course: Course) -> loop.Weights:
    return {name: course.trained("text", name) for name in ("text", "reading")}


def few(course: Course) -> int:
    return min(JUDGED, course.recipe.held_out // 8)
