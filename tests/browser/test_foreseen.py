"""Before Generate is pressed: the line below it, live; and the panel System, in light, dark and on a phone."""

from tests.browser.hands import eventually
from tests.browser.test_looks import PHONE, fits
from tests.ui.serving import SERVED

pytestmark = SERVED


def foreseen(person):
    return person.page.inner_text("#foreseen")


def test_what_would_be_refused_is_said_while_it_is_typed_and_leads_to_its_field(arrive, server):
    person = arrive(server)
    person.says("a hill")
    eventually(lambda: "the first picture will tell" in foreseen(person))
    person.says("a hill <lora:missing:1>")
    eventually(lambda: "'missing' is not known" in foreseen(person))
    person.page.locator("#foreseen li button").first.click()
    assert person.page.evaluate("() => document.activeElement.closest('#field-prompt') !== null")
    person.says("a hill, <b>bold</b>")
    person.sets("field-width", 1024)
    eventually(lambda: "was made for about" in foreseen(person))
    assert person.page.locator("#foreseen b").count() == 0, "a prompt never becomes markup"


def opened(person):
    person.page.click("#engine .en")
    eventually(lambda: "Computes on" in person.page.inner_text("#system"))
    return person.page.inner_text("#system")


def test_the_panel_system_says_what_there_is_also_on_a_phone(arrive, server):
    person = arrive(server, color_scheme="dark")
    said = opened(person)
    assert "Versions" in said and "gradio" in said and "GB free" in said
    person.page.keyboard.press("Escape")
    eventually(lambda: not person.page.locator(".sy").is_visible())
    phone = arrive(server, **PHONE)
    opened(phone)
    box = phone.page.locator(".sy").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390 and fits(phone, 390)
    phone.page.click(".sy-close")
    eventually(lambda: not phone.page.locator(".sy").is_visible())
