"""ComfyUI's graphs are read backwards from the sampler, in both of the forms in which its pictures carry them."""

import json
from typing import Any

import pytest

from sd_ui.recipes.read import pasted
from sd_ui.recipes.recipe import Recipe


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


GRAPH = {
    "1": node("CheckpointLoaderSimple", ckpt_name="sd15\\lantern_v2.safetensors"),
    "2": node("LoraLoader", lora_name="ink/wash.safetensors", strength_model=0.7, strength_clip=0.5, model=["1", 0], clip=["1", 1]),
    "3": node("LoraLoaderModelOnly", lora_name="sharp.safetensors", strength_model=1, model=["2", 0]),
    "4": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["2", 1]),
    "5": node("CLIPTextEncode", text="a (red:1.2) lantern, embedding:glow.pt [old]", clip=["4", 0]),
    "6": node("CLIPTextEncode", text="fog", clip=["4", 0]),
    "7": node("EmptyLatentImage", width=640, height=448, batch_size=2),
    "8": node("KSampler", seed=2**63 + 7, steps=24, cfg=6.5, sampler_name="dpmpp_2m_sde_gpu", scheduler="karras", denoise=1.0, model=["3", 0],
              positive=["5", 0], negative=["6", 0], latent_image=["7", 0]),
    "9": node("VAEDecode", samples=["8", 0], vae=["10", 0]),
    "10": node("VAELoader", vae_name="clear.safetensors"),
    "11": node("SaveImage", images=["9", 0], filename_prefix="x"),
}  # fmt: skip


def read(graph: dict[str, Any]) -> Recipe:
    recipe = pasted(json.dumps(graph))
    assert recipe and recipe.program == "ComfyUI"
    return recipe


def test_the_common_graph_is_read_whole() -> None:
    recipe = read(GRAPH)
    expected = {
        "prompt": r"a (red:1.2) lantern, glow \[old\] <lora:wash:0.5:0.7> <lora:sharp:0:1>",
        "negative_prompt": "fog",
        "model": "lantern_v2",
        "vae": "clear",
        "clip_skip": 2,
        "sampler": "DPM++ 2M SDE",
        "schedule": "Karras",
        "steps": 24,
        "cfg_scale": 6.5,
        "seed": 2**63 + 7,
        "width": 640,
        "height": 448,
        "batch_count": 2,
    }
    assert recipe.mode == "txt2img" and expected.items() <= recipe.values.items()
    assert len(recipe.notes) == 3  # weights, the batch, noise of the graphics card


def test_a_workflow_says_the_same_as_its_prompt() -> None:
    """Values by the order of the widgets, links by number, a node that is bypassed and one that is muted."""
    rows = [
        [1, "CheckpointLoaderSimple", [], ["lantern_v2.safetensors"]],
        [2, "LoraLoader", [("model", 1), ("clip", 2)], ["wash.safetensors", 0.7, 0.5]],
        [3, "LoraLoader", [("model", 3), ("clip", 4)], ["skipped.safetensors", 1, 1], 4],
        [5, "CLIPTextEncode", [("clip", 5)], ["a lantern"]],
        [6, "CLIPTextEncode", [("clip", 6)], ["fog"]],
        [7, "EmptyLatentImage", [], [640, 448, 1]],
        [8, "KSampler", [("model", 7), ("positive", 8), ("negative", 9), ("latent_image", 10)], [11, "randomize", 24, 6.5, "euler", "normal", 1]],
        [9, "KSampler", [("latent_image", 10)], [12, "randomize", 3, 1, "euler", "normal", 1], 2],
    ]
    nodes = [
        {
            "id": row[0],
            "type": row[1],
            "inputs": [{"name": name, "link": link} for name, link in row[2]],
            "widgets_values": row[3],
            "mode": (*row, 0)[4],
        }
        for row in rows
    ]
    links = [[1, 1, 0, 2, 0, "MODEL"], [2, 1, 1, 2, 1, "CLIP"], [3, 2, 0, 3, 0, "MODEL"], [4, 2, 1, 3, 1, "CLIP"], [5, 3, 1, 5, 0, "CLIP"],
             [6, 3, 1, 6, 0, "CLIP"], [7, 3, 0, 8, 0, "MODEL"], [8, 5, 0, 8, 1, "CONDITIONING"], [9, 6, 0, 8, 2, "CONDITIONING"]]  # fmt: skip
    newer = {"id": 10, "origin_id": 7, "origin_slot": 0, "target_id": 8, "target_slot": 3, "type": "LATENT"}
    recipe = read({"nodes": nodes, "links": [*links, newer], "version": 0.4})
    expected = {"prompt": "a lantern <lora:wash:0.5:0.7>", "negative_prompt": "fog", "model": "lantern_v2", "seed": 11, "steps": 24, "cfg_scale": 6.5,
                "sampler": "Euler", "schedule": "Normal", "width": 640, "height": 448}  # fmt: skip
    assert expected.items() <= recipe.values.items() and recipe.notes == ()


def changed(**nodes: Any) -> dict[str, Any]:
    return GRAPH | {key.removeprefix("n"): value for key, value in nodes.items()}


def sampler(kind: str = "KSampler", **inputs: Any) -> dict[str, Any]:
    return node(kind, **GRAPH["8"]["inputs"] | inputs)


def test_a_picture_that_was_given_makes_it_img2img() -> None:
    """20 steps at strength 0.5 are run whole there; here they are half of 40."""
    graph = changed(n7=node("VAEEncode", pixels=["20", 0], vae=["10", 0]), n20=node("LoadImage", image="cat.png"), n8=sampler(steps=20, denoise=0.5))
    recipe = read(graph)
    assert recipe.mode == "img2img" and recipe.others["Picture"] == "cat.png"
    assert (recipe.values["strength"], recipe.values["steps"]) == (0.5, 40) and "width" not in recipe.values


def test_a_mask_makes_it_inpainting() -> None:
    encode = node("VAEEncode", pixels=["20", 0])
    graph = changed(n7=node("SetLatentNoiseMask", samples=["21", 0], mask=["20", 1]), n20=node("LoadImage", image="cat.png"), n21=encode)
    assert read(graph).mode == "inpaint"


def test_a_refiner_and_a_second_pass_are_told_apart() -> None:
    first = sampler("KSamplerAdvanced", noise_seed=5, add_noise="enable", end_at_step=16, return_with_leftover_noise="enable", steps=20)
    second = sampler("KSamplerAdvanced", noise_seed=5, add_noise="disable", start_at_step=16, steps=20, latent_image=["8", 0], model=["30", 0])
    loader = node("CheckpointLoaderSimple", ckpt_name="polish.safetensors")
    refined = read(changed(n8=first, n31=second, n30=loader, n9=node("VAEDecode", samples=["31", 0])))
    assert (refined.values["refiner"], refined.values["refiner_switch_at"]) == ("polish", 0.8)
    again = read(
        changed(n31=sampler(latent_image=["32", 0], denoise=0.4, steps=9), n32=node("LatentUpscale", samples=["8", 0], width=1280, height=896))
    )
    assert (again.values["steps"], again.values["width"]) == (24, 640) and "2 passes" in again.notes[-1]


def test_custom_samplers_are_put_together() -> None:
    graph = changed(
        n8=node("SamplerCustomAdvanced", noise=["40", 0], guider=["41", 0], sampler=["42", 0], sigmas=["43", 0], latent_image=["7", 0]),
        n40=node("RandomNoise", noise_seed=77),
        n41=node("CFGGuider", cfg=4, model=["1", 0], positive=["5", 0], negative=["6", 0]),
        n42=node("KSamplerSelect", sampler_name="euler_ancestral"),
        n43=node("KarrasScheduler", steps=13, sigma_max=14, sigma_min=0.03, rho=7),
    )
    expected = {"seed": 77, "cfg_scale": 4, "sampler": "Euler a", "schedule": "Karras", "steps": 13, "model": "lantern_v2", "negative_prompt": "fog"}
    assert expected.items() <= read(graph).values.items()


@pytest.mark.parametrize(
    ("joined", "prompt"),
    [
        (node("ConditioningCombine", conditioning_1=["5", 0], conditioning_2=["50", 0]), "one :0.5 AND two :0.5"),
        (node("ConditioningConcat", conditioning_to=["5", 0], conditioning_from=["50", 0]), "one BREAK two"),
        (node("ControlNetApplyAdvanced", positive=["50", 0], negative=["5", 0], control_net=["99", 0]), "two"),
        (node("FluxGuidance", conditioning=["5", 0], guidance=3), "one"),
        (node("ConditioningZeroOut", conditioning=["5", 0]), ""),
        (node("CLIPTextEncodeSDXL", text_g="one", text_l="one", clip=["1", 1]), "one"),
        (node("CLIPTextEncode", text=["52", 0], clip=["1", 1]), "three"),
        (node("CLIPTextEncode", text=["53", 0], clip=["1", 1]), "a, b"),
    ],
)
def test_conditionings_become_one_prompt(joined: dict[str, Any], prompt: str) -> None:
    graph = changed(
        n5=node("CLIPTextEncode", text="one", clip=["1", 1]),
        n50=node("CLIPTextEncode", text="two", clip=["1", 1]),
        n51=joined,
        n52=node("PrimitiveString", value="three"),
        n53=node("StringConcatenate", string_a="a", string_b="b", delimiter=", "),
        n8=sampler(positive=["51", 0], model=["1", 0]),
    )
    assert read(graph).values["prompt"] == prompt


def test_what_changes_the_picture_and_is_not_here_is_said() -> None:
    recipe = read(changed(n60=node("FreeU_V2", model=["3", 0], b1=1.3), n8=sampler(model=["60", 0], sampler_name="ipndm")))
    assert recipe.values["model"] == "lantern_v2" and "FreeU_V2" in recipe.notes[1]
    assert recipe.others == {"Sampler": "ipndm", "Schedule": "karras"} and "sampler" not in recipe.values


def test_its_ddim_is_euler_unless_it_has_the_spacing_of_ddim() -> None:
    for spacing, ours in {"karras": ("Euler", "Karras"), "ddim_uniform": ("DDIM", "Automatic")}.items():
        values = read(changed(n8=sampler(sampler_name="ddim", scheduler=spacing))).values
        assert (values["sampler"], values["schedule"]) == ours


def test_a_graph_in_a_circle_has_an_end() -> None:
    circle = changed(n1=node("Thing", model=["2", 0], clip=["2", 1]), n7=node("Thing", samples=["9", 0]), n5=node("Thing", conditioning=["5", 0]))
    assert read(circle).values["steps"] == 24


def test_a_graph_that_asks_for_a_billion_texts_gets_few() -> None:
    doubled = {f"d{i}": node("ConditioningCombine", conditioning_1=[f"d{i + 1}", 0], conditioning_2=[f"d{i + 1}", 0]) for i in range(40)}
    recipe = read(GRAPH | doubled | {"d40": node("CLIPTextEncode", text="x"), "8": sampler(positive=["d0", 0])})
    assert len(recipe.values["prompt"]) < 32_000


def test_a_graph_without_a_sampler_is_no_recipe() -> None:
    assert pasted(json.dumps({"1": node("LoadImage", image="x")})) is None


def test_ten_megabytes_of_graph_are_read() -> None:
    many = {f"m{i}": node("LoraLoader", lora_name="x" * 400, model=[f"m{i + 1}", 0], clip=["1", 1]) for i in range(19_000)}
    recipe = read(GRAPH | many | {"8": sampler(model=["m0", 0])})
    assert recipe.values["steps"] == 24 and recipe.values["prompt"].count("<lora:") <= 400


@pytest.mark.parametrize("kind", ["SaveImage", "VAEDecode", "KSampler", "ConditioningCombine"])
def test_a_graph_of_nothing_but_long_ways_is_read_soon(kind: str) -> None:
    """Twenty thousand nodes, from each of which it is four hundred to the end: looked at one by one this would take minutes."""
    inputs = {"images": ["0", 0], "vae": ["0", 0], "latent_image": ["0", 0], "seed": 1, "conditioning_1": ["0", 0]}
    way = {str(i): node("Thing", images=[str(i + 1), 0], vae=[str(i + 1), 0], latent=[str(i + 1), 0]) for i in range(500)}
    many = {f"m{i}": node(kind, **inputs, **{f"x{j}": j for j in range(5)}) for i in range(18_000)}
    recipe = pasted(json.dumps(way | many | {"8": sampler()}))
    assert recipe and recipe.program == "ComfyUI"
