"""Who watches sees the latest, and always the end."""

import asyncio
import gc
import threading

import pytest

from sd_ui.jobs.bus import REMEMBERED, Bus
from sd_ui.spec.events import Cancelled, Done, Event, Failed, Loading, Mapped, Stepped
from tests.jobs.fakes import wait_for

JOB = "a job"
END = Done(("picture",))


def steps(*indexes: int) -> list[Event]:
    return [Stepped(index, 100) for index in indexes]


async def collected(bus: Bus, job: str, heard: list[Event]) -> None:
    async for event in bus.follow(job):
        heard.append(event)


@pytest.fixture(params=["thread", "async"])
def watched(request):
    """watched(bus) -> what a watcher hears, as it grows, and a function that waits until the watcher is done."""

    def watch(bus: Bus, job: str = JOB):
        heard: list[Event] = []

        def run() -> None:
            if request.param == "async":
                asyncio.run(collected(bus, job, heard))
            else:
                heard.extend(bus.watch(job))

        thread = threading.Thread(target=run)
        thread.start()
        return heard, thread.join

    return watch


def test_a_watcher_hears_the_end_and_goes(watched):
    bus = Bus()
    heard, join = watched(bus)
    for event in (*steps(1, 2, 3), END):
        bus.publish(JOB, event)
    join()
    assert heard[-1] == END and set(heard[:-1]) <= set(steps(1, 2, 3))


@pytest.mark.parametrize("end", [END, Failed("why"), Cancelled()])
def test_who_comes_after_the_end_hears_it(watched, end):
    bus = Bus()
    bus.publish(JOB, Stepped(1, 2))
    bus.publish(JOB, end)
    heard, join = watched(bus)
    join()
    assert heard == [end]


def test_who_comes_after_a_restart_hears_the_end_from_the_past(watched):
    bus = Bus()
    bus.look_back({JOB: END}.get)
    heard, join = watched(bus)
    join()
    assert heard == [END]


def test_a_job_that_ends_while_one_looks_back_is_heard_to_end(watched):
    bus = Bus()

    def meanwhile(job: str) -> None:
        bus.publish(job, END)

    bus.look_back(meanwhile)
    heard, join = watched(bus)
    join()
    assert heard == [END]


def test_a_slow_watcher_misses_previews_but_not_the_map_nor_the_end():
    bus, depth = Bus(), Mapped(b"png")
    watcher = bus.watch(JOB)
    bus.publish(JOB, Loading("model"))
    assert next(watcher) == Loading("model")
    for event in (depth, *steps(*range(1, 50)), END):
        bus.publish(JOB, event)
    assert list(watcher) == [depth, Stepped(49, 100), END]


def test_who_comes_late_gets_the_map_once_and_the_latest_step():
    bus, depth = Bus(), Mapped(b"png")
    for event in (Loading("model"), depth, *steps(1, 2)):
        bus.publish(JOB, event)
    watcher = bus.watch(JOB)
    assert [next(watcher), next(watcher)] == [depth, Stepped(2, 100)]
    bus.publish(JOB, END)
    assert list(watcher) == [END]


def test_events_come_in_their_order():
    bus = Bus()
    watcher = bus.watch(JOB)
    bus.publish(JOB, Stepped(1, 9))
    next(watcher)
    for event in (Stepped(2, 9), Loading("a"), Stepped(3, 9), Loading("b"), END):
        bus.publish(JOB, event)
    assert list(watcher) == [Stepped(3, 9), Loading("b"), END]


def test_watchers_do_not_take_from_each_other(watched):
    bus = Bus()
    watching = [watched(bus) for _ in range(3)]
    bus.publish(JOB, END)
    for heard, join in watching:
        join()
        assert heard == [END]


def test_another_jobs_events_are_not_heard(watched):
    bus = Bus()
    heard, join = watched(bus)
    bus.publish("another", Stepped(1, 2))
    bus.publish("another", Failed("no"))
    bus.publish(JOB, END)
    join()
    assert heard == [END]


def test_the_latest_is_known_without_watching():
    bus = Bus()
    assert bus.latest(JOB) is None
    bus.publish(JOB, Stepped(1, 2))
    assert bus.latest(JOB) == Stepped(1, 2)
    bus.publish(JOB, END)
    assert bus.latest(JOB) == END


def test_watchers_are_let_go_when_nothing_will_come_any_more(watched):
    bus = Bus()
    bus.publish(JOB, Stepped(1, 2))
    heard, join = watched(bus)
    wait_for(lambda: heard or True)
    bus.close()
    join()
    assert Done not in map(type, heard)


def test_a_watcher_that_left_does_not_stop_the_others():
    bus = Bus()
    leaving = bus.watch(JOB)
    bus.publish(JOB, Stepped(1, 2))
    next(leaving)
    leaving.close()
    bus.publish(JOB, END)
    assert list(bus.watch(JOB)) == [END]


def test_a_browser_whose_loop_has_closed_does_not_stop_the_worker():
    bus = Bus()
    bus.publish(JOB, Stepped(1, 2))
    loop, follower = asyncio.new_event_loop(), bus.follow(JOB)
    assert loop.run_until_complete(anext(follower)) == Stepped(1, 2)
    loop.close()  # without a word to the one who follows
    bus.publish(JOB, END)
    assert bus.latest(JOB) == END


def test_memory_does_not_grow_with_the_number_of_jobs():
    bus = Bus()
    for number in range(REMEMBERED * 3):
        job, preview = str(number), bytes(10_000)
        bus.publish(job, Mapped(preview))
        bus.publish(job, Stepped(1, 2, preview))
        bus.publish(job, END)
    for number in range(100):  # watched while they wait, and given up
        watcher = asyncio.run(gave_up(bus, f"waiting {number}"))
        assert watcher is None
    gc.collect()
    assert len(bus._ended) == REMEMBERED and not bus._streams
    assert bus.latest(str(REMEMBERED * 3 - 1)) == END


async def gave_up(bus: Bus, job: str) -> None:
    task = asyncio.create_task(collected(bus, job, []))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
