"""A blocking call as a generator: one thread at a time, and none is left behind."""

import threading

import pytest

from sd_ui.engine import handover


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "handover"]


def test_what_the_call_tells_is_yielded_and_what_it_returns_is_returned():
    def work(tell):
        for i in range(3):
            tell(i)
        return "done"

    def outer():
        result = yield from handover.steps(work)
        yield result

    assert list(outer()) == [0, 1, 2, "done"] and not threads()


def test_the_call_does_nothing_while_its_watcher_is_busy():
    log = []

    def work(tell):
        for i in range(3):
            log.append(f"call {i}")
            tell(i)
            log.append(f"back {i}")

    for i in handover.steps(work):
        log.append(f"watch {i}")
    assert log == [f"{who} {i}" for i in range(3) for who in ("call", "watch", "back")]


def test_closing_stops_the_call_where_it_stands_and_leaves_no_thread():
    log = []

    def work(tell):
        try:
            tell(1)
            log.append("went on")
        except handover.Stopped:
            log.append("stopped")
            raise

    watched = handover.steps(work)
    assert next(watched) == 1
    watched.close()
    assert log == ["stopped"] and not threads()


def test_a_call_that_swallows_its_stop_is_stopped_again():
    def work(tell):
        while True:
            try:
                tell(1)
            except handover.Stopped:
                tell(2)

    watched = handover.steps(work)
    next(watched)
    watched.close()
    assert not threads()


def test_what_goes_wrong_in_the_call_is_raised_by_the_generator():
    def work(tell):
        tell(1)
        raise MemoryError("too much")

    watched = handover.steps(work)
    next(watched)
    with pytest.raises(MemoryError, match="too much"):
        next(watched)
    assert not threads()


def test_a_generator_that_was_never_started_starts_no_thread():
    handover.steps(lambda tell: tell(1)).close()
    assert not threads()
