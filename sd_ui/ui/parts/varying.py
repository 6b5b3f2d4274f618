"""One press on a result makes the next ones: varied, larger, seen from farther away, or further to one side. They are jobs as any other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sd_ui.imaging import files
from sd_ui.imaging.record import Metadata
from sd_ui.services import Services
from sd_ui.spec.errors import BadRequest
from sd_ui.ui import form, pictures, views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts import sending
from sd_ui.ui.parts.queueing import jobs_shown
from sd_ui.ui.parts.submitting import LABELS

HOW_MANY = 4
SUBTLE, STRONG = "subtle", "strong"
NOISE = {SUBTLE: 0.15, STRONG: 0.4}  # how far the seed's noise goes towards another
STRENGTH = {SUBTLE: 0.35, STRONG: 0.6}  # of img2img, where the noise cannot be had again
ZOOM = 1.5
PANS = {"pan_left": "left", "pan_right": "right", "pan_up": "top", "pan_down": "bottom"}
REDRAWN = 0.35  # of an enlarged picture: details, and no new things
ACTS = (SUBTLE, STRONG, "upscale", "zoom_out", *PANS)
GONE = "This picture is no longer there."


@dataclass(frozen=True)
class Asked:
    mode: str
    values: dict[str, Any]


def act(services: Services, layout: Layout, mine: str, picture_id: str, name: str) -> dict[Any, Any]:
    """Submits what a button asks for. name: one of ACTS."""
    picture = services.gallery.get(picture_id, mine)
    found = pictures.metadata(services, mine, picture_id)
    if picture is None or found is None:
        return {layout.message: {"kind": "error", "field": "", "text": GONE}}
    data = services.gallery.file(picture).read_bytes()
    mode, values, notes = sending.said(services, mine, found)
    try:
        by_noise = is_seeds_own(found) and mixes_noise(services, values)
        asked = next_of(name, mode, values, by_noise, data, sending.size_of(picture.width, picture.height, services.limits))
        taken = pictures.taken(services, mine, asked.values)
        _, more = services.intake.submit(asked.mode, taken, mine, services.settings.delivery)
    except BadRequest as wrong:
        return {layout.message: views.wrong(wrong.field, wrong.why, LABELS)}
    return {layout.message: views.noted((*notes, *more)), layout.queue: jobs_shown(services, mine)}


def next_of(name: str, mode: str, values: dict[str, Any], by_noise: bool, data: bytes, size: dict[str, int]) -> Asked:
    """values: of the form, as the picture's text or record says them. by_noise: whether it can be varied by its noise. data: the picture's file.

    size: width and height at which it stays as large as it is. Raises BadRequest.
    """
    shared = {field: value for field, value in values.items() if field in form.SHARED}
    if name in NOISE:
        return varied(name, mode, values, shared | size, by_noise, data)
    image = files.decode(data, "init").image
    if name == "upscale":
        larger = {"width": whole(2 * image.width), "height": whole(2 * image.height), "init": data, "strength": REDRAWN}
        return Asked("img2img", shared | larger)
    if name in PANS:
        across = name in ("pan_left", "pan_right")
        further = {f"outpaint_{PANS[name]}": whole((image.width if across else image.height) / 2)}
        return Asked("inpaint", shared | {"init": image, "strength": 1.0} | further)
    return Asked("inpaint", shared | zoomed_out(image) | {"strength": 1.0})


def varied(name: str, mode: str, values: dict[str, Any], shared: dict[str, Any], by_noise: bool, data: bytes) -> Asked:
    """By noise near its own where that is known and nothing was varied before; else the picture itself is redone a little."""
    if by_noise:
        return Asked(mode, values | {"variation_strength": NOISE[name], "variation_seed": "-1", "batch_count": HOW_MANY})
    redone = {"init": data, "strength": STRENGTH[name], "seed": "-1", "variation_strength": 0.0, "variation_seed": "-1", "batch_count": HOW_MANY}
    return Asked("img2img", shared | redone)


def is_seeds_own(found: Metadata) -> bool:
    """Whether all of the picture comes from its seed and its words."""
    return found.record is not None and found.record.request.source is None and found.record.request.noise.variation_strength == 0


def mixes_noise(services: Services, values: Mapping[str, Any]) -> bool:
    """Whether the model's noise is ours: a pipeline of diffusers draws its own."""
    card = services.models.cards().get(str(values.get("model")))
    return card is None or card.stock is None


def zoomed_out(image: Image.Image) -> dict[str, Any]:
    """The picture made smaller, and what is missing to its size around it."""
    small = image.resize((whole(image.width / ZOOM), whole(image.height / ZOOM)), Image.Resampling.LANCZOS)
    across, down = image.width - small.width, image.height - small.height
    sides = {"left": across // 2, "right": across - across // 2, "top": down // 2, "bottom": down - down // 2}
    return {"init": small} | {f"outpaint_{side}": more for side, more in sides.items()}


def whole(side: float) -> int:
    """A multiple of 8."""
    return max(8, round(side / 8) * 8)
