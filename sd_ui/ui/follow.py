"""Watching jobs. A handler that watches holds no thread and owns nothing: when its tab goes away, the job goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sd_ui.services import Services
from sd_ui.spec.events import FINAL, Event

ACTIVE = ("running", "waiting")
ENDED = ("done", "failed", "cancelled")
PREVIEWS_APART = 0.04  # seconds: a browser shows no more, and the next one is always the newest
LOOKS_APART = 0.25  # seconds between two looks at the place of a job that waits


@dataclass(frozen=True)
class News:
    """event None: the job waits, and `before` jobs of whomever come before it."""

    job: Any
    event: Event | None
    before: int = 0


async def news(services: Services, owner: str) -> AsyncIterator[News]:
    """What happens to the owner's jobs, one after the other, until none waits or runs, or the server stops."""
    while job := await asyncio.to_thread(active, services, owner):
        if job.state == "waiting":
            yield News(job, None, await asyncio.to_thread(services.queue.position, job.id))
            await asyncio.sleep(LOOKS_APART)
            continue
        event = None
        async for event in services.bus.follow(job.id):
            yield News(job, event)
            await asyncio.sleep(PREVIEWS_APART)
        if not isinstance(event, FINAL):
            return


def active(services: Services, owner: str) -> Any | None:
    """The owner's running job, or else the one that comes next."""
    return next(iter(services.queue.jobs(owner, ACTIVE, limit=1)), None)
