"""Recipes of other programs, each in the layout that it documents; what does not map is said, and nothing that comes in does harm."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_ui.recipes import data, names
from sd_ui.recipes.read import PLACES, pasted, read
from sd_ui.recipes.recipe import Recipe, left_over, understood
from sd_ui.recipes.weights import from_compel, from_novelai
from sd_ui.spec.fields import FIELDS
from sd_ui.spec.limits import fitted
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS, SCHEDULES
from tests.ui.cards import EMBEDDED_CARD


def recipe_of(found: Any, **texts: str) -> Recipe:
    recipe = read({"pasted": found if isinstance(found, str) else json.dumps(found), **texts})
    assert recipe
    return recipe


def says(recipe: Recipe, **expected: Any) -> None:
    assert {name: recipe.values.get(name) for name in expected} == expected


# ---------------------------------------------------------------- InvokeAI
INVOKE = {
    "app_version": "5.4.2", "generation_mode": "sdxl_txt2img", "positive_prompt": "a harbour++, (old boats)1.3", "negative_prompt": "haze-",
    "width": 832, "height": 1216, "seed": 4242, "rand_device": "cpu", "cfg_scale": 5.5, "steps": 32, "scheduler": "dpmpp_2m_sde_k", "clip_skip": 1,
    "model": {"key": "k", "hash": "blake3:00ff", "name": "harbour-xl", "base": "sdxl", "type": "main"},
    "loras": [{"model": {"name": "rope", "hash": "blake3:1"}, "weight": 0.75}], "cfg_rescale_multiplier": 0.2, "seamless_x": False,
}  # fmt: skip


def test_invokeai_is_read() -> None:
    recipe = recipe_of(INVOKE)
    assert recipe.program == "InvokeAI" and recipe.mode == "txt2img"
    says(recipe, prompt="a (harbour:1.21), (old boats:1.3) <lora:rope:0.75>", negative_prompt="(haze:0.9)", width=832, height=1216, seed=4242)
    says(recipe, cfg_scale=5.5, steps=32, sampler="DPM++ 2M SDE", schedule="Karras", clip_skip=2, model="harbour-xl", vae=AUTOMATIC)
    assert recipe.others == {"cfg_rescale_multiplier": "0.2", "seamless_x": "false"}


def test_invokeai_of_3_names_its_models_otherwise() -> None:
    older = {"model": {"model_name": "m", "base_model": "sd-1"}, "loras": [{"lora": {"model_name": "l"}, "weight": 1}], "vae": {"model_name": "v"}}
    recipe = recipe_of(INVOKE | older | {"generation_mode": "img2img", "strength": 0.6})
    assert recipe.mode == "img2img" and recipe.values["prompt"].endswith(" <lora:l:1>")
    says(recipe, model="m", vae="v", strength=0.6)


def test_invokeais_older_texts_are_read() -> None:
    image = {"prompt": [{"prompt": "a mill [crowd, cars]", "weight": 1}], "steps": 50, "cfg_scale": 7.5, "height": 512, "width": 704, "seed": 31337,
             "type": "txt2img", "sampler": "k_lms", "variations": []}  # fmt: skip
    recipe = recipe_of({"model_weights": "stable-diffusion-1.5", "app_id": "invoke-ai/InvokeAI", "image": image})
    wanted = {"prompt": "a mill", "negative_prompt": "crowd, cars", "steps": 50, "cfg_scale": 7.5, "width": 704, "height": 512, "seed": 31337}
    says(recipe, model="stable-diffusion-1.5", sampler="LMS", **wanted)
    dream = recipe_of('"a mill [crowd, cars]" -s 50 -S31337 -W 704 -H 512 -C 7.5 -A k_lms')
    says(dream, sampler="LMS", **wanted)


# ---------------------------------------------------------------- Fooocus
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "meadow_v8", "base_model_hash": "00aa11bb22", "clip_skip": 2,
    "full_negative_prompt": ["rain", "noise"], "full_prompt": ["a meadow", "cinematic still, a meadow"], "guidance_scale": 4.5,
    "loras": [["offset_1.0", 0.1, "33cc44dd55"]], "metadata_scheme": "fooocus", "negative_prompt": "rain", "performance": "Speed",
    "prompt": "a meadow",
    "prompt_expansion": "", "refiner_model": "finer", "refiner_switch": 0.7, "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "seed": "909", "sharpness": 2, "steps": 30, "styles": "['Fooocus V2']", "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}  # fmt: skip


def test_fooocus_is_read_with_the_texts_of_its_styles() -> None:
    recipe = recipe_of(FOOOCUS)
    assert recipe.program == "Fooocus"
    says(recipe, prompt="a meadow BREAK cinematic still, a meadow <lora:offset_1.0:0.1>", negative_prompt="rain BREAK noise", steps=30, seed=909)
    says(recipe, width=1152, height=896, cfg_scale=4.5, sampler="DPM++ 2M SDE", schedule="Karras", model="meadow_v8", vae=AUTOMATIC, clip_skip=2)
    says(recipe, refiner="finer", refiner_switch_at=0.7)
    assert recipe.hashes == {"model": "00aa11bb22", "lora:offset_1.0": "33cc44dd55"}
    assert recipe.others.keys() == {"adm_guidance", "performance", "sharpness", "styles"} and "sharpness filter" in recipe.notes[1]


def test_fooocus_log_and_its_a1111_scheme_are_read() -> None:
    log = {"Prompt": "a meadow", "Negative Prompt": "", "Styles": "[]", "Performance": "Extreme Speed", "Resolution": "(896, 1152)",
    "Guidance Scale": 4,
           "Base Model": "meadow_v8.safetensors", "Sampler": "lcm", "Scheduler": "lcm", "Seed": 1, "LoRA 1": "offset.safetensors : 0.5"}  # fmt: skip
    says(recipe_of(log), prompt="a meadow <lora:offset:0.5>", steps=8, width=896, height=1152, sampler="LCM", schedule=AUTOMATIC, model="meadow_v8")
    text = ('a meadow\nNegative prompt: rain\nSteps: 30, Sampler: DPM++ 2M SDE, Seed: 909, Size: 1152x896, CFG scale: 4, Sharpness: 2, '
            'ADM Guidance: "(1.5, 0.8, 0.3)", Model: meadow_v8, Model hash: 00aa11bb22, Performance: Speed, Scheduler: karras, VAE: Default (model), '
            'Lora hashes: "offset: 33cc44dd55", Lora weights: "offset: 0.5", Version: Fooocus v2.5.5')  # fmt: skip
    recipe = recipe_of(text)
    says(recipe, prompt="a meadow <lora:offset:0.5>", sampler="DPM++ 2M SDE", schedule="Karras", vae=AUTOMATIC, cfg_scale=4, clip_skip=1)
    assert recipe.program == "Fooocus" and recipe.hashes == {"model": "00aa11bb22", "lora:offset": "33cc44dd55"}


# ---------------------------------------------------------------- NovelAI
NOVELAI = {"prompt": "{{girl}}, (tree), [sky]", "steps": 28, "height": 1216, "width": 832, "scale": 5.0, "uncond_scale": 0.0,
           "cfg_rescale": 0.1, "seed": 99,
           "n_samples": 1, "noise_schedule": "karras", "sampler": "k_euler_ancestral", "uc": "{bad}",
           "request_type": "PromptGenerateRequest"}  # fmt: skip


def test_novelai_is_read_with_its_emphasis() -> None:
    recipe = read({"Software": "NovelAI", "Source": "NovelAI Diffusion V3", "Description": "x", "Comment": json.dumps(NOVELAI)})
    assert recipe and recipe.program == "NovelAI"
    says(
        recipe, prompt=r"(girl:1.1025), \(tree\), (sky:0.9524)", negative_prompt="(bad:1.05)", steps=28, width=832, height=1216, cfg_scale=5, seed=99
    )
    says(recipe, sampler="Euler a", schedule="Karras")
    assert "NovelAI Diffusion V3" in recipe.notes[0] and recipe.others == {"uncond_scale": "0.0", "cfg_rescale": "0.1"}


def test_novelai_of_today_and_of_the_first_days_is_read() -> None:
    people = {"base_caption": "a park", "char_captions": [{"char_caption": "1.5::runner::, red", "centers": [{"x": 0.5, "y": 0.5}]}]}
    says(recipe_of(NOVELAI | {"v4_prompt": {"caption": people}}), prompt="a park, (runner:1.5), red")
    first = {key: value for key, value in NOVELAI.items() if key not in ("prompt", "request_type")}
    says(recipe_of(first, Description="{old}"), prompt="(old:1.05)")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("a, b", "a, b"), ("{a}, b", "(a:1.05), b"), ("{a {b}}", "(a:1.05) (b:1.1025)"), ("[[a]]", "(a:0.907)"), ("{a", "(a:1.05)"), ("a}", "a}"),
        ("{a]}", r"(a\]:1.05)"), ("2::a, {b}:: c", "(a:2), (b:2.1) c"), ("-1::a::", "(a:-1)"), ("12:30", "12:30"), ("{}", ""),
    ],
)  # fmt: skip
def test_braces_of_novelai(theirs: str, ours: str) -> None:
    assert from_novelai(theirs) == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("well-known cat", "well-known cat"), ("cat++", "(cat:1.21)"), ("cat-, dog", "(cat:0.9), dog"), ("(a b)1.2", "(a b:1.2)"), ("(a (b)++)1.5 c",
        "(a (b:1.21):1.5) c"), ("(a b)", "a b"), ("(a b)--", "(a b:0.81)"), ("a (b", r"a \(b"), (r"\(a\)", r"\(a\)"), ("[x]", r"\[x\]"), ("a)", "a)"),
    ],
)  # fmt: skip
def test_signs_of_invokeai(theirs: str, ours: str) -> None:
    assert from_compel(theirs) == ours


# ---------------------------------------------------------------- SwarmUI, Draw Things, Civitai
def test_swarmui_is_read() -> None:
    params = {"prompt": "a pier", "negativeprompt": "people", "model": "XL/pier_v1", "images": 1, "seed": 12, "steps": 22, "cfgscale": 6.0,
    "width": 1024,
              "height": 768, "sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["sub/wood"], "loraweights": ["0.6"], "automaticvae": True,
              "initimagecreativity": 0.4, "swarm_version": "0.9.5.0", "freeub": 1.1}  # fmt: skip
    models = [{"name": "sub/wood.safetensors", "param": "loras", "hash": "0x" + "ab" * 32}]
    recipe = recipe_of({"sui_image_params": params, "sui_extra_data": {}, "sui_models": models})
    assert recipe.program == "SwarmUI" and recipe.mode == "img2img" and recipe.others == {"freeub": "1.1"}
    says(recipe, prompt="a pier <lora:wood:0.6>", negative_prompt="people", model="pier_v1", seed=12, steps=22, cfg_scale=6, width=1024, height=768)
    says(recipe, sampler="DPM++ 2M", schedule="Karras", strength=0.4, vae=AUTOMATIC, clip_skip=1)
    assert recipe.hashes == {"lora:wood": "ab" * 32}


def test_draw_things_is_read() -> None:
    said = {"c": "a dune", "uc": "wind", "model": "dune_f16.ckpt", "sampler": "DPM++ 2M Karras", "scale": 6, "seed": 5, "steps": 18, "strength": 1,
            "size": "512x768", "lora": [{"model": "sand_lora.ckpt", "weight": 0.4}], "profile": {"duration": 9}}  # fmt: skip
    recipe = recipe_of(said)
    assert recipe.program == "Draw Things" and recipe.mode == "txt2img" and recipe.others.keys() == {"profile"}
    says(recipe, prompt="a dune <lora:sand_lora:0.4>", negative_prompt="wind", model="dune_f16", sampler="DPM++ 2M", schedule="Karras", width=512)


def test_civitais_resources_and_hashes_are_understood() -> None:
    text = ('a fox\nNegative prompt: blur\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 8, Size: 832x1216, Clip skip: 2, '
            'Hashes: {"model":"0a1b2c3d4e","lora:fur":"5f6a7b8c9d","embed:neg":"1122334455"}, Civitai resources: [{"type":"checkpoint",'
            '"modelVersionId":1,'
            '"modelName":"Fox XL","modelVersionName":"v3"},{"type":"lora","weight":0.65,"modelVersionId":2,"modelName":"fur","modelVersionName":"1"},'
            '{"type":"embed","modelVersionId":3,"modelName":"neg"}], Civitai metadata: {}')  # fmt: skip
    recipe = recipe_of(text)
    assert recipe.program == "Civitai"
    says(recipe, prompt="a fox <lora:fur:0.65>", model="Fox XL", steps=25, seed=8, sampler="DPM++ 2M", schedule="Karras", clip_skip=2)
    assert recipe.hashes == {"model": "0a1b2c3d4e", "lora:fur": "5f6a7b8c9d", "embedding:neg": "1122334455"}
    assert recipe.others["Civitai embed 3"] == "neg"


def test_civitais_generator_hides_its_recipe_in_a_graph() -> None:
    said = {"prompt": "a fox", "negativePrompt": "blur", "steps": 25, "cfgScale": 5, "sampler": "Euler a", "seed": 8, "workflowId": "txt2img",
            "resources": [{"modelVersionId": 2, "strength": 1}]}  # fmt: skip
    recipe = recipe_of({"extra": {"airs": []}, "extraMetadata": json.dumps(said)})
    says(recipe, prompt="a fox", negative_prompt="blur", steps=25, cfg_scale=5, sampler="Euler a", seed=8)
    assert recipe.program == "Civitai" and "workflowId" in recipe.others and "Civitai resource 2" in recipe.others


# ---------------------------------------------------------------- which text
def test_a_text_with_settings_is_preferred_to_mere_words() -> None:
    texts = {"parameters": "only words", "invokeai_metadata": json.dumps(INVOKE)}
    recipe = read(texts)
    assert recipe and recipe.program == "InvokeAI" and recipe.text == texts["invokeai_metadata"]
    alone = read({"parameters": "only words"})
    assert alone and alone.values == {"prompt": "only words", "negative_prompt": ""}


@pytest.mark.parametrize("texts", [{}, {"Software": "GIMP"}, {"Comment": "Created with GIMP"}, {"prompt": "{"}, {"pasted": "[]"}, {"pasted": "  "}])
def test_what_is_no_recipe_is_none(texts: dict[str, str]) -> None:
    assert read(texts) is None


def test_what_is_left_out_means_what_it_means_there() -> None:
    """A form that has a refiner or a variation seed from before must not keep it."""
    assert recipe_of(INVOKE).values.items() >= {"refiner": "None", "emphasis": "Original", "styles": []}.items()


def test_what_was_read_is_listed_for_people() -> None:
    recipe = recipe_of(INVOKE)
    assert understood(recipe).startswith("InvokeAI, for txt2img\nPrompt: a (harbour:1.21), ") and "\nSteps: 32\n" in understood(recipe)
    assert "Refiner" not in understood(recipe)  # there was none
    assert left_over(recipe).endswith("\ncfg_rescale_multiplier: 0.2\nseamless_x: false")


# ---------------------------------------------------------------- promises for all of them
EXAMPLES: dict[str, Any] = {"invoke": INVOKE, "fooocus": FOOOCUS, "novelai": NOVELAI, "swarm": {"sui_image_params": {"prompt": "x", "steps": 3}}}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_door_takes_what_was_read(name: str) -> None:
    values = recipe_of(EXAMPLES[name]).values | {"model": None, "refiner": None}
    assert fitted("txt2img", values, {EMBEDDED_CARD.name: EMBEDDED_CARD}).request.prompt


def test_the_tables_name_only_what_there_is() -> None:
    assert {*names.K_DIFFUSION.values(), *names.DIFFUSERS.values(), *names.APPLE.values()} <= SAMPLERS.keys()
    assert set(names.SCHEDULES.values()) <= set(SCHEDULES)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["euler", "1", "(", "x" * 40_000, "\ud800", "{a", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({*INVOKE, *FOOOCUS, *NOVELAI, "c", "sui_image_params", "sui_models", "extraMetadata", "image", "app_id", "model_weights",
           "nodes", "links",
               "class_type", "inputs", "Comment", "v4_prompt", "resources"})  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([{}, *EXAMPLES.values()]), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.sampled_from(PLACES))
def test_no_values_do_harm(base: dict[str, Any], changes: dict[str, Any], place: str) -> None:
    check(read({place: json.dumps(base | changes)}))


NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["KSampler", "VAEDecode", "LoraLoader", "CLIPTextEncode", "SaveImage", "ConditioningConcat"])},
    optional={"inputs": st.dictionaries(
        st.sampled_from(["model", "latent_image", "seed", "positive", "negative", "text", "lora_name", "conditioning_to", "conditioning_from", "clip",
                         "denoise", "steps", "strength_model", "width", "height", "samples", "images", "value", "sigmas", "guider", "vae"]),
        JSON | st.tuples(st.sampled_from(["0", "1", "2", "3"]), st.integers(0, 2)).map(list))},
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(NODES, max_size=4))
def test_no_graph_does_harm(nodes: list[Any]) -> None:
    check(pasted(json.dumps({str(i): node for i, node in enumerate(nodes)})))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(PLACES), st.text(max_size=60) | st.sampled_from(["Steps: 1, Seed: 2, Size: 3x4, Lora hashes: ", '"a -S', "[" * 99_999])
    )
)
def test_no_text_does_harm(texts: dict[str, str]) -> None:
    check(read(texts))


def check(recipe: Recipe | None) -> None:
    if recipe:
        assert recipe.values.keys() <= FIELDS.keys()
        assert all(isinstance(text, str) and text.encode() is not None for pair in recipe.others.items() for text in pair)
        assert understood(recipe).encode() and left_over(recipe).encode() is not None
        assert recipe.values.get("prompt", "").encode() is not None


@pytest.mark.parametrize("unit", ["{", "[", "(", "1::", "{}", "a++ ", "a-", "(a)1.1", "\\"])
def test_a_long_prompt_is_converted_in_proportion_to_its_length(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    assert from_novelai(text) is not None and from_compel(text) is not None


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "[" * 1_000_000, '{"x": 1' + "0" * 100_000 + "}", " " * 17_000_000 + "{}"])
def test_json_that_is_too_deep_or_too_much_is_none(text: str) -> None:
    assert data.parsed(text) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/x.safetensors", "x"), ("a\\X.CKPT", "X"), ("v1.5", "v1.5"), ("", ""), (5, ""), ("../../etc/passwd", "passwd"), (".safetensors", "")],
)
def test_a_models_name_is_never_a_path(path: Any, name: str) -> None:
    assert data.stem(path) == name
