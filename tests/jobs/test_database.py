"""One file, one process, and what happens when the file is damaged."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sd_ui.jobs import database, schema
from sd_ui.jobs.database import Database
from sd_ui.jobs.lock import FolderInUse
from sd_ui.jobs.schema import MIGRATIONS, NewerDatabase, migrate
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


def test_damage_in_the_middle_is_found_too(tmp_path):
    with house(tmp_path, start=False, per_owner=500) as home:
        for number in range(100):
            home.submit(f"{number} " + "long prompt " * 50)
    data = bytearray((tmp_path / "sd_ui.db").read_bytes())
    data[8192:16384] = b"\x55" * 8192
    (tmp_path / "sd_ui.db").write_bytes(data)
    with house(tmp_path, start=False) as home:
        assert home.queue.jobs(ALICE) == []
    assert list(tmp_path.glob("sd_ui.damaged-*.db"))


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
