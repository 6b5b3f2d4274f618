"""A picture's file: where it goes, what it says, and what it never does to others."""

import pytest
from PIL import Image

from sd_ui.imaging import record
from sd_ui.jobs.keep import NotSaved
from sd_ui.spec.delivery import FORMATS, Delivery
from tests.jobs.fakes import ALICE, asked, house, painted, pixels_of


@pytest.fixture
def home(tmp_path):
    with house(tmp_path, start=False) as home:
        yield home


@pytest.mark.parametrize("format", FORMATS)
def test_a_saved_picture_knows_its_request(home, format):
    job = home.queue.submit(asked("a cat", seed=9, count=2), ALICE, Delivery(format))
    drawn = painted(job.request, 1)
    picture = home.keep.picture(job, drawn)
    said = record.read(home.gallery.file(picture).read_bytes()).record
    assert (said.request, said.job, said.index, said.seed, said.pixels) == (job.request, job.id, 1, 10, picture.pixels)
    assert said.made == drawn.made and said.notes == ("painted",)
    with Image.open(home.gallery.file(picture)) as image:
        assert image.format == format.upper() and image.size == (picture.width, picture.height) == (64, 64)


def test_a_png_is_the_picture_bit_for_bit(home):
    job = home.submit()
    drawn = painted(job.request, 0)
    assert pixels_of(home.gallery.file(home.keep.picture(job, drawn))) == drawn.rgb


def test_the_same_picture_is_kept_once(home):
    job = home.submit()
    once, again = (home.keep.picture(job, painted(job.request, 0)) for _ in range(2))
    assert once == again and len(home.pictures()) == 1


@pytest.mark.parametrize("kind", ["another job's", "somebody's", "no picture", "empty"])
def test_what_lies_there_already_is_never_overwritten(home, kind):
    job = home.submit()
    if kind == "another job's":
        other = home.submit()
        data = home.gallery.file(home.keep.picture(other, painted(other.request, 0))).read_bytes()
    else:
        data = {"somebody's": b"", "no picture": b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "empty": b""}[kind]
    path = home.outputs / job.created[:10] / "000001-1.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "somebody's":
        Image.new("RGB", (16, 16)).save(path)
        data = path.read_bytes()
    path.write_bytes(data)
    picture = home.keep.picture(job, painted(job.request, 0))
    assert picture.path.endswith("/000001-1-2.png")
    assert path.read_bytes() == data


def test_its_own_file_is_written_again_in_its_place(home):
    job = home.submit()
    picture = home.keep.picture(job, painted(job.request, 0))
    with home.db.write() as db:
        db.execute("DELETE FROM picture")
    assert home.keep.picture(job, painted(job.request, 0)).path == picture.path
    assert len(home.pictures()) == 1


def test_a_folder_that_cannot_be_written_is_named(home):
    job = home.submit()
    (home.outputs / job.created[:10]).write_text("a file where the folder should be")
    with pytest.raises(NotSaved, match=str(home.outputs / job.created[:10])):
        home.keep.picture(job, painted(job.request, 0))


def test_half_written_files_are_swept_and_nothing_else(home):
    day = home.outputs / "2026-01-01"
    day.mkdir()
    for name in (".0123.part", "000001-1.png", "notes.part"):
        (day / name).touch()
    home.keep.sweep()
    assert sorted(path.name for path in day.iterdir()) == ["000001-1.png", "notes.part"]


def test_what_a_file_has_no_room_for_is_said(home):
    job = home.queue.submit(asked("long " * 6600), ALICE, Delivery("jpeg"))
    assert home.keep.notes(job, painted(job.request, 0)) == ("painted", record.TOO_LONG)
    job = home.queue.submit(asked("short"), ALICE, Delivery("jpeg"))
    assert home.keep.notes(job, painted(job.request, 0)) == ("painted",)
