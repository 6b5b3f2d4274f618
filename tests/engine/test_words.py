"""Each picture of a job is told its own words, in its own LoRAs, and is the picture that its seed and words give alone."""

from dataclasses import dataclass, field, replace

import pytest

from sd_ui.engine.generate import Engine
from sd_ui.imaging.blobs import Blobs
from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.wording import Wording
from sd_ui.spec.events import Drawn
from tests.engine.test_generate import BASE, OneModel
from tests.engine.tiny import loaded

TEMPLATE = replace(BASE, prompt="{red|the} {cat|dog|house} {<lora:a:1>|}", count=4)


@dataclass
class Wardrobe(OneModel):
    """worn: the LoRAs of each lease."""

    model: object
    leased: int = 0
    resident: tuple[str, ...] = ()
    worn: list[tuple[str, ...]] = field(default_factory=list)

    def lease(self, choice, loras=(), work=None):
        self.worn.append(tuple(tag.name for tag in loras))
        return super().lease(choice, loras)


@pytest.fixture
def engine(tmp_path):
    return Engine(Wardrobe(loaded()), Blobs(tmp_path / "inputs"))


def drawn(engine, request, done=frozenset()):
    events = []
    course = engine.course(request, done=done)
    answer = None
    while True:
        try:
            said = course.send(answer)
        except StopIteration:
            return events
        answer = said.answer() if hasattr(said, "answer") else None
        events += [said] if isinstance(said, Drawn) else []


def test_a_picture_of_a_job_is_the_picture_of_its_words_alone(engine):
    request = Wording().worded(TEMPLATE)
    assert len(set(request.words)) > 1
    for index, picture in enumerate(drawn(engine, request)):
        alone = replace(request.plain(index), seed=request.seed_of(index), count=1)
        (single,) = drawn(engine, alone)
        assert (picture.seed, picture.rgb) == (single.seed, single.rgb)


def test_a_job_that_goes_on_after_a_restart_draws_what_it_would_have_drawn(engine):
    request = Wording().worded(TEMPLATE)
    whole = drawn(engine, request)
    assert [(d.index, d.rgb) for d in drawn(engine, request, frozenset({0, 2}))] == [(d.index, d.rgb) for d in whole if d.index in (1, 3)]


def test_each_picture_wears_the_loras_of_its_own_words(engine):
    request = Wording().worded(TEMPLATE)
    drawn(engine, request)
    wanted = ["lora:a" in said.prompt for said in request.words]
    runs = [wanted[i] for i in range(4) if i == 0 or request.words[i] != request.words[i - 1]]
    assert engine.manager.worn == [("a",) if worn else () for worn in runs] and any(wanted) and not all(wanted)


def test_the_files_may_change_once_the_job_is_accepted(engine, tmp_path):
    (tmp_path / "thing.txt").write_text("cat\ndog\n")
    request = Wording(wildcards=WildcardFiles((tmp_path,))).worded(replace(BASE, prompt="__thing__"))
    before = drawn(engine, request)[0].rgb
    (tmp_path / "thing.txt").write_text("house\n")
    assert drawn(engine, request)[0].rgb == before
