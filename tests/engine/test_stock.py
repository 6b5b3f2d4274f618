"""Models that run by diffusers' own pipelines: the very pictures of those pipelines, told step by step, and cancelled between two of them."""

import inspect
import io
import threading
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sd_ui.engine.arrangement import Arrangement
from sd_ui.engine.device import Place
from sd_ui.engine.driver import Driver
from sd_ui.engine.generate import UNCHANGED, Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.policy import SEQUENTIAL, Policy
from sd_ui.imaging.blobs import Blobs
from sd_ui.models import folders, stock
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.codec import dump
from sd_ui.spec.codec import load as read_back
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.events import Drawn, Loading, Stepped
from sd_ui.spec.request import GenerationRequest, ImageToImage, Inpaint, ModelChoice, Sampling, steps_to_run
from sd_ui.spec.samplers import MODELS_OWN
from tests import stock_models
from tests.engine.tiny import MASK, PICTURE, SEED, SIZE

CPU = Place(torch.device("cpu"), torch.float32)
STEPS, STRENGTH = 4, 0.5
MODES = [(family, mode) for family in stock_models.MADE for mode in stock.FAMILIES[family].modes]
SILENT = Delivery(preview="off")


def card_of(path):
    found = folders.look(path)
    return ModelCard(
        path.name, "checkpoint", found.family, path, "folder", 0, found.modes, fault=found.fault, defaults=found.defaults, stock=found.stock
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("stock")
    return {family: stock_models.save(family, root / family) for family in stock_models.MADE}


@pytest.fixture(scope="module")
def manager(saved):
    cards = {family: card_of(path) for family, path in saved.items()}
    return PipelineManager(lambda: cards, CPU)


@pytest.fixture
def engine(manager, tmp_path):
    return Engine(manager, Blobs(tmp_path / "inputs"))


def asked(engine, family, mode="txt2img", strength=STRENGTH, **more):
    source = None
    if mode == "img2img":
        source = ImageToImage(engine.blobs.put(PICTURE), strength)
    if mode == "inpaint":
        source = Inpaint(engine.blobs.put(PICTURE), engine.blobs.put(MASK), strength)
    sampling = Sampling(MODELS_OWN, "Automatic", STEPS, 3.0)
    base = GenerationRequest("a red cat", "rain", ModelChoice(family), sampling, SIZE, SIZE, SEED, source=source)
    return replace(base, **more)


def drawn(events):
    return [event for event in events if isinstance(event, Drawn)]


def picture(event):
    return np.frombuffer(event.rgb, np.uint8).reshape(event.height, event.width, 3)


def left_behind():
    return [thread for thread in threading.enumerate() if thread.name == "stock pipeline"]


# ---------------------------------------------------------------- the oracle
ARGUMENTS = {  # what the stock pipelines are told besides the prompt, the size and the number of steps
    "pixart-sigma": {"guidance_scale": 3.0, "negative_prompt": "rain", "use_resolution_binning": False, "clean_caption": False},
    "sana": {"guidance_scale": 3.0, "negative_prompt": "rain", "use_resolution_binning": False, "clean_caption": False},
    "z-image": {"guidance_scale": 2.0, "negative_prompt": "rain"},
    "qwenimage": {"true_cfg_scale": 3.0, "negative_prompt": "rain"},
    "flux2-klein": {"guidance_scale": 3.0},
}


@torch.inference_mode()
def theirs(path, family, mode, **arguments):
    """Loaded by diffusers itself, and called as its documentation says."""
    kind = getattr(diffusers, stock.FAMILIES[family].pipelines["txt2img"])
    pipeline = kind.from_pretrained(path, local_files_only=True, dtype=torch.float32)
    for part in pipeline.components.values():
        for tensor in (*part.parameters(), *part.buffers()) if isinstance(part, torch.nn.Module) else ():
            tensor.data = tensor.data.clone()  # from the mapped file to an even address, which decides the last bits
    if mode != "txt2img":
        pipeline = getattr(diffusers, stock.FAMILIES[family].pipelines[mode])(**pipeline.components, **flags(pipeline))
    pipeline.set_progress_bar_config(disable=True)
    if mode != "txt2img":
        arguments |= {"image": PICTURE, "strength": STRENGTH}
    if mode == "inpaint" or (mode == "img2img" and family == "flux2-klein"):
        arguments["mask_image"] = MASK if mode == "inpaint" else Image.new("L", (SIZE, SIZE), 255)
    if "width" in inspect.signature(pipeline.__call__).parameters:
        arguments |= {"width": SIZE, "height": SIZE}
    generator = torch.Generator().manual_seed(SEED)
    return np.asarray(pipeline(prompt="a red cat", num_inference_steps=STEPS, generator=generator, **arguments).images[0])


def flags(pipeline):
    """What the constructors take besides parts."""
    said = {name: pipeline.config[name] for name in ("is_distilled", "requires_safety_checker") if name in pipeline.config}
    return {name: value for name, value in said.items() if name in inspect.signature(type(pipeline).__init__).parameters}


@pytest.mark.parametrize(("family", "mode"), MODES)
def test_the_picture_is_that_of_the_stock_pipeline_pixel_for_pixel(engine, saved, family, mode):
    events = list(engine.generate(asked(engine, family, mode)))
    (found,) = drawn(events)
    wanted, ours = theirs(saved[family], family, mode, **ARGUMENTS[family]), picture(found)
    if mode == "inpaint":  # ours outside of the mask is the input, and the edge is soft inside of it
        held, changed = np.asarray(MASK) < 128, np.zeros((SIZE, SIZE), bool)
        changed[24:40, 16:32] = True
        assert np.array_equal(ours[held], np.asarray(PICTURE)[held])
        assert np.array_equal(ours[changed], wanted[changed])
    else:
        assert np.array_equal(ours, wanted)
    steps = [event for event in events if isinstance(event, Stepped)]
    run = STEPS if mode == "txt2img" else STEPS // 2
    assert [(step.index, step.total) for step in steps] == [(i, run) for i in range(1, run + 1)] and found.made.steps_run == run
    assert type(next(event for event in events if not isinstance(event, Stepped))) is Loading
    assert not left_behind()


# ---------------------------------------------------------------- seeds, replay, strength
def test_picture_i_is_the_picture_of_the_seed_plus_i(engine):
    together = drawn(engine.generate(asked(engine, "pixart-sigma", count=2), SILENT))
    (alone,) = drawn(engine.generate(asked(engine, "pixart-sigma", seed=SEED + 1), SILENT))
    assert together[1].rgb == alone.rgb != together[0].rgb and [one.seed for one in together] == [SEED, SEED + 1]


@pytest.mark.parametrize(("family", "mode"), [("z-image", "inpaint"), ("flux2-klein", "img2img"), ("sana", "txt2img")])
def test_a_request_that_was_written_down_gives_the_same_picture_again(engine, family, mode):
    request = asked(engine, family, mode)
    (first,) = drawn(engine.generate(request))
    (again,) = drawn(engine.generate(read_back(GenerationRequest, dump(request), "request"), SILENT))
    assert first.rgb == again.rgb and first.made == again.made
    assert first.made.model_hash and first.made.schedule == "Automatic" and first.made.dtype == "float32"


def test_strength_0_gives_the_picture_back_without_a_model(engine):
    (event,) = engine.generate(asked(engine, "z-image", "img2img", strength=0.0))
    assert event.rgb == PICTURE.tobytes() and UNCHANGED in event.notes


def test_strength_1_is_txt2img_with_the_same_seed(engine):
    (from_picture,) = drawn(engine.generate(asked(engine, "z-image", "img2img", strength=1.0), SILENT))
    (from_text,) = drawn(engine.generate(asked(engine, "z-image"), SILENT))
    assert from_picture.rgb == from_text.rgb


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 50, 150])
@pytest.mark.parametrize("rounds", [stock.UP, stock.DOWN])
def test_every_strength_runs_the_steps_that_our_own_loop_would_run(rounds, steps):
    from sd_ui.engine.families.stock import strength_said

    family = replace(stock.FAMILIES["z-image"], rounds=rounds)
    for percent in range(1, 101):
        run = steps_to_run(steps, percent / 100)
        said = strength_said(family, steps, run)
        left = min(steps * said, steps)  # as diffusers' get_timesteps counts
        counted = min(int(steps * said), steps) if rounds == stock.DOWN else steps - int(max(steps - left, 0))
        assert counted == run and 0 <= said <= 1


# ---------------------------------------------------------------- previews
def previews(events):
    return [event.preview for event in events if isinstance(event, Stepped)]


@pytest.mark.parametrize("family", stock_models.MADE)
def test_every_step_shows_a_picture_of_its_own_and_never_uses_the_vae(engine, manager, family):
    with manager.lease(ModelChoice(family)) as model:
        decoded = []
        hook = model.vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
        shown = previews(engine.generate(asked(engine, family)))
        hook.remove()
    assert len(set(shown)) == STEPS and len(decoded) == 1
    for jpeg in shown:
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.format == "JPEG" and image.width == image.height and np.asarray(image).std() > 5


def test_previews_can_be_rarer_noisy_or_off_and_change_no_pixel(engine):
    request = asked(engine, "qwenimage")
    seen = {
        name: list(engine.generate(request, delivery))
        for name, delivery in (("rare", Delivery(preview_every=2)), ("noisy", Delivery(preview="noisy")), ("off", SILENT))
    }
    assert [preview is not None for preview in previews(seen["rare"])] == [False, True, False, True]
    assert previews(seen["off"]) == [None] * STEPS and len(set(previews(seen["noisy"]))) == STEPS
    assert len({drawn(events)[0].rgb for events in seen.values()}) == 1


def test_the_colours_of_a_preview_do_not_turn_over_between_two_steps():
    from sd_ui.engine.stock_preview import Look

    latents = torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(1))
    look = Look(stock_models.kl(16, scaling_factor=0.3611), (64, 64))
    first = look.rgb(latents)
    for _ in range(3):
        assert torch.allclose(look.rgb(latents), first, atol=1e-4)
    assert (look.rgb(-latents) - first).abs().mean() > 0.5


# ---------------------------------------------------------------- cancel, failure, company
def test_cancel_acts_between_two_steps_decodes_nothing_and_leaves_no_thread(engine, manager):
    with manager.lease(ModelChoice("z-image")) as model:
        decoded, called = [], []
        hooks = [
            model.vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1)),
            model.parts["transformer"].register_forward_pre_hook(lambda *_: called.append(1)),
        ]
        driver = Driver()
        driver.add("job", engine.course(asked(engine, "z-image", "inpaint", strength=1.0)))
        while not any(isinstance(event, Stepped) for _, event in driver.turn()):
            pass
        assert len(left_behind()) == 1
        driver.drop("job")
        for hook in hooks:
            hook.remove()
    assert driver.jobs == () and not decoded and len(called) == 1 and not left_behind()
    assert manager._kept[("z-image", "")].leases == 0


def test_even_the_last_step_can_be_cancelled_before_anything_is_decoded(engine, manager):
    with manager.lease(ModelChoice("sana")) as model:
        decoded = []
        hook = model.vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
        events = engine.generate(asked(engine, "sana"))
        while not (isinstance(event := next(events), Stepped) and event.index == event.total):
            pass
        events.close()
        hook.remove()
    assert not decoded and not left_behind()


def test_a_failing_pipeline_fails_its_own_job_and_the_next_one_runs(engine, manager):
    def fails(*_):
        raise RuntimeError("the card caught fire")

    with manager.lease(ModelChoice("pixart-sigma")) as model:
        hook = model.parts["transformer"].register_forward_pre_hook(fails)
        driver, told = Driver(), []
        driver.add("bad", engine.course(asked(engine, "pixart-sigma")))
        driver.add("good", engine.course(asked(engine, "sana")))
        while driver.jobs:
            told += driver.turn()
        hook.remove()
    (error,) = [said for job, said in told if job == "bad" and isinstance(said, Exception)]
    assert "caught fire" in str(error) and not left_behind()
    assert len([said for job, said in told if job == "good" and isinstance(said, Drawn)]) == 1
    assert drawn(engine.generate(asked(engine, "pixart-sigma"), SILENT))


def test_numbers_that_are_not_finite_fail_the_job_instead_of_a_black_picture(engine, manager):
    from sd_ui.engine.pixels import NotFinite

    with manager.lease(ModelChoice("sana")) as model:
        hook = model.vae.decoder.register_forward_hook(lambda module, given, said: said * float("nan"))
        try:
            with pytest.raises(NotFinite):
                list(engine.generate(asked(engine, "sana"), SILENT))
        finally:
            hook.remove()


def test_two_jobs_side_by_side_give_the_pictures_that_they_give_alone(engine):
    requests = {"a": asked(engine, "z-image"), "b": asked(engine, "z-image", "img2img", seed=99)}
    alone = {job: drawn(engine.generate(request, SILENT))[0].rgb for job, request in requests.items()}
    driver, together = Driver(), {}
    for job, request in requests.items():
        driver.add(job, engine.course(request))
    while driver.jobs:
        together |= {job: said.rgb for job, said in driver.turn() if isinstance(said, Drawn)}
    assert together == alone


def test_inference_mode_does_not_leak_to_whoever_watches(engine):
    for _ in engine.generate(asked(engine, "pixart-sigma"), SILENT):
        assert not torch.is_inference_mode_enabled()


# ---------------------------------------------------------------- memory, and half precision
def test_such_a_model_is_counted_and_leaves_memory_for_the_next_one(saved):
    cards = {family: card_of(path) for family, path in saved.items()}
    manager = PipelineManager(lambda: cards, CPU, budget=1)
    with manager.lease(ModelChoice("sana")) as model:
        size = sum(tensor.nbytes for part in model.components.values() for tensor in part.state_dict().values())
        assert size > 0 and sorted(model.components) == ["text_encoder", "transformer", "vae"]
    with manager.lease(ModelChoice("pixart-sigma")):
        assert manager.resident == ("pixart-sigma",)


def test_where_float16_is_asked_for_bfloat16_is_taken_and_the_seed_means_the_same(saved, tmp_path):
    cards = {family: card_of(path) for family, path in saved.items()}
    half = Engine(PipelineManager(lambda: cards, Place(torch.device("cpu"), torch.float16)), Blobs(tmp_path / "inputs"))
    whole = Engine(PipelineManager(lambda: cards, CPU), half.blobs)
    for family in ("sana", "z-image"):
        rounded, exact = (drawn(engine.generate(asked(engine, family), SILENT))[0] for engine in (half, whole))
        assert rounded.made.dtype == "bfloat16"
        assert np.corrcoef(picture(rounded).ravel(), picture(exact).ravel())[0, 1] > 0.9, family


@pytest.mark.parametrize("family", ["z-image", "qwenimage", "sana"])
def test_weights_that_come_layer_by_layer_change_no_pixel(engine, manager, family):
    (usual,) = drawn(engine.generate(asked(engine, family), SILENT))
    with manager.lease(ModelChoice(family)) as model:
        arrangement = Arrangement(small=0)
        arrangement.make(Policy(SEQUENTIAL), list(model.components.items()), CPU, model.attention)
        (moved,) = drawn(engine.generate(asked(engine, family), SILENT))
        arrangement.make(Policy(), list(model.components.items()), CPU, model.attention)
    assert moved.rgb == usual.rgb


def test_a_job_that_runs_out_of_memory_is_drawn_again_more_gently_and_says_so(saved, tmp_path):
    cards = {"z-image": card_of(saved["z-image"])}
    engine = Engine(PipelineManager(lambda: cards, CPU), Blobs(tmp_path / "inputs"))
    calls = []

    def fails_once(*_):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("out of memory")

    with engine.manager.lease(ModelChoice("z-image")) as model:
        hook = model.parts["transformer"].register_forward_pre_hook(fails_once)
        (eased,) = drawn(engine.generate(asked(engine, "z-image"), SILENT))
        hook.remove()
    assert any("Out of memory" in note for note in eased.notes) and not left_behind()
    assert len(calls) == 3 + STEPS and eased.made.economies and eased.made.steps_run == STEPS


# ---------------------------------------------------------------- what is said with the picture
def test_what_means_nothing_to_the_model_is_said_with_the_picture(engine):
    (found,) = drawn(engine.generate(asked(engine, "pixart-sigma", prompt="a (red) cat AND a dog"), SILENT))
    assert any("AND is a word" in note for note in found.notes) and any("Brackets are text" in note for note in found.notes)


def test_a_prompt_whose_end_is_not_read_says_so(engine):
    (found,) = drawn(engine.generate(asked(engine, "pixart-sigma", prompt="cat " * 400), SILENT))
    assert any("its end was not read" in note for note in found.notes)
    (short,) = drawn(engine.generate(asked(engine, "pixart-sigma"), SILENT))
    assert short.notes == ()


def test_fill_starts_from_the_colours_around_the_mask(engine):
    request = asked(engine, "z-image", "inpaint")
    (usual,) = drawn(engine.generate(request, SILENT))
    (filled,) = drawn(engine.generate(replace(request, source=replace(request.source, masked_content="Fill")), SILENT))
    held = np.asarray(MASK) < 128
    assert filled.rgb != usual.rgb and np.array_equal(picture(filled)[held], np.asarray(PICTURE)[held])
