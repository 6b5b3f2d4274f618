"""A server with the page in this process, and a real Chromium before it. No page may log an error or ask anybody else for anything."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sd_ui.services import Services
from tests.browser.hands import Person
from tests.chromium import MISSING, find
from tests.ui.fakes import Painter
from tests.ui.serving import serving

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
ARTEFACTS = Path(__file__).parents[1] / "artefacts"


class Server:
    """The services that the page talks to, for a look behind it."""

    def __init__(self, services: Services) -> None:
        self.services, self.url = services, f"http://127.0.0.1:{services.settings.port}/"

    def idle(self) -> bool:
        rows = self.services.database.read("SELECT count(*) AS n FROM job WHERE state IN ('waiting', 'running')")
        return rows[0]["n"] == 0

    def last_job(self):
        row = self.services.database.read("SELECT id FROM job ORDER BY number DESC LIMIT 1")[0]
        return self.services.queue.get(row["id"])

    def jobs(self) -> int:
        return self.services.database.read("SELECT count(*) AS n FROM job")[0]["n"]


@pytest.fixture(scope="package")
def painter() -> Painter:
    return Painter()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, painter: Painter) -> Iterator[Server]:
    """With an engine that paints noise turning into a picture, as fast as a test wants it."""
    with serving(tmp_path_factory.mktemp("painted"), lambda tell: painter) as services:
        yield Server(services)


@pytest.fixture(scope="package")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the real engine and the embedded model."""
    with serving(tmp_path_factory.mktemp("real"), None) as services:
        yield Server(services)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed before the tests of other folders: while it is open, this thread's event loop runs."""
    path = find()
    if path is None:
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS + QUIET)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def calm(painter: Painter) -> Iterator[None]:
    painter.pace = 0.02
    yield
    painter.pace = 0.0


@pytest.fixture
def arrive(browser: Browser) -> Iterator[Callable[..., Person]]:
    """arrive(server, ...) -> a new person before the page, with a browser of their own."""
    people: list[Person] = []
    wrong: list[str] = []

    def before(server: Server, **options: object) -> Person:
        context = browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        page = context.new_page()
        watch_over(page, server, wrong)
        person = Person(page, server, ARTEFACTS, wrong)
        people.append(person)
        return person.opens()

    yield before
    for person in people:
        person.page.context.close()
    deadline = time.monotonic() + 60
    while not all(person.server.idle() for person in people) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not wrong


def watch_over(page: Page, server: Server, wrong: list[str]) -> None:
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((server.url, "data:", "blob:")) else wrong.append(f"asked for {request.url}"))


@pytest.fixture
def person(arrive: Callable[..., Person], server: Server) -> Person:
    return arrive(server)
