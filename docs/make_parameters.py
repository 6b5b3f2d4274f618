"""Writes docs/parameters.md from the table of settings: python docs/make_parameters.py"""

import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "parameters.md"
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.spec.cards import Defaults  # noqa: E402
from sd_ui.spec.fields import CHOICE, FIELDS, IMAGE, NAMES, TEXT, Field, default  # noqa: E402
from sd_ui.spec.request import MODES  # noqa: E402
from sd_ui.spec.samplers import SAMPLERS  # noqa: E402
from sd_ui.spec.values import allowed  # noqa: E402

OF_MODELS = [f.name for f in dataclasses.fields(Defaults)]
HEAD = """# Parameters
Made from `sd_ui/spec/fields.py` by `python docs/make_parameters.py`; a test compares. The page's widgets, the flags of `python -m sd_ui generate`
(`cfg_scale` is `--cfg-scale` there) and the parameters of the named endpoints go by these names, and a refusal names them.

"The model's own" default comes from its card in `presets/models/`; the value in brackets holds where the card says nothing.
A server may allow less than the range (`--max-steps`, `--max-pixels`, `--max-batch`); the message says how much.
"""


def page() -> str:
    return "\n".join([HEAD, *map(section, FIELDS.values()), samplers()])


def section(field: Field) -> str:
    modes = "all modes" if field.modes == MODES else ", ".join(field.modes)
    lines = [
        f"## {field.label}",
        f"`{field.name}`, {modes}",
        "",
        field.help,
        "",
        f"- Allowed: {range_of(field)}",
        f"- Default: {default_of(field)}",
        "",
    ]
    return "\n".join(lines)


def range_of(field: Field) -> str:
    if field.kind == IMAGE:
        return "a picture (PNG, JPEG, WebP and what else Pillow reads without starting another program)"
    if field.kind == CHOICE:
        return ", ".join(field.choices) or "a name from the models folder (`python -m sd_ui models` lists them)"
    return allowed(field) + (f"; the slider shows {field.slider[0]:g} to {field.slider[1]:g}" if field.slider else "")


def default_of(field: Field) -> str:
    if field.kind == IMAGE:
        return "none" if field.optional else "none: it must be given"
    if field.name == "model":
        return "the embedded model"
    if field.name in OF_MODELS:
        return f"the model's own ({default(field.name) or 'empty'})"
    return "empty" if field.kind in (TEXT, NAMES) else str(field.default)


def samplers() -> str:
    rows = [
        f"| {name} | {', '.join(facts.schedules)} | {facts.automatic} | {'yes' if facts.fresh_noise else 'no'} |" for name, facts in SAMPLERS.items()
    ]
    head = ["## Samplers and their schedules", "| sampler | schedules | Automatic is | adds fresh noise at each step |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
