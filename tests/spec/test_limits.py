"""What comes through the door, and in which words the rest is refused: one case for each bad input that people and programs send."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec import hires
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.spec.limits import Accepted, Limits, fitted
from sd_ui.spec.request import EMBEDDED, MODES, DepthToImage, GenerationRequest, ImageRef, ImageToImage, Inpaint, Redo, Refiner
from sd_ui.spec.samplers import SAMPLERS, SCHEDULES

PICTURE, MASK = ImageRef("a" * 64, 640, 480), ImageRef("b" * 64, 640, 480)
PICTURES = {"init": PICTURE, "mask": MASK, "depth": MASK}
BEST = Defaults(width=128, height=136, steps=18, cfg_scale=3.0, sampler="Euler a", schedule="Uniform", clip_skip=2, negative_prompt="blurry")


def card(name: str, kind: str = "checkpoint", **facts) -> ModelCard:
    return ModelCard(name, kind, "sd1", Path(name), "folder", 1, facts.pop("modes", MODES), **facts)


MODELS = {
    model.name: model
    for model in (
        card(EMBEDDED, defaults=BEST),
        card("photo", modes=("txt2img", "img2img", "inpaint")),
        card("torn", fault="the file is damaged"),
        card("sharp", "vae", modes=()),
        card("dull", "vae", modes=(), fault="the file is damaged"),
        replace(card("wide", "vae", modes=()), family="sdxl"),
        replace(card("any", "vae", modes=()), family=""),
        card("second", modes=("txt2img", "img2img", "inpaint")),
        card("painter", modes=("inpaint",)),
        replace(card("xl", modes=("img2img", "inpaint")), family="sdxl"),
    )
}


def asked(mode: str = "txt2img", limits: Limits = Limits(), **values) -> Accepted:
    return fitted(mode, values, MODELS, limits)


def request(mode: str = "txt2img", **values) -> GenerationRequest:
    return asked(mode, **values).request


def of(mode: str) -> dict[str, ImageRef]:
    return {name: picture for name, picture in PICTURES.items() if mode in FIELDS[name].modes}


# ---------------------------------------------------------------- refused
STEPS, SIZES, CFG, STRENGTH, SEEDS, COUNTS = "1 to 150", "64 to 4096", "-100 to 100", "0 to 1", "-1 for a random one, or 0 to 2^64-1", "1 to 64"
NAN, INFINITY = float("nan"), float("inf")
REFUSED = [
    ("prompt", "x" * 32_001, "32001", "at most 32000"),
    ("negative_prompt", "x" * 100_000, "100000", "at most 32000"),
    ("prompt", "half \ud800", "half of a character", "cannot be saved"),
    ("prompt", 7, "7", "is not text"),
    ("prompt", ["a"], "['a']", "is not text"),
    *[(side, bad, shown, SIZES) for side in ("width", "height") for bad, shown in (
        (0, "0"), (-8, "-8"), (60, "60"), (10**9, "1000000000"), (2**31, "2147483648"), (2**63, "9223372036854775808"),
        ("abc", "'abc'"), (NAN, "nan"), (INFINITY, "inf"), (True, "True"), (512.5, "512.5"), ([512], "[512]"))],
    *[("steps", bad, shown, STEPS) for bad, shown in ((0, "0"), (-1, "-1"), (10**6, "1000000"), (151, "151"), ("many", "'many'"), (1.5, "1.5"))],
    *[("strength", bad, shown, STRENGTH) for bad, shown in ((-0.1, "-0.1"), (1.01, "1.01"), (NAN, "nan"), ("half", "'half'"), (False, "False"))],
    *[("cfg_scale", bad, shown, CFG) for bad, shown in ((NAN, "nan"), (INFINITY, "inf"), ("nan", "nan"), (10**6, "1000000"), (-101, "-101"))],
    *[("seed", bad, shown, SEEDS) for bad, shown in ((-2, "-2"), (2**64, "18446744073709551616"), (1e30, "1e+30"), (1.5, "1.5"), ("+-5", "'+-5'"),
                                                     ("dice", "'dice'"), (10**5000, "int too long to be shown"))],
    *[("batch_count", bad, shown, COUNTS) for bad, shown in ((0, "0"), (-1, "-1"), (1000, "1000"))],
    ("clip_skip", 0, "0", "1 to 12"),
    ("clip_skip", 13, "13", "1 to 12"),
    ("mask_blur", 65, "65", "0 to 64"),
    ("sampler", "Eulr", "'Eulr'", "did you mean Euler"),
    ("sampler", "%%%", "'%%%'", f"known are: {', '.join(SAMPLERS)}"),
    ("sampler", 0, "0", "known are: DPM++ 2M"),
    ("sampler", [], "[]", "known are: DPM++ 2M"),
    ("schedule", "Karas", "'Karas'", "did you mean Karras"),
    ("schedule", {"a": 1}, "{'a': 1}", f"known are: {', '.join(SCHEDULES)}"),
    ("resize", "Stretch", "'Stretch'", "known are: Just resize, Crop and resize, Resize and fill"),
    ("model", "phot", "'phot'", "did you mean photo"),
    ("model", "../../x", "'../../x'", "known are: embedded, photo, torn"),
    ("model", "C:\\x", "'C:\\\\x'", "known are: embedded"),
    ("model", "a\0b", "'a\\x00b'", "known are: embedded"),
    ("model", "\ud800", "'\\ud800'", "known are: embedded"),
    ("model", "x" * 4096, "xxx...", "known are: embedded"),
    ("model", "sharp", "'sharp'", "known are: embedded"),
    ("model", "torn", "torn", "the file is damaged"),
    ("vae", "shrap", "'shrap'", "did you mean sharp"),
    ("vae", "photo", "'photo'", "known are: Automatic, sharp, dull, wide, any"),
    ("vae", "dull", "dull", "the file is damaged"),
    ("vae", "wide", "wide is for latents of SDXL", "those of embedded are Stable Diffusion 1.x and 2.x's"),
    ("refiner", "secnod", "'secnod'", "did you mean second"),
    ("refiner", "torn", "torn", "the file is damaged"),
    ("refiner", "photo", "embedded model", "latents of its own"),
    ("refiner_switch_at", 0, "0", "0.01 to 1"),
    ("init", None, "missing", "give a picture"),
    ("init", "/etc/passwd", "is not a picture", ""),
    ("mask", None, "missing", "give a picture"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "shown", "allowed"), REFUSED, ids=lambda value: str(value)[:20] if value != 10**5000 else "huge")
def test_a_refusal_names_the_field_the_value_and_what_is_allowed(field, value, shown, allowed):
    with pytest.raises(BadRequest) as refusal:
        fitted("inpaint", {"init": PICTURE, "mask": MASK, field: value}, MODELS)
    assert refusal.value.field == field
    assert shown in refusal.value.why and allowed in refusal.value.why
    str(refusal.value).encode("utf-8")  # every output can carry it


def test_a_refiner_takes_over_between_models_that_understand_each_other():
    found = asked(model="photo", refiner="second", refiner_switch_at="0.7")
    assert found.request.refiner == Refiner("second", 0.7) and not found.notes
    for none in (None, "", "None", "photo"):
        assert asked(model="photo", refiner=none).request.refiner is None
    assert asked(model="photo", refiner_switch_at=0.5).notes == ("Switch at means nothing without a refiner; it was not used.",)
    only = "knows inpaint only"
    for model, refiner, why in (("photo", "xl", "latents of SDXL"), ("photo", "painter", only), ("painter", "photo", only)):
        with pytest.raises(BadRequest, match=why) as refusal:
            fitted("inpaint", {**of("inpaint"), "model": model, "refiner": refiner}, MODELS)
        assert refusal.value.field == "refiner"


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(BadRequest, match=r"mode: 'txt2vid' is not known; did you mean txt2img"):
        asked("txt2vid")


def test_an_unknown_setting_is_refused_not_dropped():
    with pytest.raises(BadRequest, match=r"cfg: 'cfg' is not known; did you mean cfg_scale"):
        asked(cfg=7)


def test_a_model_is_not_asked_for_what_it_cannot_do():
    with pytest.raises(BadRequest, match=r"model: photo cannot do depth2img; it can do txt2img, img2img, inpaint"):
        asked("depth2img", model="photo", init=PICTURE)


def test_a_picture_over_the_budget_is_refused_with_the_largest_allowed():
    with pytest.raises(BadRequest, match=r"width: 4096x4096 is more than this server allows .* such as 2048x2048"):
        asked(width=4096, height=4096)


def test_a_job_over_the_budget_is_refused_with_the_largest_allowed():
    with pytest.raises(BadRequest, match=r"batch_count: 17 pictures of 2048x2048 are too much for one job \(1 to 16\)"):
        asked(width=2048, height=2048, batch_count=17)


@pytest.mark.parametrize(("values", "field", "most"), [({"steps": 51}, "steps", 50), ({"batch_count": 5}, "batch_count", 4)])
def test_a_server_may_allow_less(values, field, most):
    with pytest.raises(BadRequest, match=f"{field}: {values[field]} is more than this server allows \\(1 to {most}\\)"):
        asked(limits=Limits(steps=50, count=4), **values)


def test_a_schedule_that_the_sampler_cannot_follow_is_refused_with_those_that_it_can():
    with pytest.raises(BadRequest, match=r"schedule: Karras does not go with DDIM, which goes with Automatic, Uniform"):
        asked(sampler="DDIM", schedule="karras")


def test_a_refusal_survives_the_way_between_processes():
    there = pickle.loads(pickle.dumps(BadRequest("width", "0 is out of range")))
    assert (there.field, there.why, str(there)) == ("width", "0 is out of range", "width: 0 is out of range")


# ---------------------------------------------------------------- accepted
@pytest.mark.parametrize("mode", MODES)
def test_nothing_said_means_the_models_best(mode):
    got = request(mode, **of(mode))
    assert (got.mode, got.prompt, got.negative_prompt) == (mode, "", "blurry")
    assert (got.width, got.height, got.sampling.steps, got.sampling.cfg_scale) == (128, 136, 18, 3.0)
    assert (got.sampling.sampler, got.sampling.schedule, got.model.clip_skip) == ("Euler a", "Uniform", 2)


def test_null_and_empty_are_the_default():
    empty = {name: "" for name in FIELDS if name not in (*PICTURES, "negative_prompt")}
    assert request(seed=5) == request(**{**dict.fromkeys(FIELDS), "seed": 5}) == request(**{**empty, "seed": 5})


def test_an_empty_negative_prompt_stays_empty():
    assert request(negative_prompt="").negative_prompt == ""


@pytest.mark.parametrize("value", [512, 512.0, "512", " 512 ", "512.0", "+512", "5.12e2"])
def test_whole_numbers_are_read_however_they_are_written(value):
    assert request(width=value).width == 512


@pytest.mark.parametrize(("value", "near"), [(513, 512), (516, 512), (517, 520), (4093, 4096), (65, 64), (512, 512)])
def test_a_size_becomes_a_multiple_of_8_and_that_is_said(value, near):
    got = asked(width=value, height=64)
    assert got.request.width == near
    assert got.notes == (() if value == near else (f"Width {value} became {near}: it must be a multiple of 8.",))


@pytest.mark.parametrize(
    "text", ["", "👩‍👩‍👧 \u202eabc", "e" + "\u0301" * 1000, "tab\tbell\x07", "a\nNegative prompt: b\nSteps: 1, Sampler: x", "x" * 32_000]
)
def test_a_prompt_is_kept_letter_by_letter(text):
    assert asked(prompt=text, negative_prompt=text).notes == ()
    assert request(prompt=text).prompt == text


def test_a_nul_is_removed_and_that_is_said():
    got = asked(prompt="a\0b")
    assert got.request.prompt == "ab" and got.notes == ("Prompt: NUL characters were removed.",)


@pytest.mark.parametrize("value", [0, 1, 0.5, "0.5", 1e-9])
@pytest.mark.parametrize("mode", ["img2img", "inpaint", "depth2img"])
def test_every_strength_from_0_to_1_is_allowed(mode, value):
    assert request(mode, **of(mode), strength=value).source.strength == float(value)


@pytest.mark.parametrize("value", [-100, -5, 0, 1, "7,".rstrip(","), 99.5, 100])
def test_every_guidance_in_range_is_allowed(value):
    assert request(cfg_scale=value).sampling.cfg_scale == float(value)


@pytest.mark.parametrize("value", [0, 2**32, 2**53 + 1, 2**64 - 1])
def test_a_seed_is_exact_as_number_and_as_text(value):
    assert request(seed=value).seed == request(seed=str(value)).seed == value


@pytest.mark.parametrize("value", [-1, "-1", None, "", -1.0])
def test_a_random_seed_is_drawn_once_and_recorded(value):
    seeds = {request(seed=value).seed for _ in range(8)}
    assert len(seeds) > 1 and all(0 <= seed < 2**32 for seed in seeds)


def test_one_step_is_allowed_with_every_sampler_and_schedule():
    for sampler, facts in SAMPLERS.items():
        for schedule in facts.schedules:
            sampling = request(sampler=sampler, schedule=schedule, steps=1).sampling
            assert (sampling.sampler, sampling.schedule, sampling.steps) == (sampler, schedule, 1)


@pytest.mark.parametrize(("name", "schedule", "expected"), [
    ("DPM++ 2M Karras", None, ("DPM++ 2M", "Karras")), ("dpm++  2m", "KARRAS", ("DPM++ 2M", "Karras")), ("euler A", None, ("Euler a", "Automatic")),
    ("DPM++ 2M Karras", "Exponential", ("DPM++ 2M", "Exponential")), (None, None, ("Euler a", "Uniform")),
    (None, "automatic", ("Euler a", "Automatic")),
])  # fmt: skip
def test_samplers_go_by_their_older_names_too(name, schedule, expected):
    sampling = request(sampler=name, schedule=schedule).sampling
    assert (sampling.sampler, sampling.schedule) == expected


@pytest.mark.parametrize(("value", "stored"), [(None, ""), ("", ""), ("Automatic", ""), ("sharp", "sharp")])
def test_the_automatic_vae_is_the_models_own(value, stored):
    assert request(model="photo", vae=value).model.vae == stored


def test_a_source_says_what_it_is():
    assert request("img2img", init=PICTURE, strength=0.4, resize="just resize").source == ImageToImage(PICTURE, 0.4, "Just resize")
    assert request("inpaint", init=PICTURE, mask=MASK, mask_blur="9").source == Inpaint(PICTURE, MASK, mask_blur=9)
    assert request("depth2img", init=PICTURE).source == DepthToImage(PICTURE)
    assert request("depth2img", init=PICTURE, depth=MASK).source == DepthToImage(PICTURE, MASK)


def test_what_a_mode_has_no_use_for_is_said():
    assert asked("txt2img", strength=0.5, mask=MASK).notes == (
        "Mask means nothing in txt2img; it was not used.",
        "Denoising strength means nothing in txt2img; it was not used.",
    )


# ---------------------------------------------------------------- whatever comes
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
LIKELY = st.sampled_from([-1, 0, 1, 64, 512, "20", "Euler", "DPM++ 2M Karras", "Karras", "embedded", "photo", "sharp", "", PICTURE])
NAMES = st.sampled_from(sorted(FIELDS)) | st.text(st.characters(exclude_categories=()), max_size=5)


@given(st.sampled_from(MODES) | JSON, st.dictionaries(NAMES, JSON | LIKELY, max_size=6), st.booleans())
def test_whatever_is_sent_is_accepted_or_refused_in_words(mode, values, pictures):
    try:
        got = fitted(mode, {**of(mode), **values} if pictures and mode in MODES else values, MODELS).request
    except BadRequest as refusal:
        str(refusal).encode("utf-8")
        return
    holds(got)


@given(st.sampled_from(MODES), st.dictionaries(st.sampled_from(sorted(FIELDS.keys() - PICTURES.keys())), LIKELY | st.floats(), max_size=3))
def test_what_comes_in_is_within_its_limits(mode, values):
    try:
        holds(fitted(mode, {**of(mode), **values}, MODELS).request)
    except BadRequest as refusal:
        assert refusal.field in (*values, "width")


def holds(got: GenerationRequest) -> None:
    assert got.width % 8 == got.height % 8 == 0 and 64 <= got.width <= 4096 and 64 <= got.height <= 4096
    assert got.width * got.height * got.count <= Limits().all_pixels
    assert 1 <= got.sampling.steps <= 150 and math.isfinite(got.sampling.cfg_scale) and 0 <= got.seed < 2**64
    assert got.sampling.sampler in SAMPLERS and got.sampling.schedule in ("Automatic", *SAMPLERS[got.sampling.sampler].schedules)
    assert got.model.checkpoint in MODELS and "\0" not in got.prompt


# ---------------------------------------------------------------- how a picture is redone
def test_a_picture_is_resized_by_a_factor():
    found = request("img2img", init=PICTURE, resize_by=0.5, width=64, height=64)
    assert (found.width, found.height) == (PICTURE.width // 2, PICTURE.height // 2)
    asked = {"noise_multiplier": 0.9, "extra_noise": 0.1, "redo_steps": "all", "redo_colours": "the picture's"}
    assert request("img2img", init=PICTURE, **asked).source.redo == Redo(0.9, 0.1, "All", "The picture's")


def test_a_factor_that_makes_it_too_large_is_refused():
    with pytest.raises(BadRequest) as wrong:
        request("img2img", init=ImageRef("a" * 64, 2000, 1000), resize_by=4)
    assert wrong.value.field == "resize_by" and "8000x4000" in wrong.value.why and "4096" in wrong.value.why


# ---------------------------------------------------------------- the size of results
def test_a_job_is_measured_by_the_pictures_that_come_out_of_it():
    small, photo = {"width": 512, "height": 512}, ImageRef("c" * 64, 6000, 4000)
    larger = {"hires_upscaler": "Lanczos", "hires_scale": 4}
    through_a_window = {"init": photo, "mask": photo, "inpaint_area": "Only masked"}
    for mode, values, most in (("txt2img", larger, 16), ("inpaint", through_a_window, 2)):
        assert request(mode, **small, **values, batch_count=most).count == most
        with pytest.raises(BadRequest, match=rf"\(1 to {most}\)") as refused:
            asked(mode, **small, **values, batch_count=most + 1)
        assert refused.value.field == "batch_count"
    assert request(**small, batch_count=64).count == 64


def test_a_second_pass_with_a_schedule_of_its_own_comes_back_as_it_was():
    for sampler in ("Use same sampler", "DPM++ 2M", "Euler"):
        first = request(sampler="DPM++ 2M", schedule="Karras", hires_upscaler="Latent", hires_sampler=sampler)
        values = {name: value for name, value in form_of(first).items() if name in FIELDS}
        assert request(**values).hires == first.hires


@pytest.mark.parametrize(
    ("asked_for", "told"), [({"hires_scale": 1.5}, (1.5, 0, 0)), ({"hires_scale": 1.3}, (1.25, 0, 0)), ({"hires_width": 136}, (2.0, 136, 136))]
)
def test_a_second_pass_is_told_by_its_factor_where_that_is_exact(asked_for, told):
    first = request(width=128, height=128, hires_upscaler="Latent", **asked_for)
    values = form_of(first)
    assert tuple(values[f"hires_{name}"] for name in ("scale", "width", "height")) == told
    assert request(**values).hires == first.hires


def form_of(found: GenerationRequest) -> dict:
    sampling = {"sampler": found.sampling.sampler, "schedule": found.sampling.schedule, "steps": found.sampling.steps}
    return sampling | {"width": found.width, "height": found.height} | hires.written(found)


def test_padding_without_a_window_is_said_to_mean_nothing():
    assert "Padding means nothing unless" in asked("inpaint", **of("inpaint"), mask_padding=64).notes[0]
    assert not asked("inpaint", **of("inpaint"), mask_padding=64, inpaint_area="Only masked").notes and not asked("inpaint", **of("inpaint")).notes
