"""The whole way with the real engine and the embedded model: words and pictures in, steps to watch, pixels out."""

import re
import shutil

import numpy as np
from PIL import Image

from sd_ui.services import PACKAGE
from tests.browser.hands import eventually
from tests.browser.test_pictures import painted, stroke
from tests.ui.serving import SERVED

pytestmark = SERVED
EMBEDDED_FOLDER = PACKAGE / "embedded"


def result(person) -> np.ndarray:
    services = person.server.services
    picture = services.gallery.of_job(person.server.last_job().id)[-1]
    return np.asarray(Image.open(services.gallery.file(picture)).convert("RGB"))


def sphere(person, tmp_path):
    """A first picture, drawn by the model itself."""
    person.says("a large shiny red sphere on a checkered floor, at sunset")
    person.seed("7")
    person.draws()
    path = tmp_path / "sphere.png"
    Image.fromarray(result(person)).save(path)
    return path


def test_the_engine_is_named_and_draws_what_is_said_step_by_step(arrive, real):
    person = arrive(real)
    assert re.match(r"Ready · \S.* · \w+ · \w+", person.engine())
    person.says("a large matte blue cube on a gray floor, under a clear blue sky")
    person.sets("field-steps", 60)
    before = person.frames()
    person.draws()
    assert person.frames() - before >= 10
    assert result(person).shape == (128, 128, 3) and result(person).std() > 5
    person.picture("real-txt2img")


def test_a_long_job_survives_a_reload_and_ends_on_esc(arrive, real):
    person = arrive(real)
    person.sets("field-steps", 150)
    person.sets("field-batch_count", 16)
    person.generates()
    eventually(lambda: "Step" in person.progress())
    person.reloads()
    eventually(lambda: "Step" in person.progress())
    person.presses("Escape")
    eventually(lambda: person.state() == "cancelled")
    assert person.server.last_job().state == "cancelled"


def test_denoising_strength_0_returns_the_picture_and_says_so(arrive, real, tmp_path):
    person = arrive(real)
    path = sphere(person, tmp_path)
    person.tab("img2img")
    person.opens_file("img2img-init", path)
    eventually(lambda: person.page.inner_text("#img2img-init .pi-facts") == "128 × 128")
    person.sets("img2img-strength", 0)
    person.draws()
    assert np.array_equal(result(person), np.asarray(Image.open(path)))
    eventually(lambda: "unchanged" in person.page.inner_text(".vw-text"))


def test_what_lies_outside_the_painted_mask_stays(arrive, real, tmp_path):
    person = arrive(real)
    path = sphere(person, tmp_path)
    original = np.asarray(Image.open(path))
    person.tab("Inpaint")
    person.opens_file("inpaint-init", path)
    eventually(lambda: person.page.inner_text("#inpaint-init .mc-facts") == "128 × 128")
    stroke(person, (0.35, 0.5), (0.65, 0.5))
    mask = painted(person) > 0
    person.says("a large matte green cube on a checkered floor, at sunset")
    person.sets("inpaint-strength", 1)
    person.draws()
    person.picture("real-inpaint")
    assert np.array_equal(result(person)[~mask], original[~mask])
    assert not np.array_equal(result(person)[mask], original[mask])


def test_the_estimated_depth_map_is_shown(arrive, real, tmp_path):
    person = arrive(real)
    path = sphere(person, tmp_path)
    person.tab("Depth")
    person.opens_file("depth2img-init", path)
    eventually(lambda: person.page.inner_text("#depth2img-init .pi-facts") == "128 × 128")
    person.says("a large metallic yellow sphere on a green floor, under a cloudy sky")
    person.draws()
    eventually(lambda: person.page.locator(".dm-img").is_visible())
    person.picture("real-depth")


def test_the_same_parameters_give_the_same_picture(arrive, real, tmp_path):
    person = arrive(real)
    sphere(person, tmp_path)
    first = result(person)
    person.says("something else")
    person.seed("-1")
    person.acts("use")
    eventually(lambda: person.value("field-seed") == "7")
    person.draws()
    assert np.array_equal(result(person), first)


def test_another_model_is_found_chosen_and_used(arrive, real):
    folder = real.services.settings.models_dir[0]
    shutil.copytree(EMBEDDED_FOLDER, folder / "twin")
    person = arrive(real)
    person.page.click("#refresh")
    person.page.wait_for_timeout(500)
    person.chooses("field-model", "twin")
    person.says("a large shiny white sphere on a blue floor, at night")
    person.draws()
    assert person.server.last_job().request.model.checkpoint == "twin"
    person.reloads()
    assert person.value("field-model") == "twin"
    person.chooses("field-model", "Embedded tiny model")
    person.draws()
    assert person.server.last_job().request.model.checkpoint == "embedded"
