"""Pictures over HTTP: each to its owner alone, whole, small or as a download. For everybody else they do not exist."""

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from sd_ui import durable
from sd_ui.spec.request import ImageRef, images_of

if TYPE_CHECKING:
    from sd_ui.services import Services

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
THUMB_SIDE = 256
SHA256 = re.compile(r"[0-9a-f]{64}")
HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",  # an id is one picture for ever
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Thumbs:
    """Small JPEGs by the ids of their pictures. At most `room` of them are kept; the oldest go first, and are made again when asked for."""

    folder: Path
    room: int = 2000

    def of(self, id: str, picture: Path) -> bytes:
        path = self.folder / f"{id}.jpg"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            data = small(picture)
        self._make_room()
        durable.write(path, data)
        return data

    def _make_room(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = list(self.folder.glob("*.jpg"))
        if len(kept) >= self.room:
            for path in sorted(kept, key=age)[: max(1, self.room // 10)]:
                path.unlink(missing_ok=True)


def routes(services: "Services") -> list[Route]:
    """The guard has put the owner into the request's state. Plain functions: Starlette runs them in threads, for they read files."""
    thumbs = Thumbs(services.settings.outputs_dir / ".thumbs")

    def whole(request: Request) -> Response:
        path = kept(services, request)
        if path is None:
            return missing()
        disposition = {"Content-Disposition": attachment(path.name)} if request.query_params.get("download") == "1" else {}
        return FileResponse(path, media_type=TYPES.get(path.suffix, "application/octet-stream"), headers=HEADERS | disposition)

    def thumb(request: Request) -> Response:
        path = kept(services, request)
        if path is None:
            return missing()
        return Response(thumbs.of(request.path_params["id"], path), media_type="image/jpeg", headers=HEADERS)

    def given(request: Request) -> Response:
        ref = referred(services, owner(request), request.path_params["sha"])
        path = services.blobs.path(ref) if ref else None
        return FileResponse(path, media_type="image/png", headers=HEADERS) if path and path.is_file() else missing()

    return [Route(f"/pictures/{{id}}{end}", call) for end, call in (("", whole), ("/thumb", thumb))] + [Route("/inputs/{sha}", given)]


def kept(services: "Services", request: Request) -> Path | None:
    """The file of a picture that the asking owner has."""
    picture = services.gallery.get(request.path_params["id"], owner(request))
    path = services.gallery.file(picture).resolve() if picture else None
    inside = path and path.is_relative_to(services.settings.outputs_dir.resolve())
    return path if path and inside and path.is_file() else None


def referred(services: "Services", owner: str, sha: str) -> ImageRef | None:
    """An input picture that one of the owner's jobs refers to."""
    if not SHA256.fullmatch(sha):
        return None
    refs = (ref for job in services.queue.jobs(owner, limit=1000) for ref in images_of(job.request).values())
    return next((ref for ref in refs if ref.sha256 == sha), None)


def owner(request: Request) -> str:
    return str(request.state.owner)


def small(picture: Path) -> bytes:
    """At most 256 pixels a side, as JPEG."""
    with Image.open(picture, formats=("PNG", "JPEG", "WEBP")) as image:
        image.draft("RGB", (THUMB_SIDE, THUMB_SIDE))
        image.thumbnail((THUMB_SIDE, THUMB_SIDE), reducing_gap=2.0)
        data = io.BytesIO()
        image.convert("RGB").save(data, "JPEG", quality=80)
    return data.getvalue()


def attachment(name: str) -> str:
    """A name that no file system and no header stumbles over."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[:100] or "picture"
    return f"attachment; filename=\"{safe}\"; filename*=UTF-8''{quote(safe)}"


def missing() -> Response:
    return PlainTextResponse("There is no such picture, or it is somebody else's.", 404, {"Cache-Control": "no-store"})


def age(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:  # another request was faster
        return 0.0
