"""What the page shows of running jobs and kept pictures: after Generate, after a reload, and of what other tabs of this browser do."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sd_ui.services import Services
from sd_ui.spec.events import FINAL, Drawn, Mapped
from sd_ui.ui import follow, pictures, views
from sd_ui.ui.layout import Layout
from sd_ui.ui.owner import owner
from sd_ui.ui.parts.quiet import HIDDEN, LAST

LOOK = 2.0  # seconds between two looks at an engine that starts, and at what other tabs did

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Watcher:
    """One owner's page. asked: how many thumbnails."""

    services: Services
    layout: Layout
    owner: str
    asked: int

    def stamp(self) -> str:
        """Changes whenever there is something new to show although no job of ours is being followed."""
        newest = [picture.id for picture in self.services.gallery.pictures(self.owner, 1)]
        ended = [job.id for job in self.services.queue.jobs(self.owner, follow.ENDED, limit=1)]
        return f"{newest} {ended} {self.services.worker.state} {self.asked}"

    def last_ended(self) -> Any | None:
        return next(iter(self.services.queue.jobs(self.owner, follow.ENDED, limit=1)), None)

    def opened(self) -> Updates:
        """What a page shows that has just come up. A failure is said again: perhaps nobody has seen it."""
        job, newest = self.last_ended(), next(iter(self.services.gallery.pictures(self.owner, 1)), None)
        view = views.ended(job, newest) if job is not None and job.state == "failed" else views.idle(newest)
        return {self.layout.viewer: view} | self.text_of(newest) | self.now()

    def caught_up(self) -> Updates:
        """After something happened that was not followed: a job of another tab, or one that was faster than we."""
        job = self.last_ended()
        return (self.ended(job) if job is not None else {}) | self.now()

    def now(self) -> Updates:
        engine = views.engine(self.services.worker.state)
        return {self.layout.engine: engine, self.layout.seen: self.stamp()} | self.kept() | self.jobs()

    def kept(self) -> Updates:
        return {self.layout.results: views.results(self.services.gallery.pictures(self.owner, self.asked), self.asked)}

    def jobs(self) -> Updates:
        jobs = self.services.queue.jobs(self.owner, follow.ACTIVE)
        shown = views.queue(jobs, self.services.foresight.waits.of_each() if jobs else {})
        return {self.layout.queue: shown, self.layout.cancel: gr.Button(interactive=bool(jobs))}

    def text_of(self, picture: Any | None) -> Updates:
        text = pictures.infotext(self.services, self.owner, picture.id) if picture else ""
        return {self.layout.text: text, self.layout.chosen: picture.id if picture else ""}

    def updates(self, item: follow.News, another: bool) -> Updates:
        """another: this job was not the one followed before."""
        return self.told(item) | (self.jobs() if another else {})

    def told(self, item: follow.News) -> Updates:
        layout, state = self.layout, self.services.worker.state
        match item.event:
            case None:
                wait = self.services.foresight.waits.of_each().get(item.job.id)
                return {layout.viewer: views.waiting(item.job, item.before, state, wait), layout.engine: views.engine(state)}
            case Mapped():
                return {layout.depth_map: views.depth_map(item.event)}
            case Drawn():
                return self.kept()
            case event if isinstance(event, FINAL):
                return self.ended(self.services.queue.get(item.job.id) or item.job) | self.now()
        view = views.of_event(item.job, item.event)
        return {layout.viewer: view} if view else {}

    def ended(self, job: Any) -> Updates:
        last = next(iter(self.services.gallery.of_job(job.id, self.owner)[::-1]), None)
        return {self.layout.viewer: views.ended(job, last)} | self.text_of(last)


def wire(services: Services, layout: Layout, page: gr.Blocks) -> None:
    async def watch(asked: int, seen: str, request: gr.Request) -> AsyncIterator[Updates]:
        """Follows this owner's jobs until none is left. The jobs do not know of it."""
        watcher, job = Watcher(services, layout, owner(request), asked), ""
        new = seen != await asyncio.to_thread(watcher.stamp)
        # Something is always yielded: Gradio empties every output of a generator that ends without.
        yield await asyncio.to_thread(watcher.caught_up if seen else watcher.opened) if new else {layout.seen: seen}
        async for item in follow.news(services, watcher.owner):
            found = await asyncio.to_thread(watcher.updates, item, item.job.id != job)
            job = item.job.id
            if found:
                yield found

    def more(asked: int, request: gr.Request) -> Updates:
        watcher = Watcher(services, layout, owner(request), asked + layout.page)
        return watcher.kept() | {layout.asked: watcher.asked}

    def pick(event: gr.EventData, request: gr.Request) -> Updates:
        return {layout.chosen: str(event.id), layout.text: pictures.infotext(services, owner(request), str(event.id))}

    # One watcher per page: Gradio drops a trigger while the handler runs, and the timer makes up for one that came as it was ending.
    gr.on(
        [page.load, layout.queue.change, gr.Timer(LOOK).tick],
        watch,
        [layout.asked, layout.seen],
        [layout.viewer, layout.text, layout.chosen, layout.results, layout.queue, layout.cancel, layout.depth_map, layout.engine, layout.seen],
        trigger_mode="once",
        **HIDDEN,
    )
    layout.results.more(more, layout.asked, [layout.results, layout.asked], **LAST)
    layout.viewer.pick(pick, None, [layout.chosen, layout.text], **LAST)
