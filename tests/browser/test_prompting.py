"""Writing a prompt: what is odd in it is shown where it stands, and styles and wildcards reach the pictures."""

from tests.browser.hands import eventually


def test_what_is_odd_is_said_below_the_prompt_and_a_press_selects_it(person):
    person.says("🌋 a (red cat, __color__")
    lines = person.page.locator("#problems-prompt li")
    eventually(lambda: lines.count() == 2)
    assert "never closed" in lines.nth(0).inner_text() and "did you mean colour" in lines.nth(1).inner_text()
    lines.nth(1).click()
    place = "() => { const box = document.querySelector('#field-prompt textarea'); return box.value.slice(box.selectionStart, box.selectionEnd); }"
    assert person.page.evaluate(place) == "__color__"
    marked = "() => [...document.querySelectorAll('.prompt-marks .odd, .prompt-marks .fatal')].map((mark) => mark.className + ' ' + mark.textContent)"
    eventually(lambda: person.page.evaluate(marked) == ["odd (", "fatal __color__"])
    person.picture("problems")
    person.page.keyboard.press("Home")
    person.page.keyboard.type("so, ")
    assert person.page.evaluate(marked) == ["odd (", "fatal __color__"]
    person.says("a (red sphere:1.2)")
    eventually(lambda: person.page.evaluate(marked) == [])
    eventually(lambda: lines.count() == 0 and "3 / " in person.page.inner_text("#tokens-prompt"))


def test_an_unknown_list_is_refused_beside_the_form_before_anything_is_queued(person):
    before = person.server.jobs()
    person.says("a __color__ cat")
    person.page.click("#generate")
    eventually(lambda: "did you mean colour" in person.page.inner_text("#message"))
    assert person.server.jobs() == before


def test_a_style_and_a_wildcard_make_words_of_their_own_for_each_picture(person):
    person.says("a __colour__ cat")
    person.chooses("field-styles", "At night")
    person.page.keyboard.press("Escape")
    person.seed("5")
    person.draws()
    request = person.server.last_job().request
    assert request.prompt == "a __colour__ cat" and request.styles == ("At night",)
    said = request.words_of(0).prompt
    assert said.startswith("a ") and said.endswith(" cat, at night") and "__" not in said
    person.reloads()
    eventually(lambda: "At night" in person.page.inner_text("#field-styles"))
    person.page.locator("#viewer [data-act=use]").first.click()
    eventually(lambda: person.value("field-prompt") == said)
    assert "At night" not in person.page.inner_text("#field-styles")
