"""Pictures go in, are painted on, come out, and go on to other tabs."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from sd_ui.imaging import record
from tests.browser.hands import eventually
from tests.ui.serving import SERVED

pytestmark = SERVED


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(5)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype="uint8"))
    path = tmp_path / "photo.png"
    small.resize((256, 192), Image.Resampling.BICUBIC).save(path)
    return path


def source(person):
    return person.server.last_job().request.source


def kept(person, ref) -> Image.Image:
    return person.server.services.blobs.open(ref)


def painted(person) -> np.ndarray:
    """The mask's pixels as the browser shows them."""
    url = person.page.evaluate("() => document.querySelector('#inpaint-init .mc-paint').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))[..., 3]


def sent_mask(person) -> np.ndarray:
    return np.asarray(kept(person, source(person).mask).convert("L"))


def stroke(person, *points: tuple[float, float]) -> None:
    """points: shares of the canvas."""
    canvas = person.page.locator("#inpaint-init .mc-paint")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    person.page.mouse.move(*at[0])
    person.page.mouse.down()
    for x, y in at[1:]:
        person.page.mouse.move(x, y, steps=8)
    person.page.mouse.up()


def opens_for_inpainting(person, photo) -> None:
    person.tab("Inpaint")
    person.opens_file("inpaint-init", photo)
    eventually(lambda: person.page.inner_text("#inpaint-init .mc-facts") == "256 × 192")


def brush(person, size: int) -> None:
    person.page.locator("#inpaint-init .mc-size").evaluate(
        "(slider, size) => { slider.value = size; slider.dispatchEvent(new Event('input')); }", size
    )


def press(person, act: str) -> None:
    person.page.locator(f"#inpaint-init [data-do={act}]").click()


# ---------------------------------------------------------------- img2img and depth
def test_a_picture_is_redone(person, photo):
    person.tab("img2img")
    person.opens_file("img2img-init", photo)
    eventually(lambda: person.page.inner_text("#img2img-init .pi-facts") == "256 × 192")
    person.sets("img2img-strength", 0.4)
    person.chooses("img2img-resize", "Just resize")
    person.draws()
    assert (source(person).strength, source(person).resize) == (0.4, "Just resize")
    assert np.array_equal(np.asarray(kept(person, source(person).image)), np.asarray(Image.open(photo)))
    person.picture("img2img")


def test_a_missing_picture_is_said_at_its_place(person):
    person.tab("img2img")
    person.page.click("#generate")
    eventually(lambda: person.message().startswith("Picture: is missing"))
    assert "field-wrong" in person.page.get_attribute("#img2img-init", "class")


def test_something_that_is_no_picture_is_refused_in_words(person, tmp_path):
    path = tmp_path / "not.png"
    path.write_text("<script>alert(1)</script>")
    person.tab("img2img")
    person.opens_file("img2img-init", path)
    eventually(lambda: "cannot be shown" in person.page.inner_text("#img2img-init .pi-wrong"))
    person.page.click("#generate")
    eventually(lambda: person.message().startswith("Picture:"))
    person.page.locator("#img2img-init .pi-clear").click()


def test_the_depth_map_of_a_run_is_shown_and_an_own_one_is_used(person, photo, tmp_path):
    person.tab("Depth")
    person.opens_file("depth2img-init", photo)
    eventually(lambda: person.page.inner_text("#depth2img-init .pi-facts"))
    person.draws()
    eventually(lambda: person.page.locator(".dm-img").is_visible())
    person.picture("depth")
    Image.linear_gradient("L").resize((256, 192)).save(tmp_path / "depth.png")
    person.opens_file("depth2img-depth", tmp_path / "depth.png")
    eventually(lambda: person.page.inner_text("#depth2img-depth .pi-facts"))
    person.draws()
    assert (source(person).depth.width, source(person).depth.height) == (256, 192)


# ---------------------------------------------------------------- the mask
def test_the_mask_is_the_stroke_pixel_for_pixel(person, photo):
    uploads = []
    opens_for_inpainting(person, photo)
    person.page.on("request", lambda request: uploads.append(request.url) if request.method == "POST" and "upload" in request.url else None)
    brush(person, 40)
    stroke(person, (0.25, 0.5), (0.75, 0.5))
    assert not uploads
    mask = painted(person)
    person.picture("inpaint")
    person.draws()
    sent = sent_mask(person)
    assert set(np.unique(sent)) == {0, 255} and np.array_equal(sent, mask)
    rows, columns = np.nonzero(sent)
    assert (rows.min(), rows.max()) == pytest.approx((76, 115), abs=2)  # 192 / 2, 20 up and down
    assert (columns.min(), columns.max()) == pytest.approx((44, 211), abs=2)  # 64 .. 192, with round ends


def test_zoom_and_screen_leave_the_pixels_alone(arrive, server, photo):
    person = arrive(server, device_scale_factor=2)
    opens_for_inpainting(person, photo)
    brush(person, 10)
    press(person, "in")
    press(person, "in")
    stroke(person, (0.5, 0.5), (0.5, 0.5))
    rows, columns = np.nonzero(painted(person))
    assert rows.max() - rows.min() == pytest.approx(9, abs=1) and columns.max() - columns.min() == pytest.approx(9, abs=1)
    assert (rows.mean(), columns.mean()) == pytest.approx((96, 128), abs=1.5)


def test_eraser_undo_redo_invert_clear(person, photo):
    opens_for_inpainting(person, photo)
    brush(person, 30)
    stroke(person, (0.2, 0.5), (0.8, 0.5))
    one = painted(person)
    person.page.keyboard.press("e")
    stroke(person, (0.5, 0.2), (0.5, 0.8))
    two = painted(person)
    assert 0 < np.count_nonzero(two) < np.count_nonzero(one)
    person.page.keyboard.press("Control+z")
    assert np.array_equal(painted(person), one)
    person.page.keyboard.press("Control+Shift+z")
    assert np.array_equal(painted(person), two)
    press(person, "invert")
    assert np.array_equal(painted(person), 255 - two)
    press(person, "clear")
    assert not painted(person).any()
    press(person, "undo")
    assert np.array_equal(painted(person), 255 - two)
    before = int(person.page.inner_text("#inpaint-init .mc-size-text"))
    person.page.locator("#inpaint-init .mc-stage").press("]")
    assert int(person.page.inner_text("#inpaint-init .mc-size-text")) > before


def test_an_empty_mask_is_refused_and_an_own_mask_is_used(person, photo, tmp_path):
    opens_for_inpainting(person, photo)
    person.page.click("#generate")
    eventually(lambda: "Mask: is empty" in person.message())
    mask = Image.new("L", (256, 192))
    mask.paste(255, (10, 20, 110, 70))
    mask.save(tmp_path / "mask.png")
    person.page.set_input_files("#inpaint-init .mc-mask-file", tmp_path / "mask.png")
    eventually(lambda: painted(person).any())
    person.draws()
    assert np.array_equal(sent_mask(person), np.asarray(mask))


def test_the_mask_survives_another_tab_a_failed_run_and_a_reload(person, photo):
    opens_for_inpainting(person, photo)
    stroke(person, (0.3, 0.3), (0.6, 0.6))
    mask = painted(person)
    person.tab("txt2img")
    person.tab("Inpaint")
    assert np.array_equal(painted(person), mask)
    person.says("fail, please")
    person.generates()
    eventually(lambda: person.state() == "failed")
    assert np.array_equal(painted(person), mask)
    person.reloads()
    eventually(lambda: person.page.inner_text("#inpaint-init .mc-facts") == "256 × 192")
    assert np.array_equal(painted(person), mask)


# ---------------------------------------------------------------- results
def test_a_result_goes_to_each_tab_with_its_parameters(person):
    person.says("a tower")
    person.seed("77")
    person.sets("field-steps", 9)
    person.draws()
    result = person.thumbnails().first.get_attribute("data-id")
    for mode, tab, place in (("img2img", "img2img", ".pi-facts"), ("inpaint", "Inpaint", ".mc-facts"), ("depth2img", "Depth", ".pi-facts")):
        person.says("something else")
        person.acts(mode)
        eventually(lambda tab=tab: person.page.get_by_role("tab", name=tab, exact=True).get_attribute("aria-selected") == "true")
        eventually(lambda mode=mode, place=place: person.page.inner_text(f"#{mode}-init {place}") == "128 × 128")
        assert (person.value("field-prompt"), person.value("field-seed")) == ("a tower", "77")
    person.acts("img2img")
    person.draws()
    made = person.server.services.gallery.file(person.server.services.gallery.of_job(first_job(person, result))[0])
    assert np.array_equal(np.asarray(kept(person, source(person).image)), np.asarray(Image.open(made)))


def first_job(person, picture: str) -> str:
    return person.server.services.database.read("SELECT job FROM picture WHERE id = ?", picture)[0]["job"]


def test_use_these_parameters_restores_everything(person, photo):
    opens_for_inpainting(person, photo)
    stroke(person, (0.3, 0.4), (0.7, 0.4))
    person.says("a red door")
    person.seed("123456789012345678")
    person.chooses("field-sampler", "Euler a")
    person.sets("field-steps", 7)
    person.sets("inpaint-strength", 0.61)
    person.sets("inpaint-mask_blur", 9)
    person.draws()
    asked = person.server.last_job().request
    press(person, "clear")
    person.tab("txt2img")
    person.says("")
    person.seed("-1")
    person.chooses("field-sampler", "DDIM")
    person.sets("field-steps", 30)
    person.acts("use")
    eventually(lambda: person.value("field-prompt") == "a red door")
    eventually(lambda: painted(person).any())
    person.draws()
    assert person.server.last_job().request == asked


def test_parameters_are_text_and_a_picture_can_be_saved_and_deleted(person):
    person.says("to be saved")
    person.draws()
    person.page.get_by_text("Parameters of this picture").click()
    eventually(lambda: person.page.locator("#infotext textarea").input_value().startswith("to be saved\n"))
    with person.page.expect_download() as download:
        person.page.click(".vw-download")
    data = download.value.path().read_bytes()
    assert record.read(data).record.request.prompt == "to be saved"
    person.page.click(".vw-img")
    person.page.wait_for_selector(".vw-dialog[open]")
    person.page.keyboard.press("Escape")
    person.page.once("dialog", lambda dialog: dialog.accept())
    person.acts("delete")
    eventually(lambda: person.thumbnails().count() == 0)


def test_a_chosen_result_is_shown_while_another_is_made(person, painter):
    person.says("one")
    person.draws()
    painter.pace = 0.2
    person.generates()
    eventually(lambda: person.progress().startswith("Step"))
    person.thumbnails().first.click()
    eventually(lambda: person.shown().startswith("pictures/"))
    person.page.click(".vw-back")
    eventually(lambda: person.shown().startswith("data:"))
    person.page.keyboard.press("Escape")
    person.finishes()


# ---------------------------------------------------------------- PNG info
def test_png_info_reads_a_picture_and_sends_it_on(person, tmp_path):
    person.says("remember me, {{value}} <img src=x onerror=alert(1)>")
    person.seed("31")
    person.draws()
    path = tmp_path / "saved.png"
    picture = person.thumbnails().first.get_attribute("data-id")
    path.write_bytes(person.page.request.get(f"{person.server.url}pictures/{picture}").body())
    person.tab("PNG info")
    assert person.page.is_disabled("#generate")
    person.opens_file("png-info", path)
    eventually(lambda: person.value("png-info-text").startswith("remember me"))
    person.picture("png-info")
    person.page.get_by_role("button", name="Complete record").click()
    eventually(lambda: '"seed"' in person.page.inner_text("#png-info-record"))
    person.says("")
    person.page.click("#info-to-txt2img")
    eventually(lambda: person.value("field-prompt").startswith("remember me"))
    assert person.value("field-seed") == "31" and person.page.is_enabled("#generate")
    person.tab("PNG info")
    person.page.click("#info-to-img2img")
    eventually(lambda: person.page.inner_text("#img2img-init .pi-facts") == "128 × 128")


def test_a_pasted_graph_is_read_listed_and_sent_on(person):
    nodes = {"1": ("EmptyLatentImage", {"width": 192, "height": 128}), "2": ("CLIPTextEncode", {"text": "a <b>fox</b>", "clip": ["9", 1]}),
             "3": ("KSampler", {"seed": 2**63 + 1, "steps": 9, "cfg": 3, "sampler_name": "euler", "scheduler": "karras", "positive": ["2", 0],
                                "latent_image": ["1", 0], "model": ["4", 0]}), "4": ("FreeU", {"model": ["5", 0]})}  # fmt: skip
    graph = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}
    person.tab("PNG info")
    person.page.fill("#png-info-pasted textarea", json.dumps(graph))
    eventually(lambda: person.value("png-info-understood").startswith("ComfyUI, for txt2img\nPrompt: a <b>fox</b>\n"))
    assert "FreeU" in person.value("png-info-left-over")
    person.page.click("#info-to-txt2img")
    eventually(lambda: person.value("field-prompt") == "a <b>fox</b>")
    eventually(lambda: (person.value("field-seed"), person.value("field-schedule")) == (str(2**63 + 1), "Karras"), "seed and schedule")
    person.tab("PNG info")
    person.page.fill("#png-info-pasted textarea", "[1, 2]")
    eventually(lambda: person.page.is_disabled("#info-to-txt2img"))


def test_png_info_says_when_there_is_nothing_to_read(person, photo):
    person.tab("PNG info")
    person.opens_file("png-info", photo)
    eventually(lambda: "does not say how it was made" in person.page.inner_text("#png-info-message"))
    assert person.page.is_disabled("#info-to-txt2img")


def test_a_text_of_another_program_fills_the_form(person, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("parameters", "a fox\nNegative prompt: blurry\nSteps: 11, Sampler: Euler a, CFG scale: 6.5, Seed: 12, Size: 192x256, Model: other")
    Image.new("RGB", (64, 64)).save(tmp_path / "fox.png", pnginfo=text)
    person.tab("PNG info")
    person.opens_file("png-info", tmp_path / "fox.png")
    eventually(lambda: person.page.is_enabled("#info-to-txt2img"))
    person.page.click("#info-to-txt2img")
    eventually(lambda: person.value("field-prompt") == "a fox")
    said = {field: person.value(f"field-{field}") for field in ("negative_prompt", "seed", "sampler")}
    assert said == {"negative_prompt": "blurry", "seed": "12", "sampler": "Euler a"}
    person.draws()
    request = person.server.last_job().request
    assert (request.width, request.height, request.sampling.steps, request.sampling.cfg_scale) == (192, 256, 11, 6.5)
    assert json.dumps(request.prompt) == '"a fox"'
