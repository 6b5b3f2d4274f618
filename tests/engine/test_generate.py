"""From a request to pictures: what comes out of the engine's door, and in which order."""

from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from sd_ui.engine.denoise import Ask, Prediction
from sd_ui.engine.driver import Driver, Question
from sd_ui.engine.generate import UNCHANGED, Engine
from sd_ui.engine.policy import Policy
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.hashes import Hashes
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Loading, Mapped, Stepped
from sd_ui.spec.measured import Measured
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, Redo, Sampling
from tests.engine.tiny import DEPTH, MASK, PICTURE, SEED, SIZE, loaded

BASE = GenerationRequest("a red cat", sampling=Sampling("Euler a", steps=5, cfg_scale=4.0), width=SIZE, height=SIZE, seed=SEED)


class OneModel:
    """A pipeline manager with one model. leased: how many have it right now."""

    hashes = Hashes()

    def __init__(self, model):
        self.model, self.leased, self.resident = model, 0, ("tiny",)

    def cards(self):
        return {}

    @contextmanager
    def lease(self, choice, loras=(), work=None):
        self.leased += 1
        try:
            yield self.model
        finally:
            self.leased -= 1

    def policy(self, loaded):
        return Policy()


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "inputs")


def engine_of(blobs, **model):
    return Engine(OneModel(loaded(**model)), blobs)


def pictures(events):
    return [Image.frombytes("RGB", (event.width, event.height), event.rgb) for event in events if isinstance(event, Drawn)]


def test_the_story_of_a_job_in_the_order_of_its_events(blobs):
    events = list(engine_of(blobs).generate(replace(BASE, count=2)))
    kinds = [type(event) for event in events]
    assert kinds == [Loading, *[Stepped] * 5, Drawn, *[Stepped] * 5, Drawn, Measured]
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [(s.picture, s.count, s.index, s.total) for s in steps] == [(p, 2, i, 5) for p in (1, 2) for i in range(1, 6)]
    assert all(a.elapsed <= b.elapsed for a, b in pairwise(steps)) and [s.remaining > 0 for s in steps] == [True] * 9 + [False]
    drawn = [event for event in events if isinstance(event, Drawn)]
    assert [(d.index, d.seed, d.width, d.height) for d in drawn] == [(0, SEED, SIZE, SIZE), (1, SEED + 1, SIZE, SIZE)]
    made = drawn[0].made
    assert (made.device, made.dtype, made.steps_run, made.schedule, made.batch) == ("cpu", "float32", 5, "Uniform", 2)
    assert made.torch == torch.__version__


def test_a_request_gives_the_same_pixels_every_time_and_another_seed_others(blobs):
    engine = engine_of(blobs)
    first, again, other = (next(d.rgb for d in engine.generate(request) if isinstance(d, Drawn)) for request in (BASE, BASE, replace(BASE, seed=8)))
    assert first == again != other


def test_pictures_that_are_kept_already_are_not_drawn_again(blobs):
    engine = engine_of(blobs)
    whole = [event for event in engine.generate(replace(BASE, count=3)) if isinstance(event, Drawn)]
    driver, rest = Driver(), []
    driver.add("job", engine.course(replace(BASE, count=3), Delivery(), frozenset({0, 2})))
    while driver.jobs:
        rest += [said for _, said in driver.turn() if isinstance(said, Drawn)]
    assert rest == [whole[1]]


# ---------------------------------------------------------------- pictures as input
@pytest.mark.parametrize("source", [ImageToImage, Inpaint, DepthToImage])
def test_strength_0_returns_the_input_pixel_for_pixel_and_says_so(blobs, source):
    ref, mask = blobs.put(PICTURE), blobs.put(MASK)
    asked = {ImageToImage: ImageToImage(ref, 0.0), Inpaint: Inpaint(ref, mask, 0.0), DepthToImage: DepthToImage(ref, None, 0.0)}[source]
    engine = engine_of(blobs)
    (event,) = engine.generate(replace(BASE, source=asked))
    assert isinstance(event, Drawn) and event.rgb == PICTURE.tobytes() and UNCHANGED in event.notes
    assert event.made.steps_run == 0


@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("blur", [0, 4, 30])
@pytest.mark.parametrize("in_channels", [4, 9])
def test_inpainting_leaves_every_pixel_outside_the_mask_identical(blobs, in_channels, blur, strength):
    source = Inpaint(blobs.put(PICTURE), blobs.put(MASK), strength, mask_blur=blur)
    (picture,) = pictures(engine_of(blobs, in_channels=in_channels).generate(replace(BASE, source=source)))
    before, after, inside = np.asarray(PICTURE), np.asarray(picture), np.asarray(MASK) >= 128
    assert np.array_equal(before[~inside], after[~inside])
    assert (before[inside] != after[inside]).mean() > 0.5


def test_inpainting_where_picture_and_size_differ_keeps_the_fitted_picture(blobs):
    wide = Image.fromarray(np.random.RandomState(5).randint(0, 255, (96, 192, 3), np.uint8))
    mask = Image.new("L", wide.size)
    mask.paste(255, (80, 30, 110, 60))
    source = Inpaint(blobs.put(wide), blobs.put(mask), 0.8)
    events = list(engine_of(blobs).generate(replace(BASE, source=source)))
    (unpainted,) = pictures(engine_of(blobs).generate(replace(BASE, source=replace(source, strength=0.0))))
    (painted,) = pictures(events)
    same = (np.asarray(unpainted) == np.asarray(painted)).all(axis=2)
    assert same[:8].all() and same[-8:].all() and not same.all()
    assert any("fitted" in note for event in events if isinstance(event, Drawn) for note in event.notes)


def test_what_was_transparent_is_said_to_be_white(blobs):
    clear = PICTURE.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 8, 8))
    for given, said in ((clear, True), (PICTURE.convert("RGBA"), False), (PICTURE, False)):
        (event,) = engine_of(blobs).generate(replace(BASE, source=ImageToImage(blobs.put(given), 0.0)))
        assert isinstance(event, Drawn) and any("white" in note for note in event.notes) == said
        assert event.rgb[:3] == (b"\xff\xff\xff" if said else PICTURE.tobytes()[:3])


def test_strength_1_is_txt2img_with_the_same_seed(blobs):
    engine = engine_of(blobs)
    (from_text,) = pictures(engine.generate(BASE))
    (from_picture,) = pictures(engine.generate(replace(BASE, source=ImageToImage(blobs.put(PICTURE), 1.0))))
    assert from_text.tobytes() == from_picture.tobytes()


def test_the_depth_map_of_a_run_is_shown(blobs):
    grey = Image.fromarray((DEPTH.numpy() * 255).astype(np.uint8))
    source = DepthToImage(blobs.put(PICTURE), blobs.put(grey), 0.7)
    events = list(engine_of(blobs, in_channels=5).generate(replace(BASE, source=source)))
    (mapped,) = [event for event in events if isinstance(event, Mapped)]
    with Image.open(BytesIO(mapped.png)) as shown:
        assert shown.size == (SIZE, SIZE) and shown.mode == "L"
        assert np.corrcoef(np.asarray(shown).ravel(), np.asarray(grey).ravel())[0, 1] > 0.99
    assert events.index(mapped) < next(i for i, event in enumerate(events) if isinstance(event, Stepped))


def test_a_depth_map_of_16_bits_is_used_in_full(blobs):
    deep = Image.fromarray(np.linspace(1000, 1255, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint16))
    source = DepthToImage(blobs.put(PICTURE), blobs.put(deep), 0.7)
    (mapped,) = [e for e in engine_of(blobs, in_channels=5).generate(replace(BASE, source=source)) if isinstance(e, Mapped)]
    with Image.open(BytesIO(mapped.png)) as shown:
        assert len(np.unique(np.asarray(shown))) > 200


# ---------------------------------------------------------------- previews
def jpegs(events):
    return [event.preview for event in events if isinstance(event, Stepped)]


@pytest.mark.parametrize("vae", ["kl", "tiny"])
def test_every_step_shows_a_preview_of_its_own(blobs, vae):
    shown = jpegs(engine_of(blobs, vae=vae).generate(BASE))
    assert len(set(shown)) == 5
    for jpeg in shown:
        with Image.open(BytesIO(jpeg)) as image:
            assert image.format == "JPEG" and image.size == ((SIZE, SIZE) if vae == "tiny" else (SIZE // 8, SIZE // 8))


def test_a_large_picture_has_a_small_preview_on_a_cpu(blobs):
    shown = jpegs(engine_of(blobs, vae="tiny").generate(replace(BASE, width=256, height=128)))
    with Image.open(BytesIO(shown[-1])) as image:
        assert image.size == (128, 64)


def test_previews_can_be_rarer_noisy_or_off(blobs):
    engine = engine_of(blobs)
    assert [p is not None for p in jpegs(engine.generate(BASE, Delivery(preview_every=2)))] == [False, True, False, True, True]
    assert jpegs(engine.generate(BASE, Delivery(preview="off"))) == [None] * 5
    assert jpegs(engine.generate(BASE, Delivery(preview="noisy"))) != jpegs(engine.generate(BASE))


def test_previews_change_no_pixel_and_never_use_the_full_vae(blobs):
    engine = engine_of(blobs)
    decodes, vae = [], engine.manager.model.vae
    decode = vae.decode
    vae.decode = lambda latents, **named: decodes.append(1) or decode(latents, **named)
    try:
        with_previews, without = (pictures(engine.generate(BASE, Delivery(preview=preview)))[0] for preview in ("predicted", "off"))
    finally:
        del vae.decode
    assert with_previews.tobytes() == without.tobytes() and len(decodes) == 2


# ---------------------------------------------------------------- cancel, failure, company
def test_cancel_acts_within_a_step_skips_the_decode_and_gives_the_model_back(blobs):
    engine = engine_of(blobs)
    decoded, vae = [], engine.manager.model.vae
    hook = vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
    driver = Driver()
    driver.add("job", engine.course(BASE))
    said = []
    while not any(isinstance(event, Stepped) for _, event in said):
        said = driver.turn()
    assert engine.manager.leased == 1
    driver.drop("job")
    hook.remove()
    assert driver.jobs == () and driver.turn() == [] and not decoded and engine.manager.leased == 0


def test_closing_generate_gives_the_model_back(blobs):
    engine = engine_of(blobs)
    events = engine.generate(BASE)
    while not isinstance(next(events), Stepped):
        pass
    events.close()
    assert engine.manager.leased == 0


def test_one_jobs_failure_touches_no_other():
    def failing():
        yield Loading("a")
        raise MemoryError("too much")

    def answered():
        prediction = yield Question(Ask(torch.zeros(1), torch.tensor(3)), lambda x, t: Prediction(x + t, x))
        yield Loading(str(prediction.guided.item()))

    driver = Driver()
    driver.add("bad", failing())
    driver.add("good", answered())
    told = [said for _ in range(3) for said in driver.turn()]
    assert [(job, said) for job, said in told if job == "good"] == [("good", Loading("3.0")), ("good", None)]
    assert [type(said) for job, said in told if job == "bad"] == [Loading, MemoryError]


def test_two_jobs_side_by_side_give_the_pictures_that_they_give_alone(blobs):
    engine = engine_of(blobs)
    requests = {"a": BASE, "b": replace(BASE, seed=99, sampling=Sampling("DPM++ 2M", steps=7, cfg_scale=2.0))}
    alone = {job: pictures(engine.generate(request))[0].tobytes() for job, request in requests.items()}
    driver, together = Driver(), {}
    for job, request in requests.items():
        driver.add(job, engine.course(request))
    while driver.jobs:
        together |= {job: said.rgb for job, said in driver.turn() if isinstance(said, Drawn)}
    assert together == alone


def test_inference_mode_does_not_leak_to_whoever_watches(blobs):
    for _ in engine_of(blobs).generate(BASE):
        assert not torch.is_inference_mode_enabled()


# ---------------------------------------------------------------- how a picture is redone
def redone(blobs, **redo):
    source = ImageToImage(blobs.put(PICTURE), 0.5, redo=Redo(**redo))
    (event,) = [event for event in engine_of(blobs).generate(replace(BASE, source=source)) if isinstance(event, Drawn)]
    return event


def test_all_steps_are_run_where_they_are_asked_for(blobs):
    assert (redone(blobs).made.steps_run, redone(blobs, steps="All").made.steps_run) == (2, 5)


def test_less_noise_keeps_more_of_the_picture(blobs):
    def far(event):
        return np.abs(np.asarray(PICTURE).astype(int) - np.frombuffer(event.rgb, np.uint8).reshape(SIZE, SIZE, 3)).mean()

    plain, nothing_added = redone(blobs), redone(blobs, noise_multiplier=0.0)
    assert redone(blobs, noise_multiplier=1.0, extra_noise=0.0).rgb == plain.rgb != redone(blobs, extra_noise=0.5).rgb
    assert nothing_added.rgb != plain.rgb and far(nothing_added) != far(plain)


def test_the_result_gets_the_colours_of_the_picture(blobs):
    plain, matched = (np.frombuffer(redone(blobs, **how).rgb, np.uint8).reshape(-1, 3).mean(0) for how in ({}, {"colours": "The picture's"}))
    wanted = np.asarray(PICTURE).reshape(-1, 3).mean(0)
    assert np.ptp(matched - wanted) < np.ptp(plain - wanted)
