"""Pictures on their way into a request and back: uploads, own results, and the input pictures of an earlier request."""

from typing import Any

from PIL import Image

from sd_ui.imaging import record
from sd_ui.imaging.record import Metadata
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import Record
from sd_ui.spec.request import images_of
from sd_ui.ui.components.pictures import Given, as_paint, painted, uploaded, value_of

OUTPAINT = ("outpaint_left", "outpaint_right", "outpaint_top", "outpaint_bottom")


def taken(services: Services, owner: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values with what the page's components gave as bytes and pictures. A mask canvas gives both picture and mask."""
    given = {name: value for name, value in values.items() if isinstance(value, Given)}
    grows = any(values.get(name) for name in OUTPAINT)  # then what is new is the mask
    pictures: dict[str, bytes | Image.Image] = {name: read(services, owner, name, value) for name, value in given.items()}
    for value in given.values():
        if value.mask or (value.mask is not None and not grows):
            pictures["mask"] = painted(value.mask)
    return values | pictures


def read(services: Services, owner: str, field: str, given: Given) -> bytes:
    """An own result, or an upload. Raises BadRequest."""
    if not given.picture:
        return uploaded(given.path, field)
    picture = services.gallery.get(given.picture, owner)
    if picture is None:
        raise BadRequest(field, "is no longer there; choose another picture")
    return services.gallery.file(picture).read_bytes()


def metadata(services: Services, owner: str, picture_id: str) -> Metadata | None:
    """What one of the owner's pictures remembers of how it was made."""
    picture = services.gallery.get(picture_id, owner)
    return None if picture is None else record.read(services.gallery.file(picture).read_bytes())


def inputs(services: Services, owner: str, made: Record) -> dict[str, Any]:
    """The input pictures of an earlier request, as values of the components, by field.

    Only if it was the owner's own job: a record from elsewhere may name pictures by their content, but not fetch those of others.
    """
    job = services.queue.get(made.job, owner)
    if job is None or job.request != made.request:
        return {}
    refs = {name: ref for name, ref in images_of(made.request).items() if services.blobs.path(ref).is_file()}
    path = services.blobs.path
    if "mask" in refs:
        return {"init": value_of(path(refs["init"]), as_paint(services.blobs.open(refs["mask"])))} if "init" in refs else {}
    return {name: value_of(path(ref)) for name, ref in refs.items()}


def infotext(services: Services, owner: str, picture_id: str) -> str:
    """The parameters of one of the owner's pictures, as its file says them."""
    found = metadata(services, owner, picture_id)
    return found.infotext if found else ""
