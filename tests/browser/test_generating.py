"""From words to a picture, as a person does it."""

import json
import re

from tests.browser.hands import eventually
from tests.ui.serving import SERVED

pytestmark = SERVED


def test_ctrl_enter_shows_each_step_until_the_picture(person, painter):
    painter.pace = 0.4  # slow enough for a busy machine to look at every step
    person.says("a castle by the sea")
    person.sets("field-steps", 12)
    before = person.frames()
    person.presses("Control+Enter")
    seen = []

    def ended() -> bool:
        step = re.match(r"Step (\d+) of 12", person.progress())
        if step and int(step[1]) not in seen:
            seen.append(int(step[1]))
        return person.thumbnails().count() == 1

    eventually(ended)
    assert seen == sorted(seen) and len(seen) >= 10
    eventually(lambda: person.state() == "done")
    eventually(lambda: person.shown().startswith("pictures/"))
    assert person.frames() - before >= 11  # a frame of its own for nearly every step, and the picture
    assert person.page.is_disabled("#cancel")
    person.picture("txt2img")


def test_progress_has_times_and_a_bar(person, painter):
    painter.pace = 0.5
    person.generates()
    eventually(lambda: re.fullmatch(r"Step \d+ of 20", person.progress()))
    assert re.fullmatch(r"[\d.]+ s · [\d.]+ s left", person.page.inner_text(".vw-times"))
    assert float(person.page.evaluate("() => parseFloat(document.querySelector('.vw-fill').style.width)")) > 0
    person.page.keyboard.press("Escape")
    person.finishes()


def test_esc_cancels_and_the_next_job_runs(person, painter):
    painter.pace = 0.5
    person.presses("Control+Enter")
    eventually(lambda: person.progress().startswith("Step"))
    person.presses("Escape")
    eventually(lambda: person.state() == "cancelled")
    assert person.server.last_job().state == "cancelled" and person.thumbnails().count() == 0
    painter.pace = 0.01
    person.draws()
    assert person.state() == "done"


def test_a_reload_finds_the_running_job_and_its_picture(person, painter):
    painter.pace = 1.0  # it outlives a reload, on a busy machine too
    person.says("still there")
    person.generates()
    eventually(lambda: person.progress().startswith("Step"))
    person.reloads()
    eventually(lambda: person.progress().startswith("Step"))
    assert person.queue() == ["still there"] and person.page.is_enabled("#cancel")
    eventually(lambda: person.value("field-prompt") == "still there")
    painter.pace = 0.01
    eventually(lambda: person.thumbnails().count() == 1)
    person.reloads()
    eventually(lambda: person.thumbnails().count() == 1 and person.shown().startswith("pictures/"))


def test_a_second_tab_of_the_browser_sees_the_job(person, painter):
    painter.pace = 1.0
    other = person.page.context.new_page()
    other.goto(person.server.url)
    other.wait_for_selector("#generate")
    person.says("seen twice")
    person.generates()
    eventually(lambda: "seen twice" in other.inner_text("#queue"))
    painter.pace = 0.01
    eventually(lambda: other.locator(".rs-item").count() == 1)
    other.close()


def test_jobs_queue_up_change_places_and_are_cancelled_one_by_one(person, painter):
    painter.pace = 1.0  # the first one outlives all clicks, on a busy machine too
    for prompt in ("first", "second", "third", "fourth"):
        person.says(prompt)
        person.generates()
    eventually(lambda: person.queue() == ["first", "second", "third", "fourth"])
    row = person.page.locator(".qp-list li", has_text="fourth")
    row.locator("[data-act=up]").click()
    eventually(lambda: person.queue() == ["first", "second", "fourth", "third"])
    person.page.locator(".qp-list li", has_text="second").locator("[data-act=down]").click()
    eventually(lambda: person.queue() == ["first", "fourth", "second", "third"])
    person.picture("queue")
    person.page.locator(".qp-list li", has_text="second").locator("[data-act=cancel]").click()
    eventually(lambda: person.queue() == ["first", "fourth", "third"])
    painter.pace = 0.01
    eventually(lambda: person.thumbnails().count() == 3)
    eventually(lambda: person.queue() == [])


def test_a_batch_shows_its_pictures_as_they_come(person, painter):
    painter.pace = 0.05
    person.sets("field-batch_count", 3)
    person.generates()
    eventually(lambda: person.progress().startswith("Picture 2 of 3"))
    eventually(lambda: person.thumbnails().count() >= 1)
    assert person.state() == "running"
    eventually(lambda: person.thumbnails().count() == 3)


def test_a_failed_job_says_why_and_leaves_the_form(person):
    person.says("please fail")
    person.generates()
    eventually(lambda: person.state() == "failed")
    assert "the paint has run out" in person.page.inner_text(".vw-text")
    assert person.value("field-prompt") == "please fail"
    person.says("again")
    person.draws()


def test_what_cannot_be_is_said_beside_the_form_and_nothing_is_queued(person):
    jobs = person.server.jobs()
    person.seed("abc")
    person.page.click("#generate")
    eventually(lambda: "Seed: 'abc' is not a number (-1 for a random one, or 0 to 2^64-1)" in person.message())
    assert person.server.jobs() == jobs
    assert "field-wrong" in person.page.get_attribute("#field-seed", "class")
    person.picture("wrong")
    person.seed("5")
    person.draws()
    assert person.message() == ""


def test_the_largest_seed_is_exact(person):
    person.seed(str(2**64 - 1))
    person.draws()
    assert person.server.last_job().request.seed == 2**64 - 1
    assert person.facts().endswith("seed 18446744073709551615")
    person.page.click("#random")
    eventually(lambda: person.value("field-seed") == "-1")
    person.page.click("#reuse")
    eventually(lambda: person.value("field-seed") == "18446744073709551615")


def test_two_browsers_see_only_their_own(arrive, server, painter):
    painter.pace = 1.0
    first, second = arrive(server), arrive(server)
    first.says("mine")
    first.generates()
    second.says("also mine")
    second.generates()
    eventually(lambda: second.state() == "waiting")
    assert "Waiting for 1 job" in second.progress()
    assert first.queue() == ["mine"] and second.queue() == ["also mine"]
    painter.pace = 0.01
    for each in (first, second):
        eventually(lambda each=each: each.thumbnails().count() == 1)
    stolen = first.thumbnails().first.get_attribute("data-id")
    assert second.page.request.get(f"{server.url}pictures/{stolen}").status == 404
    assert first.page.request.get(f"{server.url}pictures/{stolen}").status == 200


def test_a_number_out_of_range_is_refused_in_words_and_not_changed_silently(person):
    jobs = person.server.jobs()
    person.sets("field-width", 99999)
    person.page.keyboard.press("Control+Enter")
    eventually(lambda: "99999 is out of range (64 to 4096)" in person.message())
    assert "field-wrong" in person.page.get_attribute("#field-width", "class")
    assert person.server.jobs() == jobs
    person.sets("field-cfg_scale", -2)  # beyond the slider, but allowed
    person.sets("field-width", 64)
    person.draws()
    last = person.server.services.database.read("SELECT request FROM job ORDER BY number DESC LIMIT 1")[0]["request"]
    assert json.loads(last)["sampling"]["cfg_scale"] == -2
