"""The pictures that lie beside models, small, over HTTP: by the models' names in the index, never by a path."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sd_ui.api.pictures import HEADERS, Thumbs, missing
from sd_ui.imaging.files import DAMAGED

if TYPE_CHECKING:
    from sd_ui.services import Services

CACHED = {"Cache-Control": "private, max-age=300"}  # a person may put another picture there


def routes(services: "Services") -> list[Route]:
    """A plain function: Starlette runs it in a thread, for it reads a file."""
    thumbs = Thumbs(services.settings.outputs_dir / ".models" / "previews")

    def preview(request: Request) -> Response:
        card = services.models.cards().get(request.path_params["name"])
        path = card.beside.preview if card else None
        try:
            if path is None or path.is_symlink() or path.stat().st_size > services.limits.input_bytes:
                return missing()
            return Response(thumbs.of(version(path), path), media_type="image/jpeg", headers=HEADERS | CACHED)
        except (*DAMAGED, Image.DecompressionBombWarning):
            return missing()

    return [Route("/previews/{name:path}", preview)]


def version(path: Path) -> str:
    """Another one for each picture that ever lay there."""
    status = path.stat()
    return sha256(f"{path} {status.st_size} {status.st_mtime_ns}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
