"""The door: pictures and values in, a job or a plain word out, and nothing stored when anything is wrong."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sd_ui.imaging import masking
from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs.intake import Intake
from sd_ui.prompt.lists import WildcardFiles
from sd_ui.prompt.wording import Wording
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import Limits
from sd_ui.spec.request import MODES, DepthToImage, ImageRef, ImageToImage, Inpaint
from tests.jobs.fakes import ALICE, BOB, house

CARD = ModelCard("embedded", "checkpoint", "sd1", Path(), "folder", 1, MODES, defaults=Defaults(64, 64, 5, 3.0))

LORAS = [ModelCard(name, "lora", family, Path(name), "file", 1) for name, family in (("pixel", "sd1"), ("large", "sdxl"))]


class Models:
    """An index of one model and two LoRAs, one of them for another model. A token is a letter."""

    def cards(self):
        return {card.name: card for card in (CARD, *LORAS)}

    def misfit(self, checkpoint, lora):
        return "" if lora == "pixel" else f"{lora} does not go with {checkpoint}: it is for Stable Diffusion XL"

    def text_widths(self, checkpoint):
        return (32,)

    def tokens(self, checkpoint, text):
        return SimpleNamespace(used=len(text))


@pytest.fixture
def home(tmp_path):
    with house(tmp_path / "outputs", start=False, per_owner=3) as home:
        home.blobs = Blobs(tmp_path / "inputs")
        (tmp_path / "colour.txt").write_text("red\ngreen\nblue\n")
        (tmp_path / "styles.csv").write_text("name,prompt\nOil,oil painting of {prompt}\n")
        wording = Wording((tmp_path / "styles.csv",), WildcardFiles((tmp_path,)))
        home.intake = Intake(home.queue, home.blobs, Models(), Limits(input_pixels=1_000_000, tokens=100), wording)
        yield home


def picture(size=(64, 48), colour=(200, 30, 60)):
    return Image.new("RGB", size, colour)


def mask(size=(64, 48), box=(10, 10, 30, 30)):
    image = Image.new("L", size, 0)
    ImageDraw.Draw(image).rectangle(box, fill=255)
    return image


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def stored(home):
    return len(home.queue.jobs(ALICE)), len(list(home.blobs.folder.rglob("*.png")))


def refused(home, field, mode, delivery=Delivery(), **values):
    before = stored(home)
    with pytest.raises(BadRequest) as error:
        home.intake.submit(mode, values, ALICE, delivery)
    assert error.value.field == field, error.value
    assert stored(home) == before, "nothing is kept when anything is wrong"
    return error.value.why


def test_a_form_becomes_a_job(home):
    job, notes = home.intake.submit("txt2img", {"prompt": "a cat", "seed": "7", "width": 513}, ALICE, Delivery("webp"))
    assert (job.request.prompt, job.request.seed, job.request.width, job.delivery.format, job.state) == ("a cat", 7, 512, "webp", "waiting")
    assert notes == ("Width 513 became 512: it must be a multiple of 8.",)
    assert home.queue.get(job.id, ALICE) == job


@pytest.mark.parametrize("given", [lambda image: image, png, lambda image: "ref"], ids=["PIL", "bytes", "ref"])
def test_pictures_come_as_bytes_as_images_and_as_references(home, given):
    init = home.blobs.put(picture()) if given(picture()) == "ref" else given(picture())
    job, _ = home.intake.submit("img2img", {"init": init, "strength": 0.5}, ALICE)
    assert isinstance(job.request.source, ImageToImage)
    assert job.request.source.image == home.blobs.put(picture())
    assert home.blobs.open(job.request.source.image).getpixel((0, 0)) == (200, 30, 60)


def test_a_mask_is_kept_black_and_white(home):
    painted = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    ImageDraw.Draw(painted).rectangle((0, 0, 9, 47), fill=(255, 0, 0, 255))
    job, notes = home.intake.submit("inpaint", {"init": picture(), "mask": painted}, ALICE)
    assert isinstance(job.request.source, Inpaint) and notes == ()
    kept = home.blobs.open(job.request.source.mask)
    assert kept.mode == "L" and kept.histogram()[255] == 480 and sum(kept.histogram()) == 64 * 48 == 480 + kept.histogram()[0]


@pytest.mark.parametrize("as_ref", [False, True])
def test_a_mask_of_another_size_is_resized_with_a_note(home, as_ref):
    small = mask((32, 24), (0, 0, 15, 23))
    given = home.blobs.put(small) if as_ref else small
    job, notes = home.intake.submit("inpaint", {"init": picture(), "mask": given}, ALICE)
    assert notes == ("Mask: resized from 32x24 to 64x48, the picture's size.",)
    kept = home.blobs.open(job.request.source.mask)
    assert kept.size == (64, 48) and kept.histogram()[0] == kept.histogram()[255] == 64 * 48 / 2


@pytest.mark.parametrize("empty", [Image.new("L", (64, 48), 0), Image.new("L", (64, 48), 100), Image.new("RGBA", (64, 48), (0, 0, 0, 0))])
def test_an_empty_mask_is_refused(home, empty):
    assert "nothing to change" in refused(home, "mask", "inpaint", init=picture(), mask=empty)
    assert "nothing to change" in refused(home, "mask", "inpaint", init=png(picture()), mask=png(empty))


def test_a_mask_that_is_all_white_leaves_nothing_where_the_rest_is_painted(home):
    full = Image.new("L", (64, 48), 255)
    why = refused(home, "mask", "inpaint", init=picture(), mask=full, mask_mode="Inpaint not masked")
    assert "everything is masked" in why
    assert home.intake.submit("inpaint", {"init": picture(), "mask": Image.new("L", (64, 48)), "mask_mode": "Inpaint not masked"}, ALICE)


def test_a_soft_mask_is_kept_with_its_shades(home):
    grey = Image.linear_gradient("L").resize((64, 48))
    job, _ = home.intake.submit("inpaint", {"init": picture(), "mask": grey, "mask_edge": "Soft"}, ALICE)
    assert home.blobs.open(job.request.source.mask).convert("L").tobytes() == grey.tobytes()


def test_only_masked_asks_for_no_size(home):
    """A speck that would be lost in a picture made small is seen through its window."""
    wide, speck = picture((1000, 900)), mask((1000, 900), (700, 700, 701, 701))
    size = {"width": 64, "height": 64}
    assert "no part of it is left" in refused(home, "mask", "inpaint", init=wide, mask=speck, **size)
    assert home.intake.submit("inpaint", {"init": wide, "mask": speck, "inpaint_area": "Only masked", **size}, ALICE)


def test_a_picture_that_grows_needs_no_mask_and_keeps_what_it_was(home):
    before = picture((61, 48))
    asked = {"init": before, "outpaint_left": 32, "outpaint_bottom": 16, "mask_blur": 4, "width": 512, "height": 512}
    job, notes = home.intake.submit("inpaint", asked, ALICE)
    request = job.request
    assert (request.width, request.height) == (96, 64) and "The picture grew from 61x48 to 96x64." in notes
    image, mask = home.blobs.open(request.source.image), np.asarray(home.blobs.open(request.source.mask)) > 0
    assert image.crop((35, 0, 96, 48)).tobytes() == before.convert("RGB").tobytes(), "what is missing to a multiple of 8 was added at the left, too"
    assert mask[:, :39].all() and mask[44:].all() and not mask[:44, 39:].any()


def test_new_sides_are_painted_too_where_what_is_not_masked_is(home):
    grows = {"init": picture((64, 64)), "mask_mode": "Inpaint not masked", "outpaint_right": 64, "mask_blur": 0}
    for painted, left in ((None, False), ((8, 8, 40, 40), True)):
        source = home.intake.submit("inpaint", grows | {"mask": painted and mask((64, 64), painted)}, ALICE)[0].request.source
        meant = np.asarray(masking.shaded(source, home.blobs.open(source.mask))) > 0
        assert meant[:, 64:].all() and (meant[0, 0], meant[20, 20]) == (left, False), "where nothing is masked, the picture stays"


def test_a_picture_that_grows_too_large_is_refused(home):
    assert "more than this server allows" in refused(home, "width", "inpaint", init=picture((900, 900)), outpaint_left=2048, outpaint_top=2048)
    assert "-8 is out of range (0 to 2048)" in refused(home, "outpaint_left", "inpaint", init=picture(), outpaint_left=-8)


def test_a_mask_of_which_nothing_is_left_at_the_pictures_size_is_refused(home):
    wide, at_the_edge = picture((640, 48)), mask((640, 48), (0, 0, 9, 47))
    assert "nothing to change: no part of it is left in 64x64 (Crop and resize)" in refused(home, "mask", "inpaint", init=wide, mask=at_the_edge)
    assert home.intake.submit("inpaint", {"init": wide, "mask": at_the_edge, "resize": "Just resize"}, ALICE)


def test_a_full_mask_and_a_mask_of_one_pixel_are_masks(home):
    for image in (Image.new("L", (64, 48), 255), mask(box=(30, 20, 30, 20))):
        job, notes = home.intake.submit("inpaint", {"init": picture(), "mask": image}, ALICE)
        assert notes == () and home.blobs.open(job.request.source.mask).getbbox()


def test_a_depth_map_keeps_its_sixteen_bits(home):
    depth = Image.new("I;16", (64, 48), 40_001)
    job, _ = home.intake.submit("depth2img", {"init": picture(), "depth": png(depth)}, ALICE)
    assert isinstance(job.request.source, DepthToImage)
    assert home.blobs.open(job.request.source.depth).getpixel((3, 3)) == 40_001
    job, _ = home.intake.submit("depth2img", {"init": picture(), "depth": None}, ALICE)
    assert job.request.source.depth is None


def test_a_picture_that_a_mode_has_no_use_for_is_said_not_to_be_used(home):
    job, notes = home.intake.submit("txt2img", {"prompt": "x", "init": picture(), "mask": b"damaged"}, ALICE)
    assert job.request.source is None
    assert notes == ("Picture: not used in txt2img.", "Mask: not used in txt2img.")


@pytest.mark.parametrize(
    ("field", "mode", "values"),
    [
        ("init", "img2img", {}),
        ("init", "img2img", {"init": b""}),
        ("init", "img2img", {"init": b"GIF89a" + bytes(20)}),
        ("init", "img2img", {"init": b"%PDF-1.4"}),
        ("init", "img2img", {"init": png(picture())[:60]}),
        ("init", "img2img", {"init": "/etc/passwd"}),
        ("init", "img2img", {"init": Image.new("1", (2000, 2000))}),
        ("init", "img2img", {"init": Image.open(io.BytesIO(png(picture((300, 300)))[:-90]))}),
        ("init", "img2img", {"init": ImageRef("0" * 64, 64, 48)}),
        ("init", "img2img", {"init": ImageRef("../../x", 64, 48)}),
        ("mask", "inpaint", {"init": picture()}),
        ("mask", "inpaint", {"init": picture(), "mask": b"no"}),
        ("strength", "img2img", {"init": picture(), "strength": 2}),
        ("steps", "txt2img", {"steps": 0}),
        ("model", "txt2img", {"model": "../../x"}),
        ("telepathy", "txt2img", {"telepathy": 1}),
        ("mode", "img4img", {"init": picture()}),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(home, field, mode, values):
    refused(home, field, mode, **values)


@pytest.mark.parametrize(
    ("field", "delivery"),
    [
        ("format", Delivery("gif")),
        ("quality", Delivery(quality=101)),
        ("quality", Delivery(quality=True)),
        ("preview", Delivery(preview="all")),
        ("preview_every", Delivery(preview_every=0)),
    ],
)
def test_a_delivery_is_checked_too(home, field, delivery):
    refused(home, field, "img2img", delivery, init=picture())


def test_a_full_queue_keeps_no_pictures(home):
    for number in range(3):
        home.intake.submit("txt2img", {"seed": number}, ALICE)
    refused(home, "queue", "img2img", init=picture())


def test_the_same_key_is_the_same_job_even_with_a_random_seed(home):
    once, again = (home.intake.submit("txt2img", {"prompt": "x", "seed": seed}, ALICE, key="k")[0] for seed in (-1, ""))
    assert once == again
    assert home.intake.submit("txt2img", {"prompt": "x", "seed": once.request.seed}, ALICE, key="k")[0] == once
    assert home.intake.submit("txt2img", {"prompt": "x"}, BOB, key="k")[0].id != once.id
    with pytest.raises(BadRequest, match=r"^key: 'k' was used"):
        home.intake.submit("txt2img", {"prompt": "y"}, ALICE, key="k")


def test_the_same_key_is_answered_when_the_queue_is_full(home):
    jobs = [home.intake.submit("txt2img", {"prompt": str(n)}, ALICE, key=str(n))[0] for n in range(3)]
    assert home.intake.submit("txt2img", {"prompt": "1"}, ALICE, key="1")[0] == jobs[1]


def test_reading_is_submitting_without_a_job(home):
    accepted = home.intake.read("img2img", {"init": picture((64, 64)), "seed": 1})
    assert accepted.request.source.image == home.blobs.put(picture((64, 64)))
    assert home.queue.jobs(ALICE) == []


def test_a_depth_map_of_another_size_is_made_to_lie_on_the_picture(home):
    accepted = home.intake.read("depth2img", {"init": picture((64, 96)), "depth": picture((128, 64)).convert("L"), "seed": 1})
    source = accepted.request.source
    assert (source.depth.width, source.depth.height) == (source.image.width, source.image.height)
    assert any(note.startswith("Depth map: resized from") for note in accepted.notes)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_text_of_too_many_tokens_is_refused(home, field):
    assert home.intake.read("txt2img", {field: "x" * 100, "seed": 1})
    with pytest.raises(BadRequest, match=rf"^{field}: 101 tokens are too many \(at most 100\)"):
        home.intake.read("txt2img", {field: "x" * 101, "seed": 1})


def test_a_prompt_may_ask_for_loras_and_is_kept_as_it_was_written(home):
    prompt = "a cat <lora:pixel:0.8> <lora:PIXEL:-0.2>"
    assert home.intake.submit("txt2img", {"prompt": prompt}, ALICE)[0].request.prompt == prompt
    assert home.intake.submit("txt2img", {"prompt": "a cat # <lora:gone:1>"}, ALICE)


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("<lora:pixle:1>", "the LoRA 'pixle' is not known; did you mean pixel"),
        ("<lora:../../x:1>", "is not known"),
        ("<lora:embedded:1>", "is not known"),
        ("<lora:pixel:much>", "<lora:pixel:much>: 'much' is not a weight (a number from -100 to 100)"),
        ("<lora:pixel", "its > is missing"),
        ("<hypernet:pixel:1>", "hypernetworks are not supported"),
        ("<lora:pixel:1><lora:large:1>", "the LoRA large does not go with embedded: it is for Stable Diffusion XL"),
    ],
)
def test_a_lora_that_cannot_be_worn_is_refused_before_anything_is_queued(home, tag, why):
    assert why in refused(home, "prompt", "txt2img", prompt=f"a cat {tag}")


# ---------------------------------------------------------------- words
def test_styles_and_wildcards_are_settled_before_a_job_is_stored(home):
    values = {"prompt": "a __colour__ cat", "styles": "Oil", "seed": 3, "batch_count": 5}
    job, _ = home.intake.submit("txt2img", values, ALICE)
    said = [job.request.words_of(index).prompt for index in range(5)]
    assert home.queue.get(job.id, ALICE) == job and job.request.prompt == "a __colour__ cat" and job.request.styles == ("Oil",)
    assert all(prompt in {f"oil painting of a {colour} cat" for colour in ("red", "green", "blue")} for prompt in said) and len(set(said)) > 1


@pytest.mark.parametrize(
    ("field", "values", "why"),
    [
        ("prompt", {"prompt": "a __color__ cat"}, "did you mean colour?"),
        ("negative_prompt", {"negative_prompt": "__colr__"}, "did you mean colour?"),
        ("styles", {"styles": ["Oli"]}, "did you mean Oil?"),
        ("styles", {"styles": 3}, "is not a list of names"),
        ("emphasis", {"emphasis": "Orignal"}, "did you mean Original?"),
        ("prompt", {"prompt": "(cat:9999)"}, "out of range (-1000 to 1000)"),
        ("prompt", {"prompt": "a" + " AND a" * 20}, "21 parts joined by AND are too many"),
        ("prompt", {"prompt": "[" + "|".join(str(i) * 30 for i in range(10, 20)) + "]"}, "tokens in 5 texts that take turns are too many"),
        ("prompt", {"prompt": "{<lora:large:1>|<lora:large:1>}"}, "it is for Stable Diffusion XL"),
    ],
)
def test_words_that_cannot_be_are_refused(home, field, values, why):
    assert why in refused(home, field, "txt2img", **{"prompt": "a cat"} | values)


# ---------------------------------------------------------------- a second pass
LARGER = {"hires_upscaler": "Latent", "width": 64, "height": 64}


def test_the_prompts_of_a_second_pass_are_checked_as_any_others(home):
    assert "tokens are too many" in refused(home, "hires_prompt", "txt2img", hires_prompt="x" * 101, **LARGER)
    assert "tokens are too many" in refused(home, "hires_negative_prompt", "txt2img", hires_negative_prompt="x" * 101, **LARGER)
    assert "is out of range" in refused(home, "hires_prompt", "txt2img", hires_prompt="(cat:99999)", **LARGER)
    assert "a LoRA's tag stands in the prompt" in refused(home, "hires_prompt", "txt2img", hires_prompt="a <lora:pixel:1>", **LARGER)


def test_what_a_second_pass_does_not_choose_is_said(home):
    accepted = home.intake.rehearsed("txt2img", {"hires_prompt": "I <3 a {red|blue} cat", **LARGER})
    assert accepted.request.hires.prompt == "I <3 a {red|blue} cat"
    assert [note for note in accepted.notes if "choices are made in the prompt alone" in note and note.startswith("Hires prompt")]
    assert home.intake.rehearsed("txt2img", {"hires_prompt": "a cat", **LARGER}).notes == ()


def test_a_picture_is_not_grown_beyond_what_may_be_kept(home, monkeypatch):
    monkeypatch.setattr("sd_ui.imaging.outpaint.extended", lambda image, sides: pytest.fail("it was made"))
    assert "megapixels" in refused(home, "width", "inpaint", init=picture((900, 900)), outpaint_left=2048)
