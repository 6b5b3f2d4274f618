"""Watching a job: whoever comes, goes or is late, the job does not notice and the end is seen."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from sd_ui.services import Services, open_services
from sd_ui.settings import Settings
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Done, Stepped
from sd_ui.ui import follow, views
from tests.ui.fakes import Painter

MINE, THEIRS = "mine", "theirs"


@pytest.fixture
def painter() -> Painter:
    return Painter(pace=0.01)


@pytest.fixture
def services(tmp_path, painter: Painter) -> Iterator[Services]:
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=(tmp_path / "models",)), lambda tell: painter)
    yield services
    services.close()


@pytest.fixture
def ask(services: Services) -> Callable[..., str]:
    def asked(owner: str = MINE, **values: object) -> str:
        return services.intake.submit("txt2img", {"prompt": "x", "steps": 6} | values, owner)[0].id

    return asked


def seen(services: Services, owner: str = MINE, enough: Callable[[follow.News], bool] = lambda item: False) -> list[follow.News]:
    async def watching() -> list[follow.News]:
        items = []
        async for item in follow.news(services, owner):
            items.append(item)
            if enough(item):
                break
        return items

    return asyncio.run(watching())


def test_a_watcher_sees_one_job_after_the_other_to_their_ends(services, ask):
    jobs = [ask(steps=30), ask(steps=30)]
    services.worker.start()
    items = seen(services)
    assert [item.job.id for item in items if isinstance(item.event, Done)] == jobs
    assert any(isinstance(item.event, Stepped) and item.event.preview for item in items)


def test_nobody_watches_a_strangers_job(services, ask):
    ask(THEIRS)
    services.worker.start()
    assert seen(services, MINE) == []


def test_a_job_that_waits_says_how_many_come_before_it(services, ask):
    ask(THEIRS)
    ask(THEIRS)
    ask(MINE)
    assert seen(services, MINE, enough=lambda item: True)[0].before == 2


def test_a_watcher_that_goes_away_leaves_the_job_alone(services, ask):
    job = ask(steps=20)
    services.worker.start()
    seen(services, enough=lambda item: isinstance(item.event, Stepped))
    assert seen(services)[-1].event == Done(tuple(picture.id for picture in services.gallery.of_job(job)))


def test_previews_can_be_turned_off(services):
    job, _ = services.intake.submit("txt2img", {"steps": 4}, MINE, Delivery(preview="off"))
    services.worker.start()
    shown = [views.of_event(job, item.event) for item in seen(services) if isinstance(item.event, Stepped)]
    assert shown and all(view["src"] is None for view in shown)
