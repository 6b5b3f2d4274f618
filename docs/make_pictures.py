"""Draws the pictures of docs/prompting.md and docs/samplers.md with the model in the box and the app's own engine: python docs/make_pictures.py

Names after it, such as weights or steps, draw only those. Each is a strip of small pictures that differ in one thing, with what differs below.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.prompt.lists import WildcardFiles  # noqa: E402
from sd_ui.prompt.wording import Wording  # noqa: E402
from sd_ui.spec.request import GenerationRequest, Guidance, Noise, Sampling  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
WORDING = Wording((ROOT / "presets" / "styles",), WildcardFiles((ROOT / "presets" / "wildcards",)))
BELOW, GAP, LETTERS = 18, 4, 11  # pixels
QUALITY = 82
USUAL = Sampling("DPM++ 2M", "Uniform", 20, 3.0)


@dataclass(frozen=True)
class Shown:
    """One picture of a strip. caption: what is different about it."""

    caption: str
    request: GenerationRequest


@dataclass(frozen=True)
class Strip:
    """columns: pictures beside each other. side: of one in the strip that has 128 pixels itself."""

    shown: tuple[Shown, ...]
    columns: int
    side: int = 128


# ---------------------------------------------------------------- what is asked for
def asked(prompt: str, seed: int = 2, negative: str = "", **more: Any) -> GenerationRequest:
    """more: fields of Sampling, or of the request. With the words that styles and wildcards make of it."""
    sampling = replace(USUAL, **{name: value for name, value in more.items() if name in vars(USUAL)})
    others = {name: value for name, value in more.items() if name not in vars(USUAL)}
    return WORDING.worded(GenerationRequest(prompt, negative, sampling=sampling, seed=seed, **{"width": 128, "height": 128} | others))


def each(values: Sequence[Any], of: Callable[[Any], GenerationRequest], caption: Callable[[Any], str] = str) -> tuple[Shown, ...]:
    return tuple(Shown(caption(value), of(value)) for value in values)


def row(shown: Sequence[Shown]) -> Strip:
    return Strip(tuple(shown), len(shown))


# ---------------------------------------------------------------- prompting
def weights() -> Strip:
    def of(weight: float) -> GenerationRequest:
        return asked(f"a large red (sphere:{2 - weight:g}) (cone:{weight:g}) on a gray floor, under a clear blue sky")

    return row(each((0.4, 0.7, 1.0, 1.3, 1.6), of, lambda weight: f"sphere {2 - weight:g}, cone {weight:g}"))


def editing() -> Strip:
    def of(when: float) -> GenerationRequest:
        return asked(f"a large [red:blue:{when}] cube on a gray floor, under a clear blue sky")

    return row(each((0.0, 0.2, 0.3, 0.5, 0.8), of, lambda when: f"[red:blue:{when}]"))


def alternation() -> Strip:
    words = ("red sphere", "red cube", "red [sphere|cube]", "[red|blue] sphere")
    return row(each(words, lambda word: asked(f"a large {word} on a gray floor, under a clear blue sky")))


def composition() -> Strip:
    def of(weight: float) -> GenerationRequest:
        return asked(
            " AND ".join(f"a large {word} on a gray floor, at sunset :{w:g}" for word, w in (("red cube", 2 - weight), ("blue cube", weight)))
        )

    return row(each((0.0, 0.5, 1.0, 1.5, 2.0), of, lambda weight: f"red {2 - weight:g}, blue {weight:g}"))


def loras() -> Strip:
    def of(weight: float) -> GenerationRequest:
        return asked(f"a large red sphere on a checkered floor, under a clear blue sky <lora:dawn:{weight}>")

    return row(each((0, 0.4, 0.8, 1.2), of, lambda weight: f"<lora:dawn:{weight}>"))


def styles() -> Strip:
    return row(
        each(
            ((), ("At night",)),
            lambda names: asked("a large red sphere on a gray floor", seed=7, styles=names),
            lambda names: "".join(names) or "no style",
        )
    )


def wildcards() -> Strip:
    return row(
        each(
            range(2, 8),
            lambda seed: asked("a large __colour__ {cube|sphere} on a gray floor, {at sunset|at night}", seed),
            lambda seed: f"seed {seed}",
        )
    )


# ---------------------------------------------------------------- samplers
SCENE = "a large shiny red sphere on a checkered floor, at sunset"


def steps() -> Strip:
    names, counts = ("Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "UniPC"), (2, 4, 8, 16, 32)
    shown = (Shown(f"{name}, {count} steps", asked(SCENE, sampler=name, schedule="Automatic", steps=count)) for name in names for count in counts)
    return Strip(tuple(shown), len(counts), 112)


def schedules() -> Strip:
    names = ("Uniform", "Karras", "Exponential", "SGM Uniform", "KL Optimal", "Beta")
    return row(each(names, lambda name: asked(SCENE, schedule=name, steps=6)))


def cfg() -> Strip:
    return row(each((1, 2, 3, 5, 8, 12), lambda scale: asked(SCENE, cfg_scale=float(scale)), lambda scale: f"CFG {scale}"))


def guidance() -> Strip:
    ways = {
        "CFG 3": (3.0, Guidance()),
        "CFG 10": (10.0, Guidance()),
        "10, CFG rescale 0.7": (10.0, Guidance(rescale=0.7)),
        "10, stop at 0.5": (10.0, Guidance(stop=0.5)),
        "10, APG, threshold 1": (10.0, Guidance("APG", threshold=1.0)),
    }
    return row([Shown(name, asked(SCENE, cfg_scale=scale, guidance=way)) for name, (scale, way) in ways.items()])


def variation() -> Strip:
    def of(strength: float) -> GenerationRequest:
        return asked("a large red sphere on a gray floor", 7, noise=Noise(variation_seed=4, variation_strength=strength))

    return row(each((0.0, 0.1, 0.2, 0.4, 0.6, 1.0), of, lambda strength: f"strength {strength:g}"))


def sizes() -> Strip:
    asked_for = [(source, *size) for source in ("CPU", "Size-stable") for size in ((128, 128), (144, 128), (160, 128), (128, 160))]

    def of(one: tuple[str, int, int]) -> GenerationRequest:
        return asked("a large red cube on a checkered floor, at sunset", 5, width=one[1], height=one[2], noise=Noise(one[0]))

    return Strip(each(asked_for, of, lambda one: f"{one[0]}, {one[1]} x {one[2]}"), 4)


STRIPS: Mapping[str, Callable[[], Strip]] = {
    strip.__name__: strip
    for strip in (weights, editing, alternation, composition, loras, styles, wildcards, steps, schedules, cfg, guidance, variation, sizes)
}


# ---------------------------------------------------------------- drawing
def drawn(strip: Strip, pictures: Sequence[Image.Image]) -> Image.Image:
    """Row by row, the captions below. Pictures of different sizes stand in the middle of equal cells."""
    side = strip.side / 128
    scaled = [
        image if side == 1 else image.resize((round(image.width * side), round(image.height * side)), Image.Resampling.LANCZOS) for image in pictures
    ]
    across, down = max(image.width for image in scaled) + GAP, max(image.height for image in scaled) + BELOW
    whole = Image.new("RGB", (across * strip.columns - GAP, down * -(-len(scaled) // strip.columns)), "white")
    draw = ImageDraw.Draw(whole)
    for place, (image, shown) in enumerate(zip(scaled, strip.shown, strict=True)):
        left, top = place % strip.columns * across, place // strip.columns * down
        whole.paste(image, (left + (across - GAP - image.width) // 2, top + (down - BELOW - image.height) // 2))
        draw.text((left + (across - GAP) / 2, top + down - BELOW + 2), shown.caption, fill="#222", font_size=LETTERS, anchor="ma")
    return whole


def main(names: Sequence[str]) -> None:
    from docs.make_samples import index, opened, picture  # the engine takes seconds to load, and whoever only asks for names needs none

    FOLDER.mkdir(exist_ok=True)
    with opened(index()) as engine:
        for name in names or STRIPS:
            strip, path = STRIPS[name](), FOLDER / f"{name}.webp"
            drawn(strip, [picture(engine, shown.request) for shown in strip.shown]).save(path, quality=QUALITY, method=6)
            print(f"{path.relative_to(ROOT)}: {len(strip.shown)} pictures, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
