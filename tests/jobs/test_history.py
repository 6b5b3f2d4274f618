"""The history of prompts is the owner's own jobs, the latest first, searched by words."""

import pytest

from sd_ui.jobs.database import Database
from sd_ui.jobs.history import History
from sd_ui.jobs.queue import Queue
from sd_ui.spec.request import GenerationRequest


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "sd_ui.db")
    yield opened
    opened.close()


@pytest.fixture
def said(database):
    queue = Queue(database, per_owner=5000, in_all=5000)
    return lambda prompt, negative="", owner="me", **more: queue.submit(GenerationRequest(prompt, negative, **more), owner).id


def prompts(found):
    return [asked.prompt for asked in found]


def test_the_latest_prompt_comes_first_and_each_counts_once(database, said):
    for prompt in ("a cat", "a dog", "a cat", ""):
        said(prompt)
    last = said("a dog", seed=7)
    said("a dog", "blurry")
    found = History(database).find("me")
    assert [(asked.prompt, asked.negative_prompt) for asked in found] == [("a dog", "blurry"), ("a dog", ""), ("a cat", "")]
    assert found[1].job == last and prompts(History(database).find("me", limit=1)) == ["a dog"]


def test_words_are_found_in_both_prompts_and_in_styles(database, said):
    said("a Grüner Baum", "blurry")
    said("a tree", styles=("Oil painting",))
    history = History(database)
    assert prompts(history.find("me", "grüner BLUR")) == ["a Grüner Baum"] and prompts(history.find("me", "oil tree")) == ["a tree"]
    assert history.find("me", "%") == [] and history.find("me", "tree blurry") == []


def test_nobody_sees_another_ones_prompts(database, said):
    job = said("a secret", owner="somebody else")
    history = History(database)
    assert history.find("me") == [] and history.get("me", job) is None
    asked = history.get("somebody else", job)
    assert asked is not None and asked.prompt == "a secret"


def test_a_job_that_is_damaged_or_older_hides_no_other(database, said):
    said("first")
    damaged, older = said("damaged"), said("older")
    with database.write() as db:
        db.execute("UPDATE job SET request = substr(request, 1, 20) WHERE id = ?", (damaged,))
        db.execute("UPDATE job SET request = json_remove(request, '$.styles') WHERE id = ?", (older,))
    assert prompts(History(database).find("me")) == ["older", "first"]


def test_a_search_goes_through_all_portions(database, said, monkeypatch):
    monkeypatch.setattr("sd_ui.jobs.history.PORTION", 3)
    for i in range(10):
        said(f"number {i}")
    assert prompts(History(database).find("me", "number 0")) == ["number 0"]
    assert len(History(database).find("me")) == 10
