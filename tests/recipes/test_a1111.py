"""A1111's form: what we write comes back whole, what others add is understood or kept."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_ui.imaging import infotext
from sd_ui.recipes.read import pasted
from sd_ui.recipes.recipe import Recipe
from sd_ui.spec.made import Made, Record, WornLora
from sd_ui.spec.request import GenerationRequest, Refiner
from tests.imaging.test_infotext import NAMES, REQUESTS, SEEDS

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
WORN = st.lists(st.builds(WornLora, st.from_regex(r"[a-z][a-z0-9_. -]{0,10}[a-z]", fullmatch=True), st.just(1.0), st.just(1.0), HEX), max_size=3)
MADE = st.builds(Made, app=st.just("0.1.0"), model_hash=HEX, refiner_hash=HEX, loras=WORN.map(tuple))
TEXT = "a fox\nNegative prompt: blur\nSteps: 25, Sampler: Euler, Schedule type: Simple, CFG scale: 5, Seed: 8, Size: 832x1216, RNG: CPU"


def read(text: str) -> Recipe:
    recipe = pasted(text)
    assert recipe
    return recipe


@settings(max_examples=80, deadline=None)
@given(REQUESTS, MADE, SEEDS, NAMES)
def test_what_we_write_comes_back_with_its_hashes(wanted: GenerationRequest, made: Made, seed: int, name: str) -> None:
    recipe = read(infotext.write(Record(wanted, made, 0, seed), name))
    said = wanted.words_of(0)
    assert (recipe.program, recipe.mode) == ("SD UI", wanted.mode)
    assert (recipe.values["prompt"], recipe.values["negative_prompt"], recipe.values["seed"]) == (said.prompt, said.negative_prompt, seed)
    hashes = {f"lora:{lora.name}": lora.sha256[:12] for lora in made.loras}
    assert recipe.hashes.items() >= {"model": made.model_hash[:10], **hashes}.items()
    assert ("refiner" in recipe.hashes) == (wanted.refiner is not None)
    assert recipe.others.keys() <= {"Styles", "Template", "Negative Template", "Depth map"}


@pytest.mark.parametrize(
    "prompt",
    [
        "Steps: 5, Sampler: Euler a, CFG scale: 3, Seed: 1",
        "two\nlines, with Steps: 5 in the middle",
        'say "Model: x, y"',
        "Steps: 5, Sampler: x, Seed: 1\nNegative: none",
        "🌋 ünïcode \u202e right to left",
        "<lora:pixel:0.5:1> (a:1.2) [b|c] {d|e} AND f :0.5 BREAK g",
        "Lora hashes: \"x: 1\", Version: v1.6",
        "",
    ],
)  # fmt: skip
def test_a_prompt_that_looks_like_parameters_comes_back_as_it_was(prompt: str) -> None:
    record = Record(GenerationRequest(prompt, "Steps: 3, Sampler: Heun, Seed: 9", seed=4), Made(app="1"), 0, 4)
    values = read(infotext.write(record, "m")).values
    assert (values["prompt"], values["negative_prompt"], values["steps"], values["seed"]) == (prompt, "Steps: 3, Sampler: Heun, Seed: 9", 20, 4)


KEYS = st.from_regex(r"Zz[a-zA-Z0-9 /_-]{0,20}[a-z]", fullmatch=True)
SAID = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40).filter(lambda text: text.strip() == text)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(KEYS, SAID, max_size=5))
def test_keys_that_nobody_knows_are_kept(unknown: dict[str, str]) -> None:
    recipe = read(", ".join([TEXT, *(f"{key}: {infotext.quoted(value)}" for key, value in unknown.items())]))
    assert recipe.others == unknown and recipe.values["steps"] == 25


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ('ControlNet 0: "Module: canny, Weight: 1"', "ControlNet"), ("ADetailer model: face", "ADetailer"), ("Tiling: True", "tiled"),
        ("Token merging ratio: 0.5", "merged"), ("Eta: 0.67", "Eta"),
        ("Schedule max sigma: 10", "Schedule max sigma"),
        ("Face restoration: CodeFormer", "Faces"), ("Schedule bias: 1", "softly"),
    ],
)  # fmt: skip
def test_what_changes_the_picture_and_is_not_here_is_said(key: str, told: str) -> None:
    recipe = read(f"{TEXT}, {key}")
    assert any(told in note for note in recipe.notes) and key.partition(":")[0] in recipe.others


def test_programs_are_told_by_their_version() -> None:
    said = {"v1.10.1": "AUTOMATIC1111", "f2.0.1v1.10.1": "Forge", "neo": "Forge Neo", "sdui-0.1.0": "SD UI", "ComfyUI": "ComfyUI"}
    assert {version: read(f"{TEXT}, Version: {version}").program for version in said} == said
    assert read(f"{TEXT}, App: SD.Next, Version: abc1234, Pipeline: StableDiffusionXLPipeline").program == "SD.Next"


def test_none_as_vae_is_the_models_own() -> None:
    assert read(f"{TEXT}, VAE: None").values["vae"] == "Automatic"


def test_a_refiners_hash_is_understood() -> None:
    recipe = read(f"{TEXT}, Refiner: finer_1.0 [00aa11bb22], Refiner switch at: 0.8")
    assert (recipe.values["refiner"], recipe.hashes["refiner"], recipe.values["refiner_switch_at"]) == ("finer_1.0", "00aa11bb22", 0.8)
    ours = Record(GenerationRequest(refiner=Refiner("b", 0.7)), Made(refiner_hash="ab" * 32))
    assert read(infotext.write(ours, "m")).hashes["refiner"] == "ab" * 5


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["Hashes", "Civitai resources", "Lora hashes", "Lora weights", "Refiner"]), st.text(max_size=40) | st.recursive(
    st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "weight", "modelName", "hash", "model", "lora:x"]), inner, max_size=3), max_leaves=5).map(json.dumps))  # fmt: skip
def test_strange_resources_do_no_harm(key: str, value: str) -> None:
    recipe = read(f"{TEXT}, {key}: {value}")
    assert all(re.fullmatch("[0-9a-f]{8,64}", digits) for digits in recipe.hashes.values())
