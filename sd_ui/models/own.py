"""What the people of this server say of their models: a star, notes, and settings of their own. A small TOML file each, as the presets are."""

import hashlib
import json
import logging
import re
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sd_ui import durable
from sd_ui.models import presets
from sd_ui.spec import families
from sd_ui.spec import limits as door
from sd_ui.spec import values as spec_values
from sd_ui.spec.cards import Defaults, ModelCard, Own
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, INTEGER, NUMBER, TEXT
from sd_ui.spec.limits import Limits
from sd_ui.spec.request import Sampling
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS

LONGEST_NOTES = 10_000  # characters
NOTHING = Own()
log = logging.getLogger(__name__)


class OwnPresets:
    """folder: of *.toml, made when something is first said; None: nothing is known, and nothing can be said. By the models' names in the index."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # of two people who say something about the same model, the later one is right as a whole

    def read(self) -> dict[str, Own]:
        """A file that makes no sense is left out and stays as it is; the log says why."""
        found: dict[str, Own] = {}
        for path in sorted(self._folder.glob("*.toml")) if self._folder else ():
            try:
                name, own = parsed(path.read_text(encoding="utf-8"))
                found[name] = own
            except (OSError, ValueError) as error:
                log.warning("%s is not used: %s", path.name, error)
        return found

    def write(self, name: str, own: Own) -> None:
        """Raises BadRequest where there is no place for it, or it cannot be written."""
        if self._folder is None:
            raise BadRequest("model", "cannot be described: this program keeps no settings of models")
        path = self._folder / file_name(name)
        try:
            with self._lock:
                if own == NOTHING:
                    path.unlink(missing_ok=True)
                    return
                durable.write(path, written(name, own).encode())
        except OSError as error:
            raise BadRequest("model", f"cannot be described: {path.name} cannot be written ({error.strerror})") from error


# ---------------------------------------------------------------- the file
def file_name(model: str) -> str:
    """Readable, and of its own for each model on every file system."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", model.rsplit("/", 1)[-1]).strip("._")[:60] or "model"
    return f"{readable}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}.toml"


def written(name: str, own: Own) -> str:
    rows = [f"model = {_value(name)}"]
    rows += ["starred = true"] if own.starred else []
    rows += [f"notes = {_value(own.notes)}"] if own.notes else []
    rows += ["", "[defaults]"] if own.defaults else []
    return "\n".join([*rows, *(f"{field} = {_value(value)}" for field, value in own.defaults.items())]) + "\n"


def parsed(text: str) -> tuple[str, Own]:
    """The model's name, and what is said of it. Raises ValueError that names the entry."""
    data = tomllib.loads(text)
    if unknown := data.keys() - {"model", "starred", "notes", "defaults"}:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    name, starred, notes = data.get("model"), data.get("starred", False), data.get("notes", "")
    if not isinstance(name, str) or not isinstance(starred, bool) or not isinstance(notes, str):
        raise ValueError("model and notes must be text, starred true or false")
    return name, Own(starred, notes[:LONGEST_NOTES], presets.checked(data.get("defaults", {})))


def _value(value: Any) -> str:
    """TOML's texts are JSON's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------- what it means
def applied(card: ModelCard, own: Own | None) -> ModelCard:
    if own is None:
        return card
    return replace(card, own=own, defaults=replace(card.defaults, **own.defaults))


def said(card: ModelCard, values: Mapping[str, Any], cards: Mapping[str, ModelCard], limits: Limits) -> dict[str, Any]:
    """The defaults that somebody entered: those that differ from the usual ones of `card`. "" and None are the usual one.

    Raises BadRequest that names the field and its range.
    """
    usual, notes = card.defaults, list[str]()
    values = {name: value for name, value in values.items() if spec_values.given(value)}
    if strangers := sorted(values.keys() - vars(usual).keys()):
        raise BadRequest(spec_values.printable(strangers[0]), spec_values.unknown(strangers[0], vars(usual)))
    fields = [FIELDS[name] for name in vars(usual) if FIELDS[name].kind in (INTEGER, NUMBER, TEXT)]
    found = {field.name: spec_values.read(field, values.get(field.name), usual, notes) for field in fields}
    found["width"], found["height"] = door.size(found, limits, notes, families.step(card))
    if found["steps"] > limits.steps:
        raise BadRequest("steps", f"{found['steps']} is more than this server allows (1 to {limits.steps})")
    found |= _sampling(card, values) | {"vae": _vae(card, values.get("vae"), cards)}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def _sampling(card: ModelCard, values: Mapping[str, Any]) -> dict[str, str]:
    """Another sampler than the usual one comes with its own usual schedule."""
    usual = card.defaults
    sampler = spec_values.choice("sampler", values.get("sampler"), usual.sampler)
    schedule = spec_values.choice("schedule", values.get("schedule"), usual.schedule if sampler == usual.sampler else AUTOMATIC)
    fitting = (AUTOMATIC, *SAMPLERS[sampler].schedules)
    if schedule not in fitting:
        raise BadRequest("schedule", f"{schedule} does not go with {sampler}, which goes with {', '.join(fitting)}")
    families.check_sampling(card, Sampling(sampler, schedule))
    return {"sampler": sampler, "schedule": schedule}


def _vae(card: ModelCard, value: Any, cards: Mapping[str, ModelCard]) -> str:
    return door.choose_vae(card, card.defaults.vae if value is None else value, cards)


def noted(value: Any) -> str:
    """Raises BadRequest("notes")."""
    field = replace(FIELDS["prompt"], name="notes", label="Notes", high=LONGEST_NOTES)
    return str(spec_values.read(field, value or "", Defaults(), [])).strip()
