"""What a person does on the page, and what they see."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

PATIENCE = float(os.environ.get("PATIENCE", "20"))  # seconds
LEAVING = re.compile("AbortError|Connection errored out")  # what Gradio's page says of its own streams when it is left in the middle


def eventually(look: Callable[[], Any], what: str = "") -> Any:
    """The first true thing that is seen."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.02)
    raise AssertionError(f"not seen within {PATIENCE} s: {what or look}")


class Person:
    """One person with a browser of their own."""

    def __init__(self, page: Page, server: Any, artefacts: Path, wrong: list[str]) -> None:
        self.page, self.server, self.artefacts, self.wrong = page, server, artefacts, wrong

    def opens(self) -> "Person":
        self.page.goto(self.server.url)
        return self.waits_for_the_page()

    def reloads(self) -> "Person":
        before = len(self.wrong)
        self.page.reload()
        self.wrong[before:] = [text for text in self.wrong[before:] if not LEAVING.search(text)]
        return self.waits_for_the_page()

    def waits_for_the_page(self) -> "Person":
        self.page.wait_for_selector("#generate")
        self.page.wait_for_function("() => window.sduiRestored")
        eventually(lambda: self.engine().startswith("Ready"), "an engine that is ready")
        return self

    # ------------------------------------------------------------ doing
    def says(self, prompt: str) -> None:
        self.page.fill("#field-prompt textarea", prompt)

    def sets(self, field: str, value: object) -> None:
        box = self.page.locator(f"#{field} input[type=number]")
        box.fill(str(value))
        box.press("Tab")

    def chooses(self, field: str, label: str) -> None:
        self.page.locator(f"#{field} input").first.click()
        self.page.locator(f"#{field}").get_by_role("option", name=label, exact=True).click()

    def seed(self, text: str) -> None:
        self.page.fill("#field-seed input, #field-seed textarea", text)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def presses(self, keys: str) -> None:
        self.page.locator("#field-prompt textarea").press(keys)

    def generates(self) -> None:
        """Presses the button and waits until the job is there."""
        before = self.server.jobs()
        self.page.click("#generate")
        eventually(lambda: self.server.jobs() > before, "a job")

    def finishes(self) -> None:
        """Waits until everything is done and the page shows it."""
        eventually(self.server.idle, "the end of all jobs")
        eventually(lambda: self.state() not in ("waiting", "loading", "running"), "the end on the page")

    def draws(self) -> None:
        """One picture, from the press to the result."""
        before = self.thumbnails().count()
        self.generates()
        self.finishes()
        eventually(lambda: self.thumbnails().count() > before, "a new result")

    def opens_file(self, place: str, path: Path) -> None:
        self.page.set_input_files(f"#{place} input[type=file] >> nth=0", path)

    def acts(self, act: str) -> None:
        """One of the buttons under the large picture."""
        self.page.locator(f".vw-tools [data-act={act}]").click()

    # ------------------------------------------------------------ seeing
    def engine(self) -> str:
        return self.page.inner_text("#engine")

    def viewer(self) -> Locator:
        return self.page.locator("#viewer [data-state]").first

    def state(self) -> str:
        return self.page.evaluate("() => document.querySelector('.vw').parentElement.dataset.state")

    def frames(self) -> int:
        return int(self.page.evaluate("() => document.querySelector('.vw').parentElement.dataset.frames || 0"))

    def progress(self) -> str:
        return self.page.inner_text(".vw-state")

    def shown(self) -> str:
        return self.page.evaluate("() => document.querySelector('.vw-img').getAttribute('src') || ''")

    def facts(self) -> str:
        return self.page.inner_text(".vw-facts")

    def thumbnails(self) -> Locator:
        return self.page.locator(".rs-item")

    def message(self) -> str:
        return self.page.inner_text("#message .ms") if self.page.locator("#message .ms").is_visible() else ""

    def queue(self) -> list[str]:
        return self.page.locator(".qp-prompt").all_inner_texts()

    def value(self, field: str) -> str:
        return self.page.locator(f"#{field} input, #{field} textarea").first.input_value()

    def picture(self, name: str, full: bool = False) -> None:
        self.artefacts.mkdir(exist_ok=True)
        self.page.screenshot(path=self.artefacts / f"{name}.png", full_page=full)
