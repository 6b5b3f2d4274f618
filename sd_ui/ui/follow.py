"""Watching jobs. A handler that watches holds no thread and owns nothing: when its tab goes away, the job goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sd_ui.services import Services
from sd_ui.spec.events import FINAL, Event, Stepped

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
    before = None
    while (job := await asyncio.to_thread(active, services, owner)) and job.id != before:
        item = None
        async for item in of_job(services, job):
            yield item
        before = None if item and (item.event is None or isinstance(item.event, FINAL)) else job.id


async def of_job(services: Services, job: Any) -> AsyncIterator[News]:
    """From its place in the queue to its end; or until another of the owner's jobs is next."""
    events = services.bus.follow(job.id)
    coming = next_of(events)
    try:
        while True:
            arrived, _ = await asyncio.wait({coming}, timeout=LOOKS_APART)
            if not arrived:
                now = await asyncio.to_thread(active, services, job.owner)
                if now and now.id != job.id:
                    return
                if now and now.state == "waiting":
                    yield News(job, None, await asyncio.to_thread(services.queue.position, job.id))
                continue
            event = coming.result()
            if event is None:
                return  # the bus was closed
            yield News(job, event)
            if isinstance(event, FINAL):
                return
            if isinstance(event, Stepped):
                await asyncio.sleep(PREVIEWS_APART)
            coming = next_of(events)
    finally:
        coming.cancel()


def next_of(events: AsyncIterator[Event]) -> asyncio.Future[Event | None]:
    """A task, so that waiting for it can be given up without losing the event."""

    async def coming() -> Event | None:
        return await anext(events, None)

    return asyncio.ensure_future(coming())


def active(services: Services, owner: str) -> Any | None:
    """The owner's running job, or else the one that comes next."""
    return next(iter(services.queue.jobs(owner, ACTIVE, limit=1)), None)
