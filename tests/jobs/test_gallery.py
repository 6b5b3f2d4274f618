"""Pictures: a row and a file, each owner's own."""

import pytest

from sd_ui.spec.delivery import Delivery
from tests.jobs.fakes import ALICE, BOB, asked, house, painted


@pytest.fixture
def home(tmp_path):
    with house(tmp_path, start=False) as home:
        yield home


def kept(home, seed=1, owner=ALICE):
    job = home.submit(seed=seed, owner=owner)
    return home.keep.picture(job, painted(job.request, 0))


def test_the_newest_come_first_page_by_page(home):
    seeds = list(range(7))
    for seed in seeds:
        kept(home, seed)
    pages, before = [], None
    while page := home.gallery.pictures(ALICE, 3, before):
        pages.append([picture.seed for picture in page])
        before = page[-1].id
    assert pages == [[6, 5, 4], [3, 2, 1], [0]]


def test_each_owner_sees_their_own(home):
    mine, theirs = kept(home), kept(home, owner=BOB)
    assert home.gallery.pictures(ALICE) == [mine] and home.gallery.pictures(BOB) == [theirs]
    assert home.gallery.get(mine.id, ALICE) == mine
    for id in (theirs.id, "0" * 32):
        assert home.gallery.get(id, ALICE) is None
        assert not home.gallery.delete(id, ALICE)
        assert home.gallery.pictures(ALICE, before=id) == []
    assert home.gallery.of_job(theirs.job, ALICE) == []
    assert home.gallery.file(theirs).exists()


def test_a_deleted_picture_is_gone_and_not_drawn_again(home):
    job = home.submit(count=2)
    home.queue.claim(0)
    first, second = (home.keep.picture(job, painted(job.request, index)) for index in range(2))
    assert home.gallery.delete(first.id, ALICE) and not home.gallery.delete(first.id, ALICE)
    assert not home.gallery.file(first).exists()
    assert home.gallery.get(first.id, ALICE) is None
    assert home.gallery.pictures(ALICE) == home.gallery.of_job(job.id) == [second]
    assert home.queue.get(job.id).done == {0, 1}
    assert home.keep.picture(job, painted(job.request, 0)).id == first.id and not home.gallery.file(first).exists()


def test_pictures_deleted_by_hand_do_not_shorten_a_page(home):
    pictures = [kept(home, seed) for seed in range(10)]
    for picture in pictures[3:8]:
        home.gallery.file(picture).unlink()
    assert [picture.seed for picture in home.gallery.pictures(ALICE, 4)] == [9, 8, 2, 1]


def test_seeds_up_to_the_last_are_kept_exactly(home):
    job = home.submit(seed=2**64 - 1, count=2)
    pictures = [home.keep.picture(job, painted(job.request, index)) for index in range(2)]
    assert [picture.seed for picture in pictures] == [2**64 - 1, 0]
    assert home.gallery.of_job(job.id) == pictures


def test_paths_are_relative_and_by_day(home):
    job = home.queue.submit(asked(seed=42), ALICE, Delivery("jpeg"))
    picture = home.keep.picture(job, painted(job.request, 0))
    assert picture.path == f"{job.created[:10]}/000001-42.jpg"
    assert home.gallery.file(picture) == home.outputs / picture.path
