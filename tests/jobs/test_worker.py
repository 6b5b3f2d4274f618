"""One thread gives jobs to the engine, and each of them ends as it should, whatever the others do."""

import sqlite3
import threading

import pytest

from sd_ui import durable
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Cancelled, Done, Failed, Stepped
from tests.jobs.fakes import ALICE, BOB, Painter, asked, house, painted, pixels_of, wait_for


class Gate:
    """Lets a painter go on step by step."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, request, step):
        self.reached.set()
        assert self.open.wait(60)


def failing(**errors):
    """Raises by the prompt."""

    def before_step(request, step):
        if error := errors.get(request.prompt):
            raise error

    return Painter(before_step)


# ---------------------------------------------------------------- the good course
def test_a_job_becomes_pictures(tmp_path):
    with house(tmp_path) as home:
        job = home.submit(seed=5, count=3)
        end = home.ended(job)
        pictures = home.gallery.of_job(job.id, ALICE)
        assert end == Done(tuple(picture.id for picture in pictures), ("painted",))
        assert [(picture.index, picture.seed) for picture in pictures] == [(0, 5), (1, 6), (2, 7)]
        assert [pixels_of(home.gallery.file(picture)) for picture in pictures] == [painted(job.request, index).rgb for index in range(3)]
        kept = home.queue.get(job.id)
        assert (kept.state, kept.note, kept.done) == ("done", "painted", {0, 1, 2})


def test_whatever_is_announced_exists(tmp_path):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        job = home.submit(count=4, steps=1)
        watcher = home.bus.watch(job.id)
        gate.open.set()
        for event in watcher:
            if not isinstance(event, Stepped):
                assert len(home.gallery.of_job(job.id)) >= (event.index + 1 if hasattr(event, "index") else 4)


def test_several_run_at_once_where_there_is_room(tmp_path):
    at_once = []
    driver = Painter(lambda request, step: at_once.append(len(driver.courses)))
    with house(tmp_path, driver, start=False, room=3) as home:
        jobs = [home.submit(seed=seed) for seed in range(5)]
        home.worker.start()
        assert {type(home.ended(job)) for job in jobs} == {Done}
        assert max(at_once) == 3 and len(home.pictures()) == 5


def test_the_queue_is_left_alone_while_there_is_no_room(tmp_path):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        first, second = home.submit(), home.submit()
        gate.reached.wait(60)
        assert [home.queue.get(job.id).state for job in (first, second)] == ["running", "waiting"]
        gate.open.set()
        home.ended(second)


# ---------------------------------------------------------------- the engine's start
def test_the_state_tells_how_the_engine_starts(tmp_path):
    told, go_on = threading.Event(), threading.Event()

    def open_driver(tell):
        tell("loading the embedded model")
        told.set()
        go_on.wait(60)
        return Painter()

    with house(tmp_path, open_driver=open_driver, start=False) as home:
        assert home.worker.state.phase == "starting"
        job = home.submit()
        home.worker.start()
        told.wait(60)
        assert (home.worker.state.phase, home.worker.state.text) == ("starting", "loading the embedded model")
        assert home.queue.get(job.id).state == "waiting"
        go_on.set()
        home.ended(job)
        assert (home.worker.state.phase, home.worker.state.facts) == ("ready", {"device": "easel"})


def test_the_engine_is_opened_in_the_workers_thread(tmp_path):
    names = []
    with house(tmp_path, open_driver=lambda tell: names.append(threading.current_thread().name) or Painter()) as home:
        home.ended(home.submit())
    assert names == ["worker"]


def test_without_an_engine_jobs_wait_and_can_be_cancelled(tmp_path, caplog):
    def open_driver(tell):
        raise ImportError("no module named 'torch'")

    with house(tmp_path, open_driver=open_driver) as home:
        job, other = home.submit(), home.submit()
        wait_for(lambda: home.worker.state.phase == "failed")
        assert home.worker.state.text == "The engine could not be started: ImportError: no module named 'torch'"
        assert home.queue.get(job.id).state == "waiting"
        home.worker.cancel(job.id)
        assert home.ended(job) == Cancelled() and home.queue.get(other.id).state == "waiting"
    assert "no module named 'torch'" in caplog.text
    with house(tmp_path) as home:
        assert isinstance(home.ended(other), Done)


def test_a_wrong_setting_of_the_engine_is_logged_in_words_alone(tmp_path, caplog):
    def open_driver(tell):
        raise BadRequest("device", "'cuda' is not on this machine; there are auto, cpu")

    with house(tmp_path, open_driver=open_driver) as home:
        wait_for(lambda: home.worker.state.phase == "failed")
        assert home.worker.state.text == "The engine could not be started: device: 'cuda' is not on this machine; there are auto, cpu"
    assert home.worker.state.text in caplog.text and "Traceback" not in caplog.text


# ---------------------------------------------------------------- failures
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadRequest("model", "'x' is not here any more"), "model: 'x' is not here any more"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_failure_is_the_jobs_own_and_says_why(tmp_path, caplog, error, reason):
    with house(tmp_path, failing(bad=error)) as home:
        bad, good = home.submit("bad"), home.submit("good")
        assert home.ended(bad) == Failed(reason)
        assert (home.queue.get(bad.id).state, home.queue.get(bad.id).note) == ("failed", reason)
        assert isinstance(home.ended(good), Done)
    assert "Traceback" in caplog.text and type(error).__name__ in caplog.text


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
    ],
)
def test_too_little_memory_comes_with_advice(tmp_path, error):
    with house(tmp_path, failing(bad=error)) as home:
        bad, good = home.submit("bad"), home.submit("good")
        assert "not enough memory for 64x64. Try a smaller picture" in home.ended(bad).reason
        assert isinstance(home.ended(good), Done)


def test_a_driver_that_breaks_fails_its_jobs_and_serves_the_next(tmp_path):
    class Breaking(Painter):
        def turn(self):
            if len(self.courses) == 2:
                raise RuntimeError("the bus fell off")
            return super().turn()

    with house(tmp_path, Breaking(), start=False, room=2) as home:
        jobs = [home.submit() for _ in range(3)]
        home.worker.start()
        assert [home.ended(job) for job in jobs[:2]] == [Failed("RuntimeError: the bus fell off")] * 2
        assert isinstance(home.ended(jobs[2]), Done)


def test_an_engine_that_stops_early_is_not_taken_for_done(tmp_path):
    class Lazy(Painter):
        def course(self, request, done):
            yield painted(request, 0)

    with house(tmp_path, Lazy()) as home:
        assert "1 of 3 pictures" in home.ended(home.submit(count=3)).reason


def test_a_driver_that_refuses_a_job_fails_only_this_one(tmp_path):
    class Refusing(Painter):
        def add(self, job, request, delivery, done):
            if request.prompt == "bad":
                raise BadRequest("init", "is gone")
            super().add(job, request, delivery, done)

    with house(tmp_path, Refusing()) as home:
        bad, good = home.submit("bad"), home.submit("good")
        assert home.ended(bad) == Failed("init: is gone") and isinstance(home.ended(good), Done)


def test_a_full_disk_fails_the_job_with_the_folders_name_and_the_next_runs(tmp_path, monkeypatch):
    full, real = [True], durable.write

    def write(path, data):
        if full:
            full.pop()
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr("sd_ui.durable.write", write)
    with house(tmp_path) as home:
        first, second = home.submit(seed=1), home.submit(seed=2)
        reason = home.ended(first).reason
        assert str(tmp_path) in reason and "No space left on device" in reason
        assert isinstance(home.ended(second), Done)
        assert [path.name for path in home.pictures()] == ["000002-2.png"]
        assert home.gallery.of_job(first.id) == [] and home.driver.courses == {}


def test_a_row_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def add(*args):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("sd_ui.jobs.gallery.Gallery.add", add)
    with house(tmp_path) as home:
        assert "database or disk is full" in home.ended(home.submit()).reason
        assert home.pictures() == []


def test_an_end_that_cannot_be_written_is_told_and_written_later(tmp_path, monkeypatch, caplog):
    with house(tmp_path) as home:
        real, full = home.queue.finish, [True, True]

        def finish(*args):
            if full:
                full.pop()
                raise sqlite3.OperationalError("database or disk is full")
            return real(*args)

        monkeypatch.setattr(home.queue, "finish", finish)
        job = home.submit()
        assert isinstance(home.ended(job), Done)
        wait_for(lambda: home.queue.get(job.id).state == "done")
        assert isinstance(home.ended(home.submit()), Done)
    assert "database or disk is full" in caplog.text


def test_a_queue_that_cannot_be_read_for_a_while_is_tried_again(tmp_path, monkeypatch, caplog):
    with house(tmp_path, start=False) as home:
        real, locked = home.queue.claim, [True]

        def claim(timeout=None):
            if locked:
                locked.pop()
                raise sqlite3.OperationalError("database is locked")
            return real(timeout)

        monkeypatch.setattr(home.queue, "claim", claim)
        home.worker.start()
        assert isinstance(home.ended(home.submit()), Done)
    assert "database is locked" in caplog.text


# ---------------------------------------------------------------- cancel and stop
@pytest.mark.parametrize("how", ["queue", "worker", "both"])
def test_a_waiting_job_is_cancelled_at_once(tmp_path, how):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        running, waiting = home.submit(), home.submit()
        gate.reached.wait(60)
        cancel(home, waiting, how)
        assert home.queue.get(waiting.id).state == "cancelled"
        assert home.ended(waiting) == Cancelled()
        gate.open.set()
        assert isinstance(home.ended(running), Done)


@pytest.mark.parametrize("how", ["queue", "worker", "both"])
def test_a_running_job_is_cancelled_within_a_step(tmp_path, how):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        job, next_one = home.submit(steps=1000), home.submit()
        gate.reached.wait(60)
        cancel(home, job, how)
        assert home.queue.get(job.id).state == "cancelled", "durable before the step has ended"
        gate.open.set()
        heard = list(home.bus.watch(job.id))
        assert heard[-1] == Cancelled() and len(heard) <= 2
        assert isinstance(home.ended(next_one), Done)
        assert home.queue.get(job.id).state == "cancelled" and home.gallery.of_job(job.id) == []


def cancel(home, job, how):
    if how != "worker":
        home.queue.cancel(job.id, ALICE)
    if how != "queue":
        home.worker.cancel(job.id)


def test_others_cannot_cancel_a_running_job(tmp_path):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        job = home.submit()
        gate.reached.wait(60)
        assert home.queue.cancel(job.id, BOB) is None
        gate.open.set()
        assert isinstance(home.ended(job), Done)


def test_cancelling_what_has_ended_or_never_was_is_nothing(tmp_path):
    with house(tmp_path) as home:
        job = home.submit()
        home.ended(job)
        home.worker.cancel(job.id)
        home.worker.cancel("0" * 32)
        assert home.queue.get(job.id).state == "done" and isinstance(home.ended(job), Done)


def test_pictures_that_were_ready_before_the_cancelling_stay(tmp_path):
    second = threading.Event()
    go_on = threading.Event()

    def before_step(request, step):
        if driver.seen == 2:  # one step for each picture
            second.set()
            go_on.wait(60)
        driver.seen += 1

    driver = Painter(before_step)
    driver.seen = 1
    with house(tmp_path, driver) as home:
        job = home.submit(count=3, steps=1)
        second.wait(60)
        home.worker.cancel(job.id)
        go_on.set()
        assert home.ended(job) == Cancelled()
        assert [picture.index for picture in home.gallery.of_job(job.id)] == [0]


def test_stopping_hands_the_running_job_back(tmp_path):
    gate = Gate()
    with house(tmp_path, Painter(gate)) as home:
        job = home.submit(steps=1000)
        gate.reached.wait(60)
        stopping = threading.Thread(target=home.worker.stop)
        stopping.start()
        gate.open.set()
        stopping.join()
        kept = home.queue.get(job.id)
        assert (kept.state, kept.note, kept.attempts) == ("waiting", "", 0)
        assert home.driver.courses == {}


def test_who_watches_is_let_go_when_the_house_closes(tmp_path):
    heard = []
    with house(tmp_path, start=False) as home:
        job = home.submit()
        watcher = threading.Thread(target=lambda: heard.extend(home.bus.watch(job.id)))
        watcher.start()
    watcher.join()
    assert heard == []


# ---------------------------------------------------------------- the next start
def test_after_a_restart_a_job_goes_on_with_the_picture_that_is_missing(tmp_path):
    with house(tmp_path, start=False) as home:
        job = home.submit(count=3)
        claimed = home.queue.claim(0)
        home.keep.picture(claimed, painted(job.request, 1))  # and the process dies
    with house(tmp_path) as home:
        assert isinstance(home.ended(job), Done)
        assert home.driver.begun == [(job.id, frozenset({1}))]
        assert [pixels_of(home.gallery.file(picture)) for picture in home.gallery.of_job(job.id)] == [painted(job.request, i).rgb for i in range(3)]


def test_a_job_whose_pictures_are_all_kept_needs_no_engine(tmp_path):
    with house(tmp_path, start=False) as home:
        job = home.submit()
        home.keep.picture(home.queue.claim(0), painted(job.request, 0))
    with house(tmp_path) as home:
        assert len(home.ended(job).pictures) == 1 and home.driver.begun == []


def test_how_a_job_ended_is_known_after_a_restart(tmp_path):
    with house(tmp_path, failing(bad=ValueError("no"))) as home:
        good, bad, unwanted = home.submit("good"), home.submit("bad"), home.submit("unwanted")
        home.queue.cancel(unwanted.id)
        ends = [home.ended(job) for job in (good, bad, unwanted)]
    with house(tmp_path) as home:
        assert [home.ended(job) for job in (good, bad, unwanted)] == ends
        assert next(home.bus.watch("0" * 32)) == Failed("There is no such job.")


def test_a_request_means_the_same_pictures_in_any_company(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    requests = [asked(seed=seed, count=2) for seed in (3, 100, 2**64 - 1)]
    with house(alone) as home:
        for request in requests:
            home.ended(home.queue.submit(request, ALICE))
        one_by_one = [picture.pixels for picture in home.gallery.pictures(ALICE)]
    with house(together, start=False, room=3) as home:
        jobs = [home.queue.submit(request, ALICE) for request in requests]
        home.worker.start()
        for job in jobs:
            home.ended(job)
        assert sorted(picture.pixels for picture in home.gallery.pictures(ALICE)) == sorted(one_by_one)


# ---------------------------------------------------------------- what comes next
class Preparing(Painter):
    """Notes what it hears of the next job."""

    def __init__(self, before_step) -> None:
        super().__init__(before_step)
        self.heard = []

    def ready(self, request):
        self.heard.append(request and request.prompt)


def test_the_driver_hears_what_comes_next_whenever_that_changes(tmp_path):
    gate = Gate()
    driver = Preparing(lambda request, step: gate(request, step) if request.prompt == "first" else None)
    with house(tmp_path, driver) as home:
        first = home.submit("first", steps=50)
        assert gate.reached.wait(60)
        second, third = home.submit("second"), home.submit("third")
        home.queue.cancel(second.id)
        gate.open.set()
        home.ended(first), home.ended(third)
    assert driver.heard[0] is None and driver.heard[-1] is None
    assert driver.heard[1:-1] and set(driver.heard[1:-1]) <= {"second", "third"} and driver.heard[-2] == "third"


def test_a_lone_job_asks_the_database_once_what_comes_next(tmp_path):
    driver = Preparing(lambda request, step: None)
    with house(tmp_path, driver) as home:
        home.ended(home.submit("alone", steps=20))
    assert driver.heard == [None]
