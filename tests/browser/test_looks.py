"""What meets the eye: light and dark, a phone, help on every control, and a form that is still there tomorrow."""

from tests.browser.hands import eventually
from tests.ui.serving import SERVED

pytestmark = SERVED

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def fits(person, width: int) -> bool:
    return person.page.evaluate("() => Math.max(innerWidth, document.documentElement.scrollWidth)") <= width


def test_light_and_dark(arrive, server):
    for scheme in ("light", "dark"):
        person = arrive(server, color_scheme=scheme)
        person.says("a harbour at dawn")
        person.draws()
        dark = person.page.evaluate("() => document.body.classList.contains('dark')")
        assert dark == (scheme == "dark")
        person.picture(f"desktop-{scheme}")
        person.page.click("#colours")
        assert person.page.evaluate("() => document.body.classList.contains('dark')") != dark
        person.reloads()
        eventually(lambda person=person, dark=dark: person.page.evaluate("() => document.body.classList.contains('dark')") != dark)


def test_a_phone_shows_preview_and_generate_together(arrive, server, painter):
    painter.pace = 0.15
    person = arrive(server, **PHONE)
    assert fits(person, 390)
    person.says("small screens, too")
    person.generates()
    eventually(lambda: person.progress().startswith("Step"))
    for part in ("#viewer .vw-stage", "#generate"):
        box = person.page.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844
    person.picture("phone")
    person.finishes()
    for tab in ("img2img", "Inpaint", "Depth", "PNG info"):
        person.page.get_by_role("tab", name=tab, exact=True).tap()
        assert fits(person, 390), tab
    person.picture("phone-whole", full=True)


def test_on_a_phone_every_number_can_be_read(arrive, server):
    person = arrive(server, **PHONE)
    for part in ("hires", "guidance-advanced"):
        person.page.locator(f"#{part} button.label-wrap").click()
        boxes = person.page.locator(f"#{part} input[type=number]")
        eventually(boxes.last.is_visible)
        for box in (boxes.nth(index).bounding_box() for index in range(boxes.count())):
            assert box["width"] >= 40 and box["x"] + box["width"] <= 390, part
        clipped = "(inputs) => inputs.filter((box) => box.parentElement.clientWidth + 1 < box.offsetWidth).length"
        assert boxes.evaluate_all(clipped) == 0, part


def test_results_stay_below_the_picture_and_in_view(arrive, server):
    person = arrive(server, viewport={"width": 1360, "height": 520})
    person.says("as far down as it takes")
    person.draws()
    picture, results = (person.page.locator(part).bounding_box() for part in ("#viewer", "#results"))
    assert results["x"] == picture["x"] and results["y"] >= picture["y"] + picture["height"]
    person.page.locator("#results img").first.scroll_into_view_if_needed()
    assert person.page.locator("#right").evaluate("(column) => column.scrollWidth <= column.clientWidth")
    person.page.evaluate("scrollTo(0, 400)")
    eventually(lambda: abs(person.page.locator("#right").bounding_box()["y"] - 10) <= 1, "results that stay where the form is scrolled")


def test_a_finger_paints(arrive, server, tmp_path):
    from PIL import Image

    Image.new("RGB", (200, 300), "teal").save(tmp_path / "teal.png")
    person = arrive(server, **PHONE)
    person.tab("Inpaint")
    person.opens_file("inpaint-init", tmp_path / "teal.png")
    eventually(lambda: person.page.inner_text("#inpaint-init .mc-facts") == "200 × 300")
    person.page.locator("#inpaint-init .mc-stage").scroll_into_view_if_needed()
    person.page.locator("#inpaint-init .mc-stage").tap()
    eventually(lambda: person.page.evaluate("() => document.querySelector('#inpaint-init [data-do=undo]').disabled === false"))
    person.picture("phone-inpaint")
    assert fits(person, 390)


def test_every_control_has_help(person):
    for tab in ("txt2img", "img2img", "Inpaint", "Depth"):
        person.tab(tab)
        bare = person.page.evaluate(
            """() => [...document.querySelectorAll('[id^=field-], [id^=img2img-], [id^=inpaint-], [id^=depth2img-]')]
                .filter((block) => block.querySelector('[data-testid=block-info]') && !block.querySelector('.info-text')?.textContent)
                .map((block) => block.id)"""
        )
        assert bare == []
    person.page.hover("#field-cfg_scale [data-testid=block-info]")
    eventually(lambda: "How far the prediction is pushed" in person.page.inner_text(".tip"))
    person.picture("help")


def test_the_form_is_still_there_after_a_reload(person):
    person.says("remember this")
    person.page.fill("#field-negative_prompt textarea, #field-negative_prompt input", "blurry")
    person.sets("field-steps", 33)
    person.chooses("field-sampler", "Heun")
    person.seed("4711")
    person.tab("img2img")
    person.sets("img2img-strength", 0.33)
    person.page.wait_for_timeout(500)
    person.reloads()
    eventually(lambda: person.value("field-prompt") == "remember this")
    said = {field: person.value(f"field-{field}") for field in ("negative_prompt", "sampler", "seed")}
    assert said == {"negative_prompt": "blurry", "sampler": "Heun", "seed": "4711"}
    assert person.page.locator("#field-steps input[type=number]").input_value() == "33"
    assert person.page.get_by_role("tab", name="img2img", exact=True).get_attribute("aria-selected") == "true"
    assert person.page.locator("#img2img-strength input[type=number]").input_value() == "0.33"


def test_schedules_follow_the_sampler_and_sizes_the_ratio(person):
    person.chooses("field-schedule", "Karras")
    person.chooses("field-sampler", "DDIM")
    eventually(lambda: person.value("field-schedule") == "Automatic")
    person.page.locator("#field-schedule input").first.click()
    eventually(lambda: person.page.locator("#field-schedule [role=option]").count() == 2)  # Automatic and Uniform
    person.page.keyboard.press("Escape")
    size = [person.page.locator(f"#field-{side} input[type=number]") for side in ("width", "height")]
    person.page.get_by_role("button", name="2:3", exact=True).click()
    eventually(lambda: [box.input_value() for box in size] == ["104", "160"])
    person.page.click("#swap")
    eventually(lambda: [box.input_value() for box in size] == ["160", "104"])


def test_a_newcomer_is_told_what_the_model_is_and_starts_with_a_click(person):
    assert "Embedded" in person.page.inner_text(".ab-title")
    first = person.page.locator(".ab-example").first
    prompt = first.inner_text()
    first.click()
    eventually(lambda: person.value("field-prompt") == prompt)
    eventually(lambda: "tokens" in person.page.inner_text("#tokens-prompt"))
    person.page.locator(".ab-more summary").click()
    assert "Stable Diffusion 1.x" in person.page.inner_text(".ab-hint") and "refresh" in person.page.inner_text(".ab-hint")
    person.draws()
    assert person.server.last_job().request.prompt == prompt


def test_a_prompt_is_text_and_never_markup(person, painter):
    painter.pace = 0.1
    hostile = "<img src=x onerror=\"document.title='hit'\"> {{title}} ${document.title='hit'}"
    person.says(hostile)
    person.generates()
    eventually(lambda: person.queue() == [hostile])
    person.finishes()
    assert person.page.title() == "SD UI"


def test_every_button_says_what_it_does(person):
    unnamed = (
        "() => [...document.querySelectorAll('#actions button, #ratios button, #seed-row button, #refresh, #colours')].filter((b) => !b.title).length"
    )
    eventually(lambda: person.page.evaluate(unnamed) == 0)
    person.tab("Inpaint")
    assert person.page.evaluate("() => [...document.querySelectorAll('.mc button')].filter((b) => !b.title).length") == 0
