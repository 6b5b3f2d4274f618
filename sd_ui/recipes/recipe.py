"""What a picture's text says of how it was made, in our own words, whichever program wrote it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sd_ui.recipes import data
from sd_ui.spec import values as spec_values
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import CHOICE, FIELDS, INTEGER, NUMBER, SEED, TEXT
from sd_ui.spec.request import MODES
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS

MOST = 200  # facts and notes of one recipe
FORBIDDEN = str.maketrans("", "", "<>:\n\r")  # which a LoRA's tag cannot have in its name
TOO_MUCH = "It holds more than is shown here."
OF_EVERY_RECIPE = ("prompt", "negative_prompt", "model", "seed", "batch_count")


@dataclass(frozen=True)
class Recipe:
    """program: who wrote it. mode: the tab it belongs to, as far as it tells. values: by the names of `spec.fields`, each within its range.

    others: what was not understood or has nothing like it here, by the program's own names. notes: why the picture may come out differently.
    hashes: lower-case hex by "model", "vae", "refiner" and "lora:<name>", however short. text: all of it, as it stood in the file.
    """

    program: str
    mode: str = "txt2img"
    values: dict[str, Any] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    text: str = ""


class Draft:
    """A recipe while it is being read. What it is told is checked as the door checks it; what does not pass is kept among the others."""

    def __init__(self, program: str, text: str = "") -> None:
        self.program, self.text = program, text
        self.values: dict[str, Any] = {}
        self.others: dict[str, str] = {}
        self.notes: list[str] = []
        self.hashes: dict[str, str] = {}
        self._worn: list[str] = []

    def take(self, name: str, value: Any, said: str = "") -> bool:
        """A field's value. said: what the program calls it. Whether it could be used; None and "" say nothing."""
        if value is None or (value == "" and FIELDS[name].kind != TEXT):
            return False
        found = _checked(name, value)
        if found is None:
            self.other(said or FIELDS[name].label, value)
            return False
        self.values[name] = found
        return True

    def other(self, key: str, value: Any) -> None:
        if value in (None, "", [], {}):
            return
        if len(self.others) < MOST:
            self.others[data.shown(key)] = data.shown(value)
        else:
            self.note(TOO_MUCH)

    def rest(self, found: dict[str, Any], known: Iterable[str]) -> None:
        """Keeps what a program said besides what was understood."""
        understood = set(known)
        for key, value in islice(found.items(), 2 * MOST):
            if key not in understood:
                self.other(key, value)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes and len(self.notes) < MOST:
            self.notes.append(sentence)

    def sample(self, sampler: str, schedule: str, said: Any, said_schedule: Any = None) -> None:
        """Our names, "" where there are none; said: the program's. A schedule that does not go with the sampler becomes Automatic, with a note."""
        if not sampler:
            self.other("Sampler", said)
            return self.other("Schedule", said_schedule)
        fits = schedule in (AUTOMATIC, *SAMPLERS[sampler].schedules)
        if said_schedule and not fits:
            self.note(f"The schedule {data.shown(said_schedule)} does not go with {sampler} here, so that is Automatic.")
        self.values |= {"sampler": sampler, "schedule": schedule if fits else AUTOMATIC}

    def model(self, name: Any, sha256: Any = "", kind: str = "model") -> None:
        """kind: "model", "vae" or "refiner"."""
        self.take(kind, data.stem(name))
        self.hash(kind, sha256)

    def hash(self, what: str, said: Any) -> None:
        digits = data.words(said).strip().lower().removeprefix("0x").removeprefix("sha256:")
        if 8 <= len(digits) <= 64 and all(c in "0123456789abcdef" for c in digits):
            self.hashes[what] = digits

    def wear(self, name: Any, unet: Any = 1.0, text: Any = None, sha256: Any = "") -> None:
        """A LoRA becomes a tag at the end of the prompt. text: the text encoder's weight, where it is another."""
        called = data.stem(name).translate(FORBIDDEN).strip()
        if not called or called.lower() == "none":
            return
        weight = data.number(unet, 1.0)
        for_text = data.number(text, weight)
        both = plain(weight) if for_text == weight else f"{plain(for_text)}:{plain(weight)}"
        if len(self._worn) < MOST:
            self._worn.append(f"<lora:{called}:{both}>")
            self.hash(f"lora:{called}", sha256)

    def made(self, mode: str = "txt2img") -> Recipe:
        values = (usual() if "steps" in self.values else {}) | self.values
        if self._worn:
            prompt = values.get("prompt", "")
            tags = [tag for tag in self._worn if tag not in prompt]
            apart = "\n" if "#" in prompt.rsplit("\n", 1)[-1] else " "  # behind a # it would be part of the comment
            values["prompt"] = apart.join(filter(None, (prompt, " ".join(tags))))
        return Recipe(self.program, mode, values, self.others, tuple(self.notes), self.hashes, self.text)


def usual() -> dict[str, Any]:
    """What a recipe means by what it leaves out: settings that do nothing. Those that every recipe has are not among them."""
    said = [row for row in FIELDS.values() if row.modes == MODES and row.default is not None and row.name not in OF_EVERY_RECIPE]
    return {"clip_skip": 1, "vae": AUTOMATIC} | {row.name: list(row.default) if isinstance(row.default, tuple) else row.default for row in said}


def understood(recipe: Recipe) -> str:
    """What will stand in the form, a line for each field, without what does nothing."""
    nothing = usual()
    said = [(row, recipe.values[name]) for name, row in FIELDS.items() if name in recipe.values and recipe.values[name] != nothing.get(name)]
    lines = [f"{row.label}: {value if row.kind == TEXT else data.shown(value)}" for row, value in said if value != ""]
    return "\n".join([f"{recipe.program or 'A text'}, for {recipe.mode}", *lines])


def left_over(recipe: Recipe) -> str:
    """What will not, and why the picture may come out differently; "" where that is all."""
    return "\n".join([*recipe.notes, *(f"{key}: {value}" for key, value in recipe.others.items())])


def plain(value: float) -> str:
    """A weight as a decimal that every reader takes: no exponent."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _checked(name: str, value: Any) -> Any:
    """The value as the field's type and within its range, or None."""
    row = FIELDS[name]
    try:
        match row.kind:
            case kind if kind == TEXT:
                text = data.words(value)
                return text if isinstance(value, str) and len(text) <= (row.high or math.inf) else None
            case kind if kind == CHOICE:
                text = data.words(value).strip()
                return {choice.casefold(): choice for choice in row.choices}.get(text.casefold()) if row.choices else text or None
            case kind if kind == NUMBER:
                return spec_values.within(row, spec_values.number(row, value), value)
            case kind if kind in (INTEGER, SEED):
                return spec_values.within(row, spec_values.whole(row, value), value)
    except BadRequest:
        pass
    return None
