"""What a word in a prompt may become, over HTTP: the page asks at every pause of typing, and an answer that is no longer wanted is dropped."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from sd_ui.services import Services

LONGEST = 2000  # bytes of a question; the page sends the last words before the caret
UNREAD = "expected JSON: the text before the caret, the name of the box, and the model"


def routes(services: "Services") -> list[Route]:
    async def suggest(request: Request) -> Response:
        asked = await question(request)
        if asked is None:
            return JSONResponse({"detail": UNREAD}, 400)
        answer = await run_in_threadpool(services.writing.suggestions.of, asked["text"], asked["model"], asked["box"] == "negative_prompt")
        return JSONResponse(asdict(answer), headers={"Cache-Control": "no-store"})

    return [Route("/suggestions", suggest, methods=["POST"])]


async def question(request: Request) -> dict[str, Any] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            return None
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and all(isinstance(said.get(name), str) for name in ("text", "model", "box")) else None
