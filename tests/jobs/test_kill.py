"""kill -9 at any moment: no accepted job is lost, none is doubled, and every picture is the one of an undisturbed run."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sd_ui.imaging import record
from tests.jobs import victim
from tests.jobs.fakes import ALICE, House, house, pixels_of
from tests.jobs.victim import POINTS, request_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


class Victim:
    """The process, and what it says. It is forked from one that has imported everything already: most of a start would be imports."""

    def __init__(self, outputs: Path, jobs: int, point: str = "") -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.jobs.victim"])
        self.words, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=victim.main, args=(theirs, outputs, jobs, point))
        self.process.start()
        theirs.close()
        self.accepted: dict[int, str] = {}

    def hear(self, word: str = "", times: int = 0) -> None:
        """Until it has said the word so many times; without a word, to the end."""
        while said := self.next_words():
            if said[0] == "accepted":
                self.accepted[said[1]] = said[2]
            times -= said[0] == word
            if word and times <= 0:
                return

    def next_words(self) -> tuple[Any, ...] | None:
        try:
            words: tuple[Any, ...] = self.words.recv()
            return words
        except (EOFError, OSError):  # it is dead, perhaps in the middle of a word
            return None

    def kill(self) -> int | None:
        self.process.kill()
        return self.end()

    def end(self) -> int | None:
        self.hear()
        self.process.join()
        self.words.close()
        return self.process.exitcode


def survive(outputs: Path, jobs: int, kills: int, points: tuple[str, ...]) -> None:
    """Kills at the named points and at random moments, then lets the jobs end."""
    chance = random.Random(kills)
    accepted: dict[int, str] = {}
    schedule = [*points, *[""] * kills]
    chance.shuffle(schedule)
    schedule.sort(key=lambda point: "submit" not in point)  # later all jobs are accepted, and nothing is left to submit
    for point in schedule:
        process = Victim(outputs, jobs, point)
        if not point:
            process.hear(*chance.choice([("up", 1), ("accepted", chance.randint(1, jobs)), *[("step", chance.randint(1, 9))] * 4]))
            time.sleep(chance.random() * 0.02)
        status = process.end() if point else process.kill()
        assert status == -signal.SIGKILL, f"it was not killed {point or 'by us'}: {status}"
        assert all(accepted.setdefault(number, job_id) == job_id for number, job_id in process.accepted.items())
    process = Victim(outputs, jobs)
    assert process.end() == 0
    assert accepted.items() <= process.accepted.items(), "an acknowledged job was lost or doubled"


def everything(home: House) -> dict[tuple[str, int], str]:
    """(prompt, index) -> pixels, as the rows say and as the files are."""
    found = {}
    for job in home.queue.jobs(ALICE, limit=10_000):
        assert job.state == "done", job
        for picture in home.gallery.of_job(job.id, ALICE):
            with Image.open(home.gallery.file(picture)) as image:
                image.load()
                assert record.pixels_hash(image) == picture.pixels
            assert (job.request.prompt, picture.index) not in found
            found[job.request.prompt, picture.index] = picture.pixels
    return found


def check(outputs: Path, jobs: int) -> None:
    with house(outputs, start=False) as home:
        kept = home.queue.jobs(ALICE, limit=10_000)
        assert sorted(job.request.prompt for job in kept) == sorted(f"job {number}" for number in range(jobs)), "each job once"
        pictures = everything(home)
        wanted = {(f"job {n}", index): request_of(n) for n in range(jobs) for index in range(request_of(n).count)}
        assert pictures.keys() == wanted.keys(), "each picture once"
        rows = sorted(home.gallery.file(picture) for picture in home.gallery.pictures(ALICE, limit=10_000))
        assert home.pictures() == rows, "a row for every file, a file for every row, and nothing half-written"


def test_kills_at_any_moment_lose_nothing_and_double_nothing(tmp_path):
    jobs = 40
    survive(tmp_path / "killed", jobs, kills=20, points=POINTS)
    assert Victim(tmp_path / "undisturbed", jobs).end() == 0
    check(tmp_path / "killed", jobs)
    with house(tmp_path / "killed", start=False) as killed, house(tmp_path / "undisturbed", start=False) as undisturbed:
        assert everything(killed) == everything(undisturbed)


@pytest.mark.slow
def test_five_hundred_kills(tmp_path):
    survive(tmp_path, 900, kills=500 - len(POINTS), points=POINTS)
    check(tmp_path, 900)


def test_a_picture_that_was_kept_is_not_drawn_again(tmp_path):
    """Killed between its first and its second picture, the job goes on with the second."""
    assert Victim(tmp_path, 3, "after row").end() == -signal.SIGKILL
    [first] = tmp_path.glob("????-??-??/*")
    before = first.stat().st_mtime_ns, pixels_of(first)
    with house(tmp_path) as home:
        for job in home.queue.jobs(ALICE):
            home.ended(job)
        [interrupted] = home.queue.interrupted
        assert (interrupted, frozenset({0})) in home.driver.begun
    assert (first.stat().st_mtime_ns, pixels_of(first)) == before


def test_a_file_without_a_row_is_found_again(tmp_path):
    assert Victim(tmp_path, 3, "before row").end() == -signal.SIGKILL
    [file] = tmp_path.glob("????-??-??/*")
    written = file.stat().st_mtime_ns
    with house(tmp_path) as home:
        [job_id] = home.queue.interrupted
        home.ended(home.queue.get(job_id))
        assert home.gallery.file(home.gallery.of_job(job_id)[0]) == file
    assert file.stat().st_mtime_ns == written, "it was not drawn and written a second time"


def test_half_written_files_are_swept_away_and_never_pictures(tmp_path):
    assert Victim(tmp_path, 3, "before rename").end() == -signal.SIGKILL
    [part] = tmp_path.glob("????-??-??/.*.part")
    with house(tmp_path) as home:
        for job in home.queue.jobs(ALICE):
            home.ended(job)
        assert not part.exists()
        assert all(path.suffix == ".png" for path in home.pictures())
