"""Jobs wait in order, belong to somebody, and are in one state."""

import threading

import pytest

from sd_ui.jobs.queue import Queue
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from tests.jobs.fakes import ALICE, BOB, asked, house


@pytest.fixture
def home(tmp_path):
    with house(tmp_path, start=False) as home:
        yield home


def order(home, owner):
    return [job.request.prompt for job in home.queue.jobs(owner, ("waiting",))]


def test_first_come_first_served(home):
    jobs = [home.submit(name, owner=owner) for name, owner in (("1", ALICE), ("2", BOB), ("3", ALICE))]
    assert [home.queue.position(job.id) for job in jobs] == [0, 1, 2]
    claimed = [home.queue.claim(0) for _ in jobs]
    assert [job.id for job in claimed] == [job.id for job in jobs]
    assert {job.state for job in claimed} == {"running"}
    assert home.queue.claim(0) is None


def test_a_running_job_counts_for_those_who_wait(home):
    first, second = home.submit(), home.submit()
    home.queue.claim(0)
    assert [home.queue.position(job.id) for job in (first, second)] == [0, 1]
    home.queue.finish(first.id, "done")
    assert home.queue.position(second.id) == 0


def test_a_claim_waits_for_a_job(home):
    found = []
    thread = threading.Thread(target=lambda: found.append(home.queue.claim()))
    thread.start()
    job = home.submit()
    thread.join()
    assert found[0].id == job.id


def test_a_waiting_claim_can_be_woken(home):
    found = []
    thread = threading.Thread(target=lambda: found.append(home.queue.claim()))
    thread.start()
    home.queue.wake()
    thread.join()
    assert found == [None]


def test_many_claim_and_each_job_is_given_once(home):
    jobs = {home.submit(str(number)).id for number in range(20)}
    claimed = []

    def work():
        while job := home.queue.claim(0):
            claimed.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(jobs)


@pytest.mark.parametrize(
    ("places", "expected"), [(-1, "acb"), (-2, "cab"), (-99, "cab"), (0, "abc"), (5, "abc")], ids=["up", "first", "far", "stay", "past the end"]
)
def test_the_last_job_moves_among_ones_own(home, places, expected):
    jobs = [home.submit(name) for name in "abc"]
    home.queue.move(jobs[-1].id, ALICE, places)
    assert "".join(order(home, ALICE)) == expected
    assert "".join(home.queue.claim(0).request.prompt for _ in "abc") == expected


def test_moving_lets_nobody_else_wait_longer(home):
    first, others, last = home.submit("first"), home.submit("others", owner=BOB), home.submit("last")
    assert home.queue.move(last.id, ALICE, -1) == 0
    assert [home.queue.position(job.id) for job in (last, others, first)] == [0, 1, 2]


def test_what_another_owner_has_is_unknown(home):
    job = home.submit(owner=BOB)
    wrong = "0" * 32
    for id in (job.id, wrong):
        assert home.queue.get(id, ALICE) is None
        assert home.queue.cancel(id, ALICE) is None
    home.submit()
    assert home.queue.move(job.id, ALICE, -5) == 0
    assert home.queue.get(job.id, BOB).state == "waiting"
    assert [job.owner for job in home.queue.jobs(ALICE)] == [ALICE]


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled"])
def test_cancelling_again_or_too_late_changes_nothing(home, ended):
    job = home.submit()
    home.queue.claim(0)
    home.queue.finish(job.id, ended, "so it was")
    assert [home.queue.cancel(job.id, ALICE) for _ in range(2)] == [ended, ended]
    assert home.queue.get(job.id).note == "so it was"


def test_a_cancelled_job_is_not_claimed(home):
    first, second = home.submit(), home.submit()
    assert [home.queue.cancel(first.id, ALICE) for _ in range(2)] == ["cancelled", "cancelled"]
    assert home.queue.claim(0).id == second.id


def test_a_job_that_was_cancelled_does_not_become_done(home):
    job = home.submit()
    home.queue.claim(0)
    assert home.queue.cancel(job.id, ALICE) == "cancelled"
    assert home.queue.finish(job.id, "done") == "cancelled"


def test_the_list_shows_what_comes_and_then_what_was(home):
    jobs = {name: home.submit(name) for name in ("old", "older cancelled", "running", "next", "after")}
    for name, state in (("old", "done"), ("older cancelled", "cancelled")):
        home.queue.claim(0)
        home.queue.finish(jobs[name].id, state)
    home.queue.claim(0)
    home.queue.move(jobs["after"].id, ALICE, -1)
    assert [job.request.prompt for job in home.queue.jobs(ALICE)] == ["running", "after", "next", "older cancelled", "old"]
    assert [job.request.prompt for job in home.queue.jobs(ALICE, ("done",))] == ["old"]
    assert len(home.queue.jobs(ALICE, limit=2)) == 2


def test_the_same_key_is_the_same_job(home):
    once, again = (home.queue.submit(asked(), ALICE, key="k") for _ in range(2))
    assert once == again and len(home.queue.jobs(ALICE)) == 1
    assert home.queue.submit(asked(), BOB, key="k").id != once.id, "another owner's key is another key"
    for request, delivery in ((asked("a dog"), Delivery()), (asked(), Delivery("jpeg"))):
        with pytest.raises(BadRequest, match="key: 'k' was used"):
            home.queue.submit(request, ALICE, delivery, key="k")


def test_the_same_key_is_the_same_job_when_it_has_ended(home):
    job = home.queue.submit(asked(), ALICE, key="k")
    home.queue.claim(0)
    home.queue.finish(job.id, "done")
    assert home.queue.submit(asked(), ALICE, key="k").state == "done"


def test_without_a_key_the_same_request_is_another_job(home):
    assert home.submit().id != home.submit().id


def test_one_owner_cannot_fill_the_queue(tmp_path):
    with house(tmp_path, start=False, per_owner=2, in_all=3) as home:
        home.submit(), home.submit()
        with pytest.raises(BadRequest, match=r"^queue: 2 of your jobs are waiting \(at most 2\)"):
            home.submit()
        home.submit(owner=BOB)
        with pytest.raises(BadRequest, match=r"^queue: 3 jobs are waiting on this server \(at most 3\)"):
            home.submit(owner=BOB)
        home.queue.claim(0)
        home.submit()


def test_a_job_that_kills_the_process_is_tried_three_times(tmp_path):
    with house(tmp_path, start=False) as home:
        killer, next_one = home.submit("killer"), home.submit("next")
    for _ in range(3):
        with house(tmp_path, start=False) as home:
            assert home.queue.claim(0).id == killer.id  # and the process dies
    with house(tmp_path, start=False) as home:
        job = home.queue.get(killer.id)
        assert (job.state, job.attempts) == ("failed", 3) and "3 times" in job.note
        assert home.queue.claim(0).id == next_one.id


def test_an_interrupted_job_runs_before_those_that_wait(tmp_path):
    with house(tmp_path, start=False) as home:
        first, _ = home.submit("first"), home.submit("second")
        home.queue.claim(0)
    with house(tmp_path, start=False) as home:
        assert home.queue.interrupted == (first.id,)
        assert home.queue.claim(0).id == first.id


def test_a_job_that_is_handed_back_has_lost_no_attempt(home):
    job = home.submit()
    for _ in range(5):
        home.queue.claim(0)
        home.queue.release(job.id)
    assert (home.queue.get(job.id).state, home.queue.get(job.id).attempts) == ("waiting", 0)


def test_a_job_of_a_later_version_fails_and_the_next_runs(home):
    later, known = home.submit(), home.submit()
    with home.db.write() as db:
        db.execute("""UPDATE job SET request = json_set(request, '$.telepathy', 1) WHERE id = ?""", (later.id,))
    assert home.queue.claim(0).id == known.id
    assert [job.id for job in home.queue.jobs(ALICE)] == [known.id]
    assert home.db.read("SELECT state FROM job WHERE id = ?", later.id)[0]["state"] == "failed"


def test_ids_cannot_be_guessed_and_numbers_count_up(home):
    jobs = [home.submit() for _ in range(3)]
    assert [job.number for job in jobs] == [1, 2, 3]
    assert all(len(job.id) == 32 and int(job.id, 16) for job in jobs)


def test_a_claim_is_not_repeated_by_a_new_queue_of_a_living_process(home):
    assert Queue(home.db).interrupted == ()
