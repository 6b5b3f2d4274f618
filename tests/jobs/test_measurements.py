"""What jobs took is kept in the database: a bounded past, which nothing that goes wrong here may cost a job."""

import sqlite3
from dataclasses import replace

import pytest

from sd_ui.jobs import measurements
from sd_ui.jobs.measurements import Measurements, read
from sd_ui.spec.events import Done
from sd_ui.spec.measured import Measured, Seconds
from tests.jobs.fakes import Painter, house

TOOK = Measured("easel", "float32", calls=2, seconds=Seconds(sampling=1.5, whole=2.0), working=7)


class Measuring(Painter):
    """Says at the end of each job what it took."""

    def course(self, request, done):
        yield from super().course(request, done)
        yield TOOK


def facts(model):
    return "sd1", 1234


@pytest.fixture
def home(tmp_path):
    with house(tmp_path, Measuring(), start=False) as home:
        home.measurements = Measurements(home.db, facts)
        home.worker._measure = home.measurements.add
        yield home


def test_each_job_leaves_what_it_took(home, tmp_path):
    home.worker.start()
    assert isinstance(home.ended(home.submit(steps=3)), Done)
    (kept,) = home.measurements.known()
    assert (kept.measured, kept.family, kept.numbers) == (TOOK, "sd1", 1234)
    assert (kept.work.model, kept.work.calls, kept.work.cells) == ("embedded", 3, 64) and kept.when
    assert Measurements(home.db, facts).known() == home.measurements.known() == read(tmp_path / "sd_ui.db")


def test_watchers_hear_nothing_of_it(home):
    heard = []
    home.bus.publish = lambda job, event, publish=home.bus.publish: (heard.append(event), publish(job, event))
    home.worker.start()
    home.ended(home.submit())
    assert heard and TOOK not in heard


def test_of_a_model_and_of_all_only_the_newest_stay(home, monkeypatch):
    monkeypatch.setattr(measurements, "OF_A_MODEL", 3)
    monkeypatch.setattr(measurements, "IN_ALL", 5)
    job = home.submit()
    for number in range(9):
        model = replace(job.request.model, checkpoint=f"model {number // 4}")
        home.measurements.add(replace(job, request=replace(job.request, model=model)), replace(TOOK, calls=number))
    assert [one.measured.calls for one in home.measurements.known()] == [4, 5, 6, 7, 8]
    assert [one.measured.calls for one in Measurements(home.db, facts).known()] == [3, 5, 6, 7, 8]  # of model 1 the last three


def test_a_measurement_that_cannot_be_kept_fails_no_job(home):
    def gone(model):
        raise ValueError("no such model")

    home.worker._measure = Measurements(home.db, gone).add
    home.worker.start()
    assert isinstance(home.ended(home.submit()), Done)


@pytest.mark.parametrize("row", ["", "{", "[]", '{"work": 1}', "[" * 100_000])
def test_what_another_version_wrote_is_passed_over(home, row):
    job = home.submit()
    home.measurements.add(job, TOOK)
    with home.db.write() as db:
        db.execute("INSERT INTO measurement (model, facts, created) VALUES ('m', ?, '')", (row,))
    assert len(Measurements(home.db, facts).known()) == 1


def test_a_folder_without_a_database_tells_nothing(tmp_path):
    assert read(tmp_path / "none.db") == ()
    (tmp_path / "text.db").write_text("no database at all, but a text that is long enough to look like one" * 20)
    assert read(tmp_path / "text.db") == ()
    sqlite3.connect(tmp_path / "empty.db").close()
    assert read(tmp_path / "empty.db") == () and not (tmp_path / "none.db").exists()
