"""A1111's text: written in its order, read from whoever wrote it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_ui.imaging import infotext
from sd_ui.spec import extras
from sd_ui.spec.fields import FIELDS, NONE, SAME
from sd_ui.spec.made import Made, Record, UsedInversion, WornLora
from sd_ui.spec.request import (
    AREAS,
    CONTENTS,
    EMPHASES,
    GUIDANCES,
    MASK_EDGES,
    MASK_MODES,
    NOISES,
    REDO_COLOURS,
    REDO_STEPS,
    RESIZES,
    DepthToImage,
    GenerationRequest,
    Guidance,
    ImageRef,
    ImageToImage,
    Inpaint,
    ModelChoice,
    Noise,
    Redo,
    Refiner,
    Sampling,
    Words,
)
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS

A, B = ImageRef("a" * 64, 640, 480), ImageRef("b" * 64, 640, 480)
MADE = Made(app="0.1.0", model_hash="0123456789abcdef" * 4)


def request(**changes: object) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a cat", "negative_prompt": "dog", "width": 512, "height": 768, "seed": 5, **changes})


# ---------------------------------------------------------------- written
def test_the_whole_text_of_a_txt2img_picture() -> None:
    assert infotext.write(Record(request(), MADE, index=2, seed=7), "some model") == (
        "a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 7, Size: 512x768, "
        "Model hash: 0123456789, Model: some model, RNG: CPU, Version: sdui-0.1.0"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (ImageToImage(A, 0.5), "Model: m, Denoising strength: 0.5, RNG: CPU, Resize mode: Crop and resize, Version: sdui"),
        (Inpaint(A, B, 1.0, RESIZES[0], 9), "Model: m, Denoising strength: 1, RNG: CPU, Mask blur: 9, Resize mode: Just resize, Version: sdui"),
        (
            Inpaint(A, B, 0.5, RESIZES[0], 9, MASK_MODES[1], MASK_EDGES[1], CONTENTS[2], AREAS[1], 16),
            "Model: m, Denoising strength: 0.5, RNG: CPU, Mask blur: 9, Inpaint area: Only masked, Masked area padding: 16, "
            "Masked content: latent noise, Mask mode: Inpaint not masked, Soft inpainting enabled: True, Resize mode: Just resize, Version: sdui",
        ),
        (
            DepthToImage(A, None, 0.75),
            "Model: m, Denoising strength: 0.75, RNG: CPU, Resize mode: Crop and resize, Depth map: estimated, Version: sdui",
        ),
        (DepthToImage(A, B, 0.75), "Model: m, Denoising strength: 0.75, RNG: CPU, Resize mode: Crop and resize, Depth map: own, Version: sdui"),
    ],
)
def test_the_image_modes_say_their_strength(source: object, expected: str) -> None:
    assert infotext.write(Record(request(source=source), Made()), "m").endswith(expected)


def test_an_empty_prompt_is_an_empty_line() -> None:
    assert infotext.write(Record(request(prompt="", negative_prompt=""), MADE), "m").startswith("\nSteps: 20, ")
    assert infotext.write(Record(request(prompt="", negative_prompt="x"), MADE), "m").startswith("\nNegative prompt: x\nSteps: 20, ")


def test_clip_skip_and_vae_are_said_only_when_they_matter() -> None:
    text = infotext.write(Record(request(model=ModelChoice("m", "v.safetensors", 2)), Made(vae_hash="f" * 64)), "m")
    assert "VAE hash: ffffffffff, VAE: v.safetensors, Clip skip: 2, RNG: CPU" in text
    plain = infotext.write(Record(request(), Made(vae_hash="f" * 64)), "m")
    assert "Clip skip" not in plain and "VAE" not in plain and "Model hash" not in plain


def test_a_refiner_is_said_as_a1111_says_it_and_read_back() -> None:
    text = infotext.write(Record(request(refiner=Refiner("sd_xl_refiner_1.0", 0.75)), Made(refiner_hash="7440042bbdc8" * 6)), "m")
    assert "Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: 0.75, " in text
    read = infotext.values(text).values
    assert (read["refiner"], read["refiner_switch_at"]) == ("sd_xl_refiner_1.0", 0.75)
    assert infotext.values(infotext.write(Record(request(), Made()), "m")).values["refiner"] == NONE


def test_embeddings_are_said_as_a1111_says_them() -> None:
    used = (UsedInversion("easynegative", "ab" * 32), UsedInversion("odd: one, two", "cd" * 32), UsedInversion("unknown"))
    text = infotext.write(Record(request(negative_prompt="easynegative"), Made(inversions=used)), "m")
    assert text.endswith(', TI hashes: "easynegative: abababababab, odd one two: cdcdcdcdcdcd", Version: sdui')


def test_loras_are_said_with_the_hashes_that_other_programs_find_them_by() -> None:
    worn = (WornLora("pixel", 0.5, 1.0, "ab" * 32), WornLora("odd: one, two", 1.0, 1.0, "cd" * 32), WornLora("unknown", 1.0, 1.0))
    text = infotext.write(Record(request(prompt="a cat <lora:pixel:1:0.5>"), Made(loras=worn)), "m")
    assert text.startswith("a cat <lora:pixel:1:0.5>\n") and text.endswith(
        ', Lora hashes: "pixel: abababababab, odd one two: cdcdcdcdcdcd", Version: sdui'
    )
    assert infotext.values(text).values["prompt"] == "a cat <lora:pixel:1:0.5>"


@pytest.mark.parametrize("name", ["a, b", "a: b", 'say "x", y', "two\nlines", '"quoted"', " spaces ", "back\\slash, x"])
def test_a_value_that_could_be_mistaken_is_quoted(name: str) -> None:
    text = infotext.write(Record(request(), MADE), name)
    assert infotext.parse(text)["Model"] == name
    assert infotext.parse(text)["Version"] == "sdui-0.1.0"


A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


@pytest.mark.parametrize("name", ["model", "a, b: c", "Deliberate v2 [10ec4b29]"])
def test_a1111s_own_pattern_reads_what_we_write(name: str) -> None:
    last = infotext.write(Record(request(), MADE), name).split("\n")[-1]
    found = dict(A1111.findall(last))
    assert list(found)[:8] == ["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model"]
    assert found["Version"] == "sdui-0.1.0"


# ---------------------------------------------------------------- round trip
def survives(prompt: str) -> bool:
    """A1111's form loses what stands at the edges, carriage returns at line ends, and lines that say "Negative prompt:"."""
    return prompt == prompt.strip() and not re.search(r"\r(\n|$)|(^|\n)\s*Negative prompt:", prompt)


LETTERS = st.characters(exclude_categories=["Cs"])
PROMPTS = st.text(LETTERS, max_size=60).filter(survives) | st.lists(
    st.sampled_from(["(cat:1.2)", ",", "\n", '"', "<lora:x:1>", "🌋", "Steps: 1", "{a|b}"])
).map(" ".join).map(str.strip)
NAMES = st.text(LETTERS, min_size=1, max_size=20).filter(lambda name: "\r" not in name)
REDONE = st.builds(Redo, st.floats(0, 1.5), st.floats(0, 1), st.sampled_from(REDO_STEPS), st.sampled_from(REDO_COLOURS))
SOURCES = st.one_of(
    st.none(),
    st.builds(ImageToImage, st.just(A), st.floats(0, 1), st.sampled_from(RESIZES), REDONE),
    st.builds(
        Inpaint,
        st.just(A),
        st.just(B),
        st.floats(0, 1),
        st.sampled_from(RESIZES),
        st.integers(0, 64),
        st.sampled_from(MASK_MODES),
        st.sampled_from(MASK_EDGES),
        st.sampled_from(CONTENTS),
        st.sampled_from(AREAS),
        st.integers(0, 256),
    ),
    st.builds(DepthToImage, st.just(A), st.none() | st.just(B), st.floats(0, 1), st.sampled_from(RESIZES)),
)
GUIDED = st.builds(
    Guidance,
    st.sampled_from(GUIDANCES),
    st.floats(0, 1),
    st.floats(0, 0.4),
    st.floats(0.5, 1),
    st.floats(0, 1000),
    st.floats(-0.9, 0.9),
    st.floats(0, 1),
)
SIDES = st.integers(0, 64).map(lambda n: n * 8)
NOISE = st.builds(Noise, st.sampled_from(NOISES), st.integers(0, 2**64 - 1), st.floats(0, 1), SIDES, SIDES, st.integers(0, 2**32 - 1))
SAMPLINGS = st.sampled_from(list(SAMPLERS)).flatmap(
    lambda name: st.builds(
        Sampling, st.just(name), st.sampled_from([AUTOMATIC, *SAMPLERS[name].schedules]), st.integers(1, 150), st.floats(-100, 100), GUIDED
    )
)
SEEDS = st.integers(0, 2**64 - 1)
REQUESTS = st.builds(
    GenerationRequest,
    PROMPTS,
    PROMPTS,
    st.builds(ModelChoice, NAMES, st.just("") | NAMES, st.integers(1, 12)),
    SAMPLINGS,
    st.integers(8, 512).map(lambda n: n * 8),
    st.integers(8, 512).map(lambda n: n * 8),
    SEEDS,
    source=SOURCES,
    refiner=st.none() | st.builds(Refiner, NAMES, st.floats(0.01, 1)),
    emphasis=st.sampled_from(EMPHASES),
    styles=st.lists(NAMES, max_size=2).map(tuple),
    words=st.just(()) | st.tuples(st.builds(Words, PROMPTS, PROMPTS)),
    noise=NOISE.filter(lambda noise: bool(noise.from_width) == bool(noise.from_height)),
)


@settings(max_examples=120, deadline=None)
@given(REQUESTS, SEEDS, NAMES)
def test_what_we_write_we_read(wanted: GenerationRequest, seed: int, name: str) -> None:
    reading = infotext.values(infotext.write(Record(wanted, MADE, 0, seed), name))
    expected = {
        "prompt": wanted.words_of(0).prompt,
        "negative_prompt": wanted.words_of(0).negative_prompt,
        "model": name,
        "vae": wanted.model.vae or AUTOMATIC,
        "clip_skip": wanted.model.clip_skip,
        "emphasis": wanted.emphasis,
        "sampler": wanted.sampling.sampler,
        "schedule": wanted.sampling.schedule,
        "steps": wanted.sampling.steps,
        "cfg_scale": wanted.sampling.cfg_scale,
        "width": wanted.width,
        "height": wanted.height,
        "seed": seed,
    }
    expected |= extras.written(wanted)
    if wanted.noise.variation_strength:
        expected["variation_seed"] = wanted.noise.variation_seed
    expected["refiner"] = wanted.refiner.checkpoint if wanted.refiner else NONE
    if wanted.refiner:
        expected["refiner_switch_at"] = wanted.refiner.switch_at
    if wanted.source is None:
        expected["hires_upscaler"] = NONE
    if wanted.source:
        expected |= {"strength": wanted.source.strength, "resize": wanted.source.resize}
        redo = wanted.source.redo
        expected |= {"resize_by": 0, "noise_multiplier": redo.noise_multiplier, "extra_noise": redo.extra_noise}
        expected |= {"redo_steps": redo.steps, "redo_colours": redo.colours}
    if isinstance(wanted.source, Inpaint):
        names = ("mask_blur", "mask_mode", "mask_edge", "masked_content", "inpaint_area")
        expected |= {name: getattr(wanted.source, name) for name in names}
        expected |= {f"outpaint_{side}": 0 for side in ("left", "right", "top", "bottom")}  # it has grown already
        expected["mask_padding"] = wanted.source.mask_padding if wanted.source.is_window else Inpaint.mask_padding
    assert (reading.mode, reading.values, reading.notes) == (wanted.mode, expected, ())
    assert reading.values.keys() <= FIELDS.keys()
    assert reading.others.keys() <= {
        "Model hash",
        "VAE hash",
        "RNG",
        "Version",
        "Depth map",
        "Styles",
        "Template",
        "Negative Template",
    }


# ---------------------------------------------------------------- others' texts
FORGE = """masterpiece, (cat:1.2), <lora:fluffy:0.8>
second line
Negative prompt: worst quality, (bad hands:1.4)
second negative line
Steps: 25, Sampler: DPM++ 2M SDE Karras, CFG scale: 6.5, Seed: 1234567890, Size: 832x1216, Model hash: 67ab2fd8ec, Model: sd_xl_base_1.0, \
VAE hash: 63aeecb90f, VAE: sdxl_vae.safetensors, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 1.5, Hires steps: 10, \
Hires upscaler: 4x-UltraSharp, Lora hashes: "fluffy: 0123456789ab, other: ba9876543210", \
ControlNet 0: "Module: canny, Model: x [1], Weight: 1", Version: v1.9.4"""


def test_a_text_of_a1111_is_read_with_everything_it_says() -> None:
    reading = infotext.values(FORGE)
    assert reading.mode == "txt2img"
    assert reading.values == {
        "prompt": "masterpiece, (cat:1.2), <lora:fluffy:0.8>\nsecond line",
        "negative_prompt": "worst quality, (bad hands:1.4)\nsecond negative line",
        "steps": 25,
        "sampler": "DPM++ 2M SDE",
        "schedule": "Karras",
        "cfg_scale": 6.5,
        "seed": 1234567890,
        "width": 832,
        "height": 1216,
        "model": "sd_xl_base_1.0",
        "vae": "sdxl_vae.safetensors",
        "refiner": NONE,
        "hires_upscaler": "Lanczos",
        "hires_scale": 1.5,
        "hires_steps": 10,
        "hires_strength": 0.4,
        "hires_sampler": SAME,
        "hires_width": 0,
        "hires_height": 0,
        "hires_prompt": "",
        "hires_negative_prompt": "",
        "clip_skip": 2,
        "emphasis": "Original",
        **extras.written(GenerationRequest()),
        "noise_source": "NV",
    }
    assert reading.others["Lora hashes"] == "fluffy: 0123456789ab, other: ba9876543210"
    assert reading.others["ControlNet 0"] == "Module: canny, Model: x [1], Weight: 1"
    assert reading.others["Hires upscaler"] == "4x-UltraSharp"
    assert len(reading.notes) == 2


def test_bare_json_does_not_break_what_follows() -> None:
    text = 'x\nSteps: 4, Sampler: Euler a, Seed: 2, Hashes: {"model":"abc","lora:x":"d,e"}, Civitai resources: [{"type":"a"},{"b":[1]}], Size: 64x64'
    said = infotext.parse(text)
    assert (said["Hashes"], said["Civitai resources"], said["Size"]) == ('{"model":"abc","lora:x":"d,e"}', '[{"type":"a"},{"b":[1]}]', "64x64")


def test_lines_of_extensions_below_the_parameters_are_kept_apart() -> None:
    said = infotext.parse("a cat\nSteps: 4, Sampler: Euler a, CFG scale: 1, Seed: 2\nTemplate: a {cat|dog}, x\nNegative Template: y")
    assert (said["Prompt"], said["Seed"], said["Template"], said["Negative Template"]) == ("a cat", "2", "a {cat|dog}, x", "y")


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("", "", ""),
        ("just a prompt", "just a prompt", ""),
        ("a\nNegative prompt: b", "a", "b"),
        ("(aa:1.2), (bb:1.3), (cc:1.1), (dd:1)", "(aa:1.2), (bb:1.3), (cc:1.1), (dd:1)", ""),
        ("a\r\nNegative prompt: b\r\nSteps: 1, Sampler: Euler, Seed: 1\r\n", "a", "b"),
        ("\nSteps: 1, Sampler: Euler, Seed: 1", "", ""),
        ("Negative prompt: b\nSteps: 1, Sampler: Euler, Seed: 1", "", "b"),
        ("a\nSteps: 5, Sampler: x, Seed: 3\nSteps: 1, Sampler: Euler, Seed: 1", "a\nSteps: 5, Sampler: x, Seed: 3", ""),
    ],
)
def test_the_prompts_are_found(text: str, prompt: str, negative: str) -> None:
    said = infotext.parse(text)
    assert (said["Prompt"], said["Negative prompt"]) == (prompt, negative)


def test_a_bare_prompt_changes_nothing_else() -> None:
    assert infotext.values("a cat") == infotext.Reading("txt2img", {"prompt": "a cat", "negative_prompt": ""}, {})


BASE = "x\nSteps: 4, Sampler: Euler, CFG scale: 1, Seed: 2, Size: 64x64, RNG: CPU"


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ("", "txt2img"),
        ("Denoising strength: 0.5", "img2img"),
        ("Denoising strength: 0.5, Hires upscale: 2", "txt2img"),
        ("Denoising strength: 0.5, Mask blur: 4", "inpaint"),
        ("Denoising strength: 0.5, Inpaint area: Only masked", "inpaint"),
        ("Denoising strength: 0.5, Depth map: own", "depth2img"),
    ],
)
def test_the_mode_is_guessed(more: str, mode: str) -> None:
    assert infotext.values(f"{BASE}, {more}").mode == mode


@pytest.mark.parametrize(
    ("more", "name"),
    [("Steps: 0", "steps"), ("Steps: many", "steps"), ("Seed: 99999999999999999999", "seed"), ("CFG scale: nan", "cfg_scale"), ("Size: 64", "width")],
)
def test_what_cannot_be_used_is_shown_and_not_used(more: str, name: str) -> None:
    reading = infotext.values(f"x\nSampler: Euler, Steps: 4, CFG scale: 2, Seed: 2, Size: 64x64, {more}")
    key, value = more.split(": ")
    assert name not in reading.values
    assert reading.others[key] == value


@pytest.mark.parametrize(
    ("said", "sampler", "schedule"),
    [
        ("Sampler: dpm++ 2m karras", "DPM++ 2M", "Karras"),
        ("Sampler: DPM++ 2M, Schedule type: Exponential", "DPM++ 2M", "Exponential"),
        ("Sampler: DPM++ 2M", "DPM++ 2M", AUTOMATIC),
        ("Sampler: DDIM, Schedule type: Karras", "DDIM", AUTOMATIC),
        ("Sampler: Euler a, Schedule type: SGMUniform", "Euler a", "SGM Uniform"),
        ("Sampler: Euler a Karras", "Euler a", "Karras"),
        ("Sampler: PLMS Karras", "PLMS", AUTOMATIC),
        ("Sampler: ER SDE, Schedule type: Karras", None, None),
    ],
)
def test_samplers_and_schedules_are_only_those_that_exist(said: str, sampler: str | None, schedule: str | None) -> None:
    reading = infotext.values(f"x\nSteps: 4, {said}, CFG scale: 1, Seed: 2, Size: 64x64")
    assert (reading.values.get("sampler"), reading.values.get("schedule")) == (sampler, schedule)
    assert sampler or reading.others["Sampler"] == "ER SDE"


def test_noise_from_another_device_is_said() -> None:
    assert infotext.values(BASE).notes == ()
    assert len(infotext.values(BASE.replace(", RNG: CPU", "")).notes) == 1


# ---------------------------------------------------------------- hostile texts
@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from([*'Steps: 1,"\\{}[]\n\rab-/ ', "Steps: 1, Seed: 2, Size: 3x3", "Hashes: {", "Negative prompt:"]), max_size=60).map(
        "".join
    )
)
def test_any_text_is_read(text: str) -> None:
    reading = infotext.values(text)
    assert reading.values.keys() <= FIELDS.keys()


UNIT = {
    "words": "a",
    "colons": "Steps:",
    "open quotes": 'ab: "x, ',
    "escaped quotes": 'ab: "\\", ',
    "lists": "Hashes: [",
    "list of lists": 'Hashes: ["a", ',
    "commas": ",",
    "keys": "ab cd: ",
    "lines": "Steps: 1\n",
    "spaces": " ",
    "hyphens": "a-",
    "carriage returns": "\r",
}


@pytest.mark.parametrize("unit", UNIT)
@pytest.mark.parametrize("start", ["", "Steps: 1, Seed: 2, Size: 3x3, "])
def test_a_long_text_is_read_in_proportion_to_its_length(unit: str, start: str) -> None:
    """300,000 characters: with the square of the length this would not end today."""
    text = start + UNIT[unit] * (300_000 // len(UNIT[unit]))
    assert infotext.parse(text).keys() >= {"Prompt", "Negative prompt"}


def test_half_a_character_becomes_a_whole_one() -> None:
    assert infotext.parse(BASE + ', Model: "\\ud800"')["Model"] == "?"


# ---------------------------------------------------------------- seeds and guidance
def test_seeds_and_guidance_are_written_as_a1111_writes_them() -> None:
    noise = Noise("NV", 99, 0.25, 512, 768, 31337)
    sampling = Sampling("Euler a", "Automatic", 20, 7.0, Guidance("APG", 0.7, 0.1, 0.9, 15.0, -0.75, 0.0))
    text = infotext.write(Record(request(sampling=sampling, noise=noise), MADE, 2, 7), "m")
    assert "Variation seed: 101, Variation seed strength: 0.25, Seed resize from: 512x768," in text
    assert (
        "ENSD: 31337, RNG: NV, Guidance: APG, Skip Early CFG: 0.1, Guidance stop: 0.9, CFG rescale: 0.7, APG threshold: 15, APG momentum: -0.75,"
        in text
    )


def test_perturbed_attention_is_written_as_sdnext_writes_it_and_read_from_others_too() -> None:
    sampling = Sampling("Euler a", "Automatic", 20, 7.0, Guidance(pag=3.0, pag_adaptive=0.01, pag_layers="up"))
    text = infotext.write(Record(request(sampling=sampling), MADE), "m")
    assert "PAG scale: 3, PAG adaptive: 0.01, PAG layers: up," in text
    read = infotext.values(text).values
    assert (read["pag_scale"], read["pag_adaptive_scale"], read["pag_layers"]) == (3.0, 0.01, "up")
    read = infotext.values(f"{BASE}, PAG Scale: 2.5").values
    assert (read["pag_scale"], read["pag_adaptive_scale"], read["pag_layers"]) == (2.5, 0.0, "mid")


@pytest.mark.parametrize(("said", "source", "notes"), [
    (", RNG: CPU", "CPU", 0), (", RNG: NV", "NV", 0), ("", "NV", 1), (", RNG: GPU", "NV", 1), (", RNG: Size-stable", "Size-stable", 0),
    (", RNG: dice", "NV", 1),
])  # fmt: skip
def test_whose_noise_it_was_is_read_and_a_cards_is_drawn_again(said: str, source: str, notes: int) -> None:
    reading = infotext.values(BASE.replace(", RNG: CPU", said))
    assert reading.values["noise_source"] == source and len(reading.notes) == notes
