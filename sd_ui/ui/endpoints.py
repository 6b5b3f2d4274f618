"""For scripts: /txt2img, /img2img, /inpaint and /depth2img by gradio_client, with the fields' names as parameters."""

import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from sd_ui.imaging import record
from sd_ui.jobs import foretold
from sd_ui.services import Services
from sd_ui.spec import fields
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Cancelled, Done, Eased, Event, Failed, Loading, Stepped
from sd_ui.spec.fields import FIELDS, IMAGE, INTEGER, NUMBER, SEED, Field
from sd_ui.spec.request import MODES
from sd_ui.ui import pictures, views
from sd_ui.ui.components.pictures import uploaded, value_of
from sd_ui.ui.owner import owner

REHEARSAL = "What a job would take before it is asked for: seconds, memory, and why it would be refused. mode: one of " + ", ".join(MODES)
Said = dict[str, Any]
HINTS: dict[str, Any] = {INTEGER: int, NUMBER: float, IMAGE: dict}  # everything else is text; a seed, too: JSON readers blur large numbers


def offer(services: Services) -> None:
    for mode in MODES:
        about = f"{views.MODES[mode]}. " + " ".join(f"{field.name}: {field.help}" for field in fields.of_mode(mode))
        gr.api(endpoint(services, mode), api_name=mode, api_description=about)
    gr.api(rehearsal(services), api_name="preflight", api_description=REHEARSAL)


def endpoint(services: Services, mode: str) -> Callable[..., AsyncIterator[Said]]:
    """A function whose signature is the mode's fields."""
    names = [field.name for field in fields.of_mode(mode)]

    async def generate(*given: Any) -> AsyncIterator[Said]:
        *said, request = given
        mine = owner(request)
        try:
            values = {name: value for name, value in zip(names, said, strict=True) if value is not None}
            job, notes = services.intake.submit(mode, files_read(values), mine, services.settings.delivery)
        except BadRequest as wrong:
            raise gr.Error(f"{wrong.field}: {wrong.why}", print_exception=False) from None
        yield {"state": "waiting", "job": job.id, "notes": list(notes)}
        async for event in services.bus.follow(job.id):
            if told := of_event(services, mine, event):
                yield {"job": job.id, "notes": list(notes)} | told

    generate.__name__ = generate.__qualname__ = mode
    generate.__signature__ = signature(mode)  # type: ignore[attr-defined]
    generate.__annotations__ = {name: parameter.annotation for name, parameter in signature(mode).parameters.items()} | {"return": dict}
    return generate


def rehearsal(services: Services) -> Callable[..., Said]:
    """Answers at once what a job would cost, and whether it would be refused; pictures are not asked for."""
    asked = [field for field in FIELDS.values() if field.kind != IMAGE]

    def preflight(mode: str, *given: Any) -> Said:
        values = {field.name: value for field, value in zip(asked, given, strict=False) if value is not None and mode in field.modes}
        return foretold.plain(services.foresight.preflight.of_form(mode, values, services.settings.delivery))

    first = inspect.Parameter("mode", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str, default=MODES[0])
    parameters = [first, *map(parameter, asked)]
    preflight.__signature__ = inspect.Signature(parameters, return_annotation=dict)  # type: ignore[attr-defined]
    preflight.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": dict}
    return preflight


def signature(mode: str) -> inspect.Signature:
    asked = [parameter(field) for field in fields.of_mode(mode)]
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=None)
    return inspect.Signature([*asked, request], return_annotation=dict)


def parameter(field: Field) -> inspect.Parameter:
    """Each has a default, so that the order of the fields can stay: what is missing is said at the door."""
    default = str(field.default) if field.kind == SEED else field.default
    return inspect.Parameter(field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HINTS.get(field.kind, str), default=default)


def files_read(values: Said) -> Said:
    """gradio_client's uploaded files as bytes."""
    return values | {name: file_of(name, value) for name, value in values.items() if FIELDS[name].kind == IMAGE}


def file_of(name: str, value: Any) -> bytes:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise BadRequest(name, "is not a file; wrap its path in gradio_client.handle_file")
    return uploaded(value["path"], name)


def of_event(services: Services, mine: str, event: Event) -> Said | None:
    match event:
        case Loading(what):
            return {"state": "loading", "text": what}
        case Eased(text):
            return {"state": "eased", "text": text}
        case Stepped():
            return {"state": "running", **views.progress(event)}
        case Done(ids, notes):
            return finished(services, mine, ids) | ({"notes": list(notes)} if notes else {})
        case Failed(reason):
            raise gr.Error(reason, print_exception=False)
        case Cancelled():
            raise gr.Error("cancelled", print_exception=False)
    return None


def finished(services: Services, mine: str, ids: tuple[str, ...]) -> Said:
    """The files as they were saved; gradio_client fetches them."""
    kept = [picture for id in ids if (picture := services.gallery.get(id, mine))]
    read = [pictures.metadata(services, mine, picture.id) for picture in kept]
    records = [json.loads(record.to_json(found.record)) if found and found.record else None for found in read]
    return {
        "state": "done",
        "files": [file_value(value_of(services.gallery.file(picture))) for picture in kept],
        "record": records,
        "seed": [str(picture.seed) for picture in kept],
        "infotext": [found.infotext if found else "" for found in read],
    }


def file_value(value: Said) -> Said:
    return {"path": value["path"], "url": None, "orig_name": value["path"].rsplit("/", 1)[-1], "meta": {"_type": "gradio.FileData"}}
