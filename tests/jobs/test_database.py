"""One file, one process, and what happens when the file is damaged."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sd_ui.jobs import database, schema
from sd_ui.jobs.database import Database
from sd_ui.jobs.lock import FolderInUse
from sd_ui.jobs.schema import MIGRATIONS, NewerDatabase, migrate
from sd_ui.spec.events import Done
from tests.jobs.fakes import ALICE, asked, house


def test_a_second_process_is_refused_with_the_first_ones_number(tmp_path):
    code = """if True:
        import pathlib, sys
        from sd_ui.jobs.database import Database
        database = Database(pathlib.Path(sys.argv[1]))
        print("open", flush=True)
        sys.stdin.read()"""
    command = [sys.executable, "-c", code, str(tmp_path / "sd_ui.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as first:
        assert first.stdout is not None and first.stdout.readline() == b"open\n"
        with pytest.raises(FolderInUse, match=rf"in use by another SD UI \(process {first.pid}\).*--outputs-dir"):
            Database(tmp_path / "sd_ui.db")
        first.kill()
    Database(tmp_path / "sd_ui.db").close()  # its lock died with it


def test_a_folder_is_free_again_when_it_could_not_be_opened(tmp_path):
    (tmp_path / "sd_ui.db").mkdir()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            Database(tmp_path / "sd_ui.db")


@pytest.mark.parametrize("damage", [b"this is no database", b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "header"])
def test_a_damaged_database_is_moved_aside_and_work_goes_on(tmp_path, caplog, damage):
    (tmp_path / "sd_ui.db").write_bytes(damage)
    with house(tmp_path) as home:
        job = home.submit()
        home.ended(job)
        assert home.queue.get(job.id).state == "done"
    [aside] = tmp_path.glob("sd_ui.damaged-*.db")
    assert aside.read_bytes() == damage
    assert "is damaged" in caplog.text and aside.name in caplog.text


def test_of_a_database_damaged_in_the_middle_the_rest_is_taken_over(tmp_path, caplog):
    with house(tmp_path) as home:
        for number in range(48):
            home.ended(home.submit(f"{number} " + "long prompt " * 100, seed=number, steps=1))
        before = {job.id: job for job in home.queue.jobs(ALICE)}
        pictures = {picture.id: picture for picture in home.gallery.pictures(ALICE)}
    data = bytearray((tmp_path / "sd_ui.db").read_bytes())
    middle = data.index(b'"20 long prompt') // 4096 * 4096
    data[middle : middle + 4096] = b"\x55" * 4096
    (tmp_path / "sd_ui.db").write_bytes(data)
    with house(tmp_path) as home:
        jobs = {job.id: job for job in home.queue.jobs(ALICE)}
        assert jobs.items() <= before.items() and 40 <= len(jobs) < 48
        kept = {picture.id: picture for picture in home.gallery.pictures(ALICE)}
        assert kept.items() <= pictures.items() and {picture.job for picture in kept.values()} == jobs.keys()
        assert home.submit().number == 49
    assert "is damaged" in caplog.text and f"{len(jobs)} jobs and {len(kept)} pictures were taken over" in caplog.text


def test_whatever_is_damaged_the_next_start_succeeds(tmp_path):
    """At any place of the file; waiting jobs that can be read still run."""
    with house(tmp_path / "whole", start=False) as home:
        for number in range(10):
            home.submit(f"{number} " + "long prompt " * 90, steps=1)
    whole, chance = (tmp_path / "whole" / "sd_ui.db").read_bytes(), random.Random(1)
    for number in range(12):
        data, folder = bytearray(whole), tmp_path / str(number)
        start = chance.randrange(len(data))
        data[start : start + 2000] = chance.randbytes(len(data[start : start + 2000]))
        folder.mkdir()
        (folder / "sd_ui.db").write_bytes(data)
        with house(folder) as home:
            for job in home.queue.jobs(ALICE):
                home.ended(job)
            assert isinstance(home.ended(home.submit("after the damage")), Done)


def test_numbers_go_on_after_the_highest_picture_even_where_its_row_is_lost(tmp_path):
    (tmp_path / "2026-01-01").mkdir(parents=True)
    (tmp_path / "2026-01-01" / "000123-1.png").touch()
    (tmp_path / "sd_ui.db").write_bytes(b"no database")
    with house(tmp_path, start=False) as home:
        assert home.submit().number == 124


def test_numbers_go_on_after_the_pictures_of_a_lost_database(tmp_path):
    with house(tmp_path) as home:
        for job in [home.submit(seed=seed) for seed in (1, 2, 3)]:
            home.ended(job)
        old = home.pictures()
    for file in tmp_path.glob("sd_ui.db*"):
        file.unlink()
    with house(tmp_path) as home:
        job = home.submit(seed=1)
        home.ended(job)
        assert job.number == 4
        assert [path.name for path in home.pictures()] == ["000001-1.png", "000002-2.png", "000003-3.png", "000004-1.png"]
        assert old == home.pictures()[:3]


def test_what_is_no_picture_of_ours_does_not_count(tmp_path):
    day = tmp_path / "2026-01-01"
    day.mkdir(parents=True)
    for name in ("000007-1.png", "999999-1.txt", "holiday-1234567.png", ".000123-1.png.part", "99999999999999999999-1.png"):
        (day / name).touch()
    with house(tmp_path, start=False) as home:
        assert home.submit().number == 8


def test_a_write_that_fails_leaves_nothing(tmp_path):
    db = Database(tmp_path / "sd_ui.db")
    with pytest.raises(ZeroDivisionError), db.write() as connection:
        connection.execute("INSERT INTO job (id, owner, place, request, delivery, state, created) VALUES ('1', 'a', 0, '', '', 'waiting', '')")
        raise ZeroDivisionError
    assert db.read("SELECT * FROM job") == []
    db.close()


def test_what_is_written_is_safe_from_power_cuts(tmp_path):
    db = Database(tmp_path / "sd_ui.db")
    assert [db.read(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "user_version")] == ["wal", 2, len(MIGRATIONS)]
    db.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_every_older_database_comes_up_to_date(tmp_path, monkeypatch, version):
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", MIGRATIONS[:version])
        connection = sqlite3.connect(tmp_path / "sd_ui.db")
        migrate(connection)
        connection.close()
    with house(tmp_path) as home:
        home.ended(home.submit())
        assert home.db.read("PRAGMA user_version")[0][0] == len(MIGRATIONS)


def test_a_step_that_breaks_in_the_middle_leaves_the_older_schema(monkeypatch):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE next (a); CREATE TABLE job (b)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'next'").fetchall()
    connection.close()


def test_a_newer_database_is_not_touched(tmp_path):
    Database(tmp_path / "sd_ui.db").close()
    connection = sqlite3.connect(tmp_path / "sd_ui.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerDatabase, match="99"):
        Database(tmp_path / "sd_ui.db")
    assert not list(tmp_path.glob("sd_ui.damaged-*"))


def test_two_databases_can_be_damaged_one_after_the_other(tmp_path):
    for _ in range(2):
        (tmp_path / "sd_ui.db").write_bytes(b"x")
        database.moved_aside(tmp_path / "sd_ui.db")
    assert len(list(tmp_path.glob("sd_ui.damaged-*.db"))) == 2


def test_a_request_is_stored_whole(tmp_path):
    request = asked("naïve 🐈 \u202e", seed=2**64 - 1)
    with house(tmp_path, start=False) as home:
        job = home.queue.submit(request, ALICE)
    with house(tmp_path, start=False) as home:
        assert home.queue.get(job.id) == job and job.request == request
