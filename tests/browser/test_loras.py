"""The LoRA panel: what goes with the model is offered, and a press puts it into the prompt."""

import json
from collections.abc import Iterator

import pytest
from PIL import Image

from sd_ui.models import header
from tests.browser.hands import eventually
from tests.browser.test_looks import PHONE, fits
from tests.loras import random, write
from tests.ui.serving import SERVED

pytestmark = SERVED


def fitting_the_box(folder, name: str, seed: int, **metadata: str) -> None:
    """A LoRA for the queries of the model in the box."""
    sizes = header.read(folder / "unet" / "diffusion_pytorch_model.safetensors").tensors
    tensors = {}
    for layer, (rows, columns) in ((layer, tensor.shape) for layer, tensor in sizes.items() if layer.endswith("to_q.weight")):
        stem = "unet." + layer.removesuffix(".weight")
        tensors |= {f"{stem}.lora_A.weight": random(4, columns, seed=seed), f"{stem}.lora_B.weight": random(rows, 4, seed=seed + 1)}
    write(name, tensors, **metadata)


@pytest.fixture
def wardrobe(server) -> Iterator[None]:
    """Two LoRAs for the model in the box, one of them with a picture and words, and one for another model."""
    models, embedded = server.services.settings.models_dir[0], server.services.models.card("embedded").path
    words = json.dumps({"10_pixels": {"pixel art": 20, "16 colours": 12}})
    fitting_the_box(embedded, models / "Lora" / "pixel.safetensors", 1, ss_tag_frequency=words)
    Image.linear_gradient("L").resize((96, 96)).save(models / "Lora" / "pixel.png")
    fitting_the_box(embedded, models / "Lora" / "watercolour.safetensors", 5)
    write(models / "Lora" / "other.safetensors", {"lora_unet_conv_in.lora_down.weight": random(2, 4, 3, 3, seed=1),
                                                  "lora_unet_conv_in.lora_up.weight": random(320, 2, 1, 1, seed=1)})  # fmt: skip
    server.services.models.refresh()
    yield
    for path in (models / "Lora").iterdir():
        path.unlink()
    server.services.models.refresh()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_lora_is_chosen_weighed_and_put_into_the_prompt(arrive, server, wardrobe, scheme):
    person = arrive(server, color_scheme=scheme)
    page = person.page
    eventually(lambda: "3 for this model" in page.inner_text("#loras"))
    page.click("#loras summary")
    assert sorted(page.locator("#loras .lp-name").all_inner_texts()) == ["dawn", "pixel", "watercolour"]  # the first one is in the box
    assert "1 of your LoRAs does not go with it" in page.inner_text("#loras .lp-others")
    pixel = page.locator("#loras .lp-item", has_text="pixel")
    eventually(lambda: pixel.locator("img").evaluate("(shown) => shown.naturalWidth") == 96)
    person.says("a red cube")
    pixel.click()
    page.locator("#loras .lp-range").fill("0.7")
    page.click("#loras .lp-add")
    eventually(lambda: person.value("field-prompt") == "a red cube <lora:pixel:0.7>")
    page.get_by_role("button", name="pixel art").click()
    eventually(lambda: person.value("field-prompt") == "a red cube, pixel art <lora:pixel:0.7>")
    person.picture(f"loras-{scheme}")
    person.draws()
    assert server.last_job().request.prompt == "a red cube, pixel art <lora:pixel:0.7>"
    person.says("a red cube <lora:other:1>")
    eventually(lambda: "other does not go with embedded" in page.inner_text("#problems-prompt"))
    page.click("#generate")
    eventually(lambda: "the LoRA other does not go with embedded" in person.message())


@pytest.fixture
def words(server) -> Iterator[None]:
    """Two embeddings for the model in the box, one of which needs escaping, and one for another model."""
    models, box = server.services.settings.models_dir[0] / "embeddings", server.services.models.text_widths("embedded")
    for name, width in (("glow", box[0]), ("ink (v2)", box[0]), ("other", 768)):
        write(models / f"{name}.safetensors", {"emb_params": random(2, width, seed=3)})
    server.services.models.refresh()
    yield
    for path in models.iterdir():
        path.unlink()
    server.services.models.refresh()


def test_an_embedding_is_put_into_either_prompt_by_its_name(arrive, server, words):
    person = arrive(server, **PHONE)
    page = person.page
    eventually(lambda: "3 for this model" in page.inner_text("#loras"))  # with the LoRA in the box
    page.locator("#loras summary").tap()
    assert "1 of your embeddings does not go with it" in page.inner_text("#loras .lp-others")
    page.locator("#loras .lp-item", has_text="glow").tap()
    page.locator("#loras .lp-negative").tap()
    eventually(lambda: person.value("field-negative_prompt") == "glow")
    page.locator("#loras .lp-item", has_text="ink").tap()
    page.locator("#loras .lp-range").fill("0.7")
    page.locator("#loras .lp-add").tap()
    eventually(lambda: person.value("field-prompt") == r"(ink \(v2\):0.7)")
    assert fits(person, 390)
    page.locator("#loras").scroll_into_view_if_needed()
    person.picture("embeddings-phone")
    person.says("other, a red cube")
    eventually(lambda: "the embedding other is read as plain words" in page.inner_text("#problems-prompt"))


def test_the_panel_fits_a_phone(arrive, server, wardrobe):
    person = arrive(server, **PHONE)
    eventually(lambda: "3 for this model" in person.page.inner_text("#loras"))
    person.page.locator("#loras summary").tap()
    person.page.locator("#loras .lp-item", has_text="pixel").tap()
    assert fits(person, 390)
    person.page.locator("#loras .lp-add").tap()
    eventually(lambda: person.value("field-prompt") == "<lora:pixel:1>")
    person.page.locator("#loras").scroll_into_view_if_needed()
    person.picture("loras-phone")
