"""A drawn picture becomes a file and a row, in this order: whatever is in the gallery exists, and a crash in between leaves nothing half."""

import itertools
import sqlite3
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from sd_ui import durable
from sd_ui.imaging import files, record
from sd_ui.jobs.gallery import Gallery, Picture
from sd_ui.jobs.queue import Job, now
from sd_ui.spec.events import Drawn
from sd_ui.spec.made import Record


class NotSaved(OSError):
    """The picture could not be put away; the text names the folder."""


class Keep:
    """titles: a checkpoint's name -> what its pictures call it."""

    def __init__(self, gallery: Gallery, outputs: Path, titles: Callable[[str], str]) -> None:
        self._gallery, self._outputs, self._titles = gallery, outputs, titles

    def picture(self, job: Job, drawn: Drawn) -> Picture:
        """Raises NotSaved. A picture that the job has already is not kept twice."""
        if kept := self._gallery.made(job.id, drawn.index):
            return kept
        image = Image.frombytes("RGB", (drawn.width, drawn.height), drawn.rgb)
        path, pixels = self._free_path(job, drawn.index), record.pixels_hash(image)
        try:
            durable.write(path, record.encode(image, *self._said(job, drawn, pixels), job.delivery))
            return self._listed(job, drawn.index, path, drawn.width, drawn.height, pixels)
        except (OSError, sqlite3.OperationalError) as error:
            raise NotSaved(f"The picture could not be saved in {path.parent}: {error}") from error

    def notes(self, job: Job, drawn: Drawn) -> tuple[str, ...]:
        """What the owner should know about the picture, and about what its file has no room for."""
        said, title = self._said(job, drawn, "")
        note = record.note_on(said, title, job.delivery)
        return (*drawn.notes, note) if note else drawn.notes

    def recover(self, job: Job) -> None:
        """Lists the pictures whose file was written when the process died, and whose row was not."""
        for index in set(range(job.request.count)) - job.done:
            path = self._free_path(job, index)
            if path.exists():
                kept = read(path)
                assert kept is not None
                with Image.open(path) as image:
                    self._listed(job, index, path, *image.size, kept.pixels)

    def sweep(self) -> None:
        """Removes what was half written when the process died. Only before the first picture is kept."""
        for part in self._outputs.glob("????-??-??/.*.part"):
            part.unlink(missing_ok=True)

    def ids(self, job: Job) -> tuple[str, ...]:
        """Of the pictures that are kept of a job, as in the gallery."""
        return tuple(picture.id for picture in self._gallery.of_job(job.id))

    def _said(self, job: Job, drawn: Drawn, pixels: str) -> tuple[Record, str]:
        """What the file will say about itself, and the model's title."""
        said = Record(job.request, drawn.made, drawn.index, drawn.seed, pixels, job.id, now(), drawn.notes)
        return said, self._titles(job.request.model.checkpoint)

    def _listed(self, job: Job, index: int, path: Path, width: int, height: int, pixels: str) -> Picture:
        try:
            return self._gallery.add(job, index, job.request.seed_of(index), path, width, height, pixels)
        except sqlite3.OperationalError:  # such as a full disk
            path.unlink(missing_ok=True)  # a file without a row would be nobody's
            raise

    def _free_path(self, job: Job, index: int) -> Path:
        """Where this picture goes: always the same place, unless a picture of another job is there."""
        folder, ending = self._outputs / job.created[:10], record.ENDINGS[job.delivery.format]
        name = f"{job.number:06d}-{job.request.seed_of(index)}"
        names = (f"{name}{suffix}.{ending}" for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))))
        return next(path for name in names if not (path := folder / name).exists() or is_of(path, job, index))


def is_of(path: Path, job: Job, index: int) -> bool:
    kept = read(path)
    return kept is not None and (kept.job, kept.index) == (job.id, index)


def read(path: Path) -> Record | None:
    """What a picture says about itself; None for a file that is none of ours."""
    try:
        return record.read(path.read_bytes()).record
    except files.DAMAGED:
        return None
