"""What helps to write a prompt: suggestions at the caret, prompts of before, and styles of one's own."""

import pytest

from tests.browser.hands import eventually
from tests.ui.serving import SERVED

pytestmark = SERVED


@pytest.fixture
def box(person):
    return person.page.locator("#field-prompt textarea")


def offered(person):
    return person.page.locator(".suggest .sg-name").all_inner_texts()


def test_names_are_completed_by_keys_and_by_mouse(person, box):
    box.focus()
    person.page.keyboard.type("a cube <lora:da")
    eventually(lambda: offered(person) == ["dawn"])
    option = person.page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    assert option.get_attribute("aria-selected") == "true" and box.get_attribute("aria-activedescendant") == option.get_attribute("id")
    box.press("Enter")
    assert box.input_value() == "a cube <lora:dawn:1>" and offered(person) == []
    person.page.keyboard.type(", __")
    eventually(lambda: offered(person) == ["colour", "light", "medium", "season"])
    person.picture("suggestions")
    for key in ("ArrowUp", "ArrowUp", "Tab"):
        box.press(key)
    assert box.input_value() == "a cube <lora:dawn:1>, __medium__"
    box.press("Control+z")
    assert box.input_value() == "a cube <lora:dawn:1>, __"
    box.press("Backspace")
    person.page.keyboard.type("_li")
    eventually(lambda: offered(person) == ["light"])
    person.page.locator(".suggest li").click()
    assert box.input_value() == "a cube <lora:dawn:1>, __light__"


def test_a_closed_list_takes_no_keys_and_esc_closes_it_alone(person, box, painter):
    painter.pace = 1.0
    person.generates()
    eventually(lambda: person.progress().startswith("Step"))
    box.focus()
    person.page.keyboard.type("__")
    eventually(lambda: len(offered(person)) == 4)
    box.press("Escape")
    assert offered(person) == [] and box.input_value() == "__" and person.state() == "running"
    box.press("Enter")
    assert box.input_value() == "__\n"
    box.press("Tab")
    assert person.page.evaluate("() => document.activeElement.id") != "field-prompt" and box.input_value() == "__\n"
    box.press("Escape")
    eventually(lambda: person.state() == "cancelled")


def test_the_prompts_of_a_second_pass_are_written_likewise(person):
    person.page.locator("#hires > button").click()
    box = person.page.locator("#txt2img-hires_prompt textarea")
    box.click()
    person.page.keyboard.type("a cube, __li")
    eventually(lambda: offered(person) == ["light"])
    box.press("Tab")
    box.press("Control+ArrowUp")
    assert box.input_value() == "a cube, (__light__:1.1)"


def test_a_style_is_chosen_where_one_writes(person, box):
    box.focus()
    person.page.keyboard.type("a cube <night")
    eventually(lambda: offered(person) == ["At night"])
    box.press("Tab")
    eventually(lambda: "At night" in person.page.inner_text("#field-styles"))
    assert box.input_value() == "a cube "


def test_a_prompt_of_before_comes_back_with_negative_and_styles(person, arrive):
    for prompt, negative in (("a mill by a river", "rain"), ("something else", "")):
        person.says(prompt)
        person.page.fill("#field-negative_prompt textarea", negative)
        person.draws()
    other = arrive(person.server)
    other.page.click(".hs-open")
    eventually(lambda: "Nothing yet" in other.page.inner_text(".hs-note"))
    person.page.click(".hs-open")
    rows = person.page.locator(".hs-prompt")
    eventually(lambda: rows.all_inner_texts() == ["something else", "a mill by a river"])
    person.picture("history")
    person.page.keyboard.type("river RAIN")
    eventually(lambda: rows.all_inner_texts() == ["a mill by a river"])
    person.page.keyboard.press("Enter")
    eventually(lambda: person.value("field-prompt") == "a mill by a river" and person.value("field-negative_prompt") == "rain")


def test_the_present_prompts_become_a_style_that_can_be_renamed_and_deleted(person):
    page = person.page
    person.says("a mill, {prompt}")
    page.click(".st-open")
    eventually(lambda: page.locator(".st-row").count() >= 8)
    page.click(".st-present")
    page.click(".st-save")
    eventually(lambda: "Name:" in page.inner_text(".st-message"))
    assert page.input_value(".st-input[data-name=prompt]") == "a mill, {prompt}"  # what was refused stays
    page.fill(".st-input[data-name=name]", "Mill")
    page.click(".st-save")
    eventually(lambda: "Mill is kept" in page.inner_text(".st-message"))
    person.picture("styles")
    page.click(".st-use")
    eventually(lambda: "Mill" in page.inner_text("#field-styles"))
    person.says("a river")
    person.draws()
    assert person.server.last_job().request.words_of(0).prompt == "a mill, a river"
    page.click(".st-open")
    page.locator(".st-row", has_text="Mill").click()
    page.fill(".st-input[data-name=name]", "Windmill")
    page.click(".st-save")
    eventually(lambda: "Windmill" in page.inner_text("#field-styles"))
    page.click(".st-delete")
    eventually(lambda: "Windmill" not in page.inner_text("#field-styles"))
    assert person.server.services.writing.styles.read() == {}
