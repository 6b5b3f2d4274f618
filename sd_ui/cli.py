"""The command line: serve, generate, models, info, doctor. Flags of a request are drawn from spec.fields, those of the server from settings."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sd_ui import settings as server
from sd_ui.settings import Settings, SettingsError
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import CHOICE, FIELDS, IMAGE, Field
from sd_ui.spec.request import MODES
from sd_ui.spec.values import allowed

OK, FAILED, BAD_INPUT = 0, 1, 2
ENGINE_SETTINGS = (
    "models_dir", "wildcards_dir", "styles_file", "outputs_dir", "device", "dtype", "model_memory_mb", "highvram", "medvram", "lowvram",
    "vram_budget", "fp8", "log_level",
)  # fmt: skip
DRAW_SETTINGS = (*ENGINE_SETTINGS, "max_steps", "max_pixels", "max_batch", "max_upload_mb", "format")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """The exit code: 0, 1 where something failed, 2 for bad input."""
    given = parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        settings = server.resolved(vars(given), environ)
        for missing in settings.missing:
            print(missing, file=sys.stderr)
        command: Callable[[argparse.Namespace, Settings], int] = given.command
        return command(given, settings)
    except (BadRequest, SettingsError) as error:
        return told(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return told("stopped", FAILED)
    except (OSError, RuntimeError, MemoryError) as error:  # a full disk, a folder in use, a card out of memory
        return told(str(error) or type(error).__name__, FAILED)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m sd_ui", description="SD UI: Stable Diffusion in the browser and on the command line.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "serve", serve, "Start the page.", tuple(server.ROWS))
    generate_flags(add_command(commands, "generate", generate, "Draw pictures here and now, without page and queue.", DRAW_SETTINGS))
    listing = add_command(
        commands, "models", models, "List the models, what they can do, and why some cannot be used.", ("models_dir", "outputs_dir")
    )
    listing.add_argument("--json", action="store_true", help="As JSON.")
    getting = listing.add_subparsers(metavar="[get]", help="Fetch a model from Hugging Face: models get --help")
    get_flags(add_command(getting, "get", get, "Fetch a model from Hugging Face into the models folder.", ("models_dir",)))
    info_flags(add_command(commands, "info", info, "Print what a picture remembers of how it was made.", ()))
    checking = add_command(commands, "doctor", doctor, "Say what this installation can do, what is missing, and how to get it.", ENGINE_SETTINGS)
    checking.add_argument("--json", action="store_true", help="As JSON.")
    return top


def add_command(commands: Any, name: str, run: Callable[..., int], help: str, settings: Sequence[str]) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    command.set_defaults(command=run)
    if settings:
        server.add_flags(command, settings)
    return command


def generate_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mode", choices=MODES, default=MODES[0], help="Where to start from (default: %(default)s).")
    for field in FIELDS.values():
        command.add_argument(flag(field), dest=f"field_{field.name}", metavar=metavar(field), default=argparse.SUPPRESS, help=field_help(field))
    command.add_argument("--output", type=Path, metavar="DIR", help="Folder of the pictures (default: today's, in the outputs folder).")
    command.add_argument("--quality", type=int, default=92, metavar="NUMBER", help="Of JPEG and WebP, 1 to 100 (default: %(default)s).")
    command.add_argument("--dry-run", action="store_true", help="Draw nothing: only say how long it would take here, and what would be wrong.")
    command.add_argument("--json", action="store_true", help="Print one JSON object with the files and their records.")


def get_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="owner/name, owner/name/file.safetensors, or the address of its page.")
    command.add_argument("--revision", default="", metavar="NAME", help="Branch, tag or commit (default: what is there now).")
    command.add_argument("--plan", action="store_true", help="Only say what would be fetched.")


def info_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="A PNG, JPEG or WebP.")
    command.add_argument("--json", action="store_true", help="As JSON.")


def flag(field: Field) -> str:
    return "--" + field.name.replace("_", "-")


def metavar(field: Field) -> str:
    return "FILE" if field.kind == IMAGE else {"integer": "NUMBER", "number": "NUMBER", "seed": "NUMBER"}.get(field.kind, "TEXT")


def field_help(field: Field) -> str:
    where = "" if field.modes == MODES else f" ({', '.join(field.modes)})"
    return f"{field.help}{field_range(field)}{field_default(field)}{where}".replace("%", "%%")


def field_range(field: Field) -> str:
    if field.kind in (CHOICE, IMAGE):
        return f" One of: {', '.join(field.choices)}." if field.choices else ""
    return f" Allowed: {allowed(field)}."


def field_default(field: Field) -> str:
    if field.name in Defaults.__dataclass_fields__:
        return " Default: the model's own."
    return "" if field.default in (None, "", ()) else f" Default: {field.default}."


# ---------------------------------------------------------------- commands
def serve(given: argparse.Namespace, settings: Settings) -> int:
    from sd_ui.serve import serve

    return serve(settings)


def generate(given: argparse.Namespace, settings: Settings) -> int:
    from sd_ui.draw import draw

    server.set_log_level(settings.log_level)
    values = {name.removeprefix("field_"): value for name, value in vars(given).items() if name.startswith("field_")}
    if given.dry_run:
        return dry_run(given, settings, values)
    drawn = draw(settings, given.mode, values, given.output, given.quality)
    if given.json:
        print(json.dumps(drawn.as_json(), ensure_ascii=False))
    else:
        print(*drawn.files, sep="\n")
        print(*drawn.notes, sep="\n", end="\n" if drawn.notes else "", file=sys.stderr)
    return OK


def dry_run(given: argparse.Namespace, settings: Settings, values: dict[str, Any]) -> int:
    from sd_ui.draw import rehearsed

    said = rehearsed(settings, given.mode, values)
    if given.json:
        print(json.dumps(said, ensure_ascii=False))
    else:
        lines = [f"{line['severity']}: {line['text']}" + (f" ({line['field']})" if line["field"] else "") for line in said["lines"]]
        print(*filter(None, [said["text"], *lines]), sep="\n")
    return BAD_INPUT if said["refused"] else OK


def models(given: argparse.Namespace, settings: Settings) -> int:
    from sd_ui.services import open_models

    found = open_models(settings)
    rows = [(card, found.hashes.known(card.path)) for card in found.cards().values()]
    if given.json:
        print(json.dumps([as_row(card, sha256) for card, sha256 in rows], ensure_ascii=False, indent=2))
    else:
        for c, sha256 in rows:
            kind, star = c.lora.method if c.lora else c.kind, "★ " if c.own.starred else ""
            short = f"  [{sha256[:10]}]" if sha256 else ""  # as A1111 and Civitai write it
            facts = ", ".join(filter(None, [kind, c.family, c.stored if c.kind == "checkpoint" else ""]))
            print(f"{star}{c.name}{short}  ({facts}, {c.size / 1e6:.0f} MB): {does(c)}")
    return OK


def get(given: argparse.Namespace, settings: Settings) -> int:
    """Ctrl+C stops it; the same command goes on where it was."""
    from sd_ui.hub.console import get
    from sd_ui.services import open_fetcher

    return get(open_fetcher(settings), given.model, given.revision, given.plan)


def as_row(card: ModelCard, sha256: str) -> dict[str, Any]:
    """sha256: "" where it is not known yet; a server that runs finds it out."""
    facts: dict[str, Any] = {"name": card.name, "kind": card.kind, "family": card.family, "modes": card.modes, "about": card.about}
    facts |= {"stored": card.stored, "bytes": card.size}
    own = {"method": card.lora.method, "rank": card.lora.rank, "triggers": card.triggers} if card.lora else {}
    said = {"title": card.beside.title, "base": card.beside.base, "starred": card.own.starred, "notes": card.own.notes, "sha256": sha256}
    usual = {"defaults": vars(card.defaults)} if card.kind == "checkpoint" else {}
    preview = str(card.beside.preview) if card.beside.preview else ""
    return facts | own | said | usual | {"path": str(card.path), "preview": preview, "fault": card.fault}


def does(card: ModelCard) -> str:
    if card.fault:
        return f"cannot be used: {card.fault}"
    if card.lora:
        return f"<lora:{card.name}:1>" + (f" with words such as {', '.join(card.triggers[:5])}" if card.triggers else "")
    return ", ".join(card.modes) or card.kind


def info(given: argparse.Namespace, settings: Settings) -> int:
    from sd_ui.imaging import files, record
    from sd_ui.recipes.read import read
    from sd_ui.recipes.recipe import left_over, understood
    from sd_ui.spec.codec import dump

    found = record.read(files.read(given.file, "file"), "file")
    recipe, made = read(found.texts), dump(found.record) if found.record else None
    if given.json:
        told = recipe and {name: value for name, value in vars(recipe).items() if name != "text"}
        print(json.dumps({"infotext": found.infotext, "record": made, "recipe": told, "fault": found.fault}, ensure_ascii=False))
    elif not recipe and not made:
        print(found.fault or "This picture says nothing about how it was made.")
    else:
        parts = [found.infotext or (recipe.text if recipe else ""), understood(recipe) if recipe else "", left_over(recipe) if recipe else ""]
        print(*(part.strip("\n") for part in (*parts, json.dumps(made, ensure_ascii=False, indent=2) if made else found.fault) if part), sep="\n\n")
    return OK


def doctor(given: argparse.Namespace, settings: Settings) -> int:
    from sd_ui.doctor import findings

    server.set_log_level(settings.log_level)
    found = findings(settings)
    if given.json:
        print(json.dumps({f.name: {"says": f.says, "fault": f.fault, "remedy": f.remedy} for f in found}, ensure_ascii=False, indent=2))
    else:
        for f in found:
            print(f"{'!!' if f.fault else 'ok'} {f.name}: {f.says}" + (f"\n   {f.remedy}" if f.remedy else ""))
    return FAILED if any(f.fault for f in found) else OK


def told(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
