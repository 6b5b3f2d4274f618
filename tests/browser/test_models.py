"""The tab Models: found, opened, described and used, in light, dark and on a phone."""

import json

import pytest
from PIL import Image

from tests.browser.hands import eventually
from tests.browser.test_looks import PHONE, fits
from tests.models.library import checkpoint, lora
from tests.ui.serving import SERVED

pytestmark = SERVED

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def shelf(server):
    """Models in the folder of the server, and away again for the other tests."""
    folder = server.services.settings.models_dir[0]
    made = [
        checkpoint(folder / "harbour_v3.safetensors"),
        lora(folder / "Lora" / "ink.safetensors"),
        lora(folder / "Lora" / f"{HOSTILE}.safetensors"),
    ]
    made += [lora(folder / "Lora" / "styles" / f"style {i:02d}.safetensors", 2048 if i % 3 else 768) for i in range(90)]
    (folder / "broken_download.safetensors").write_bytes(b"<html>")
    for i, path in enumerate(made[:50]):
        Image.effect_mandelbrot((320, 200 + 4 * i), (-3, -2.5, 2, 2.5), 20 + i).convert("RGB").save(path.with_suffix(".preview.png"))
    about = {
        "activation text": "inked, black lines",
        "preferred weight": 0.7,
        "notes": f"Best with paper. {HOSTILE}",
        "description": "<p>Draws <b>ink</b>.</p>",
    }
    (folder / "Lora" / "ink.json").write_text(json.dumps(about))
    server.services.models.refresh()
    server.services.models.hashes.of(made[0])
    yield
    for path in folder.rglob("*.*"):
        path.unlink()
    server.services.models.refresh()


def opened(person):
    person.tab("Models")
    eventually(lambda: person.page.locator(".lb-tile").count() == 60)


def searches(person, text, count):
    person.page.fill(".lb-search", text)
    eventually(lambda: person.page.locator(".lb-tile").count() == count, text)


def opens(person, title):
    person.page.locator(".lb-open", has_text=title).first.click()
    eventually(lambda: person.page.locator(".lb-card[open] .lb-title").count() == 1)


def test_a_model_is_found_described_and_used(person):
    opened(person)
    eventually(lambda: person.page.evaluate("() => [...document.querySelectorAll('.lb-tile img')].some((image) => image.naturalWidth > 0)"))
    assert person.page.inner_text(".lb-count") == "96 models"
    person.page.click(".lb-more")
    eventually(lambda: person.page.locator(".lb-tile").count() == 96)
    searches(person, "harbour", 1)
    opens(person, "harbour")
    person.picture("models-card")
    person.page.fill("[data-name=steps]", "0")
    person.page.fill(".lb-notes", "for ships")
    person.page.click(".lb-save")
    eventually(lambda: "1 to 150" in person.page.inner_text(".lb-message"))
    assert person.page.input_value(".lb-notes") == "for ships", "what was entered stays"
    person.page.fill("[data-name=steps]", "31")
    person.page.select_option("[data-name=sampler]", "Heun")
    person.page.click(".lb-save")
    eventually(lambda: person.page.inner_text(".lb-message") == "Saved.")
    person.page.click(".lb-starring")
    eventually(lambda: "Starred" in person.page.inner_text(".lb-starring"))
    person.page.click(".lb-use")
    eventually(lambda: person.value("field-model") == "harbour_v3" and person.value("field-sampler") == "Heun")
    assert person.page.locator("#field-steps input[type=number]").input_value() == "31"
    eventually(lambda: person.page.locator("#generate").is_enabled())
    own = person.server.services.models.card("harbour_v3").own
    assert own.starred and own.notes == "for ships" and own.defaults["steps"] == 31
    person.reloads()
    opened(person)
    assert person.page.locator(".lb-name").first.inner_text() == "harbour_v3", "a star comes first"


def test_a_lora_goes_into_the_prompt_with_its_words(person):
    person.says("a lighthouse")
    opened(person)
    person.page.get_by_role("button", name="LoRAs", exact=True).click()
    searches(person, "inked", 1)
    opens(person, "ink")
    assert "Draws ink." in person.page.inner_text(".lb-card")
    person.page.locator(".lb-word").first.click()
    eventually(lambda: "inked, black lines" in person.value("field-prompt"))
    person.page.click(".lb-use")
    eventually(lambda: person.value("field-prompt").endswith("<lora:ink:0.7>"))


def test_a_file_that_cannot_be_used_says_why_and_a_name_is_text(person):
    opened(person)
    searches(person, "broken", 1)
    assert "web page instead of a model" in person.page.inner_text(".lb-fault")
    opens(person, "broken")
    assert person.page.locator(".lb-use").count() == 0
    person.page.keyboard.press("Escape")
    searches(person, "onerror", 2)  # a file's name, and a note
    assert HOSTILE in person.page.inner_text(".lb-grid") and person.page.locator(".lb [onerror]").count() == 0


@pytest.mark.parametrize(("look", "options"), [("light", {"color_scheme": "light"}), ("dark", {"color_scheme": "dark"}), ("phone", PHONE)])
def test_it_looks_right(arrive, server, look, options):
    person = arrive(server, **options)
    opened(person)
    eventually(lambda: person.page.evaluate("() => [...document.querySelectorAll('.lb-tile img')].some((image) => image.naturalWidth > 0)"))
    person.page.locator(".lb-head").scroll_into_view_if_needed()
    person.picture(f"models-{look}")
    opens(person, "harbour")
    person.picture(f"models-card-{look}")
    assert look != "phone" or fits(person, 390)
    box = person.page.locator(".lb-card").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= person.page.viewport_size["width"]
