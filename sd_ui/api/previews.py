"""The pictures that lie beside models, small, over HTTP: by the models' names in the index, never by a path."""

from typing import TYPE_CHECKING

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sd_ui.api.pictures import HEADERS, missing, small
from sd_ui.imaging.files import DAMAGED

if TYPE_CHECKING:
    from sd_ui.services import Services

CACHED = {"Cache-Control": "private, max-age=300"}  # a person may put another picture there


def routes(services: "Services") -> list[Route]:
    """A plain function: Starlette runs it in a thread, for it reads a file."""

    def preview(request: Request) -> Response:
        card = services.models.cards().get(request.path_params["name"])
        path = card.lora.preview if card and card.lora else None
        try:
            return missing() if path is None else Response(small(path), media_type="image/jpeg", headers=HEADERS | CACHED)
        except (*DAMAGED, Image.DecompressionBombWarning):
            return missing()

    return [Route("/previews/{name:path}", preview)]
