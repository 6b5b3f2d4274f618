"""LoRAs of SD 3 and Flux.1, in every style of names: the layers change as if the LoRA had been fused into the published file."""

import pytest
import torch
from safetensors.torch import save_file

from sd_ui.engine.adapters import Worn, dressed
from sd_ui.models.index import ModelIndex
from sd_ui.spec.made import WornLora
from tests.engine.test_load import EMBEDDED, card, loaded
from tests.flow_files import UNET, FlowFile, flux_file, save, sd3_file
from tests.loras import pair

MAKERS = {"flux": lambda: flux_file(double=1, single=1), "sd3": lambda: sd3_file(blocks=2, normed=True, dual=1)}
UNCHANGED = ("final_layer.adaLN_modulation.1", "joint_blocks.1.context_block.adaLN_modulation.1")  # which stand the other way round in diffusers
STYLES = {
    "kohya": lambda name, end: f"lora_unet_{name.replace('.', '_')}.lora_{end}.weight",
    "ComfyUI": lambda name, end: f"diffusion_model.{name}.lora_{'A' if end == 'down' else 'B'}.weight",
    "bare": lambda name, end: f"{name}.lora_{'A' if end == 'down' else 'B'}.weight",
}
STRENGTH = 0.7


@pytest.fixture(scope="module", params=MAKERS)
def model(request, tmp_path_factory):
    made = MAKERS[request.param]()
    return request.param, made, save(made.tensors(), tmp_path_factory.mktemp("models") / "model.safetensors")


def changes(made: FlowFile) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """down and up for each linear layer of the blocks."""
    names = [name.removesuffix(".weight") for name, tensor in made.transformer.items() if "blocks." in name and tensor.ndim == 2]
    return {name: pair(made.transformer[f"{name}.weight"], seed=i) for i, name in enumerate(names) if name not in UNCHANGED}


def worn(path) -> Worn:
    return Worn(path, WornLora("ink", STRENGTH, STRENGTH, ""))


@pytest.mark.parametrize("style", STYLES)
def test_a_worn_lora_is_a_fused_one(model, style, tmp_path):
    family, made, path = model
    named = {STYLES[style](name, end): t for name, (down, up) in changes(made).items() for end, t in (("down", down), ("up", up))}
    lora = tmp_path / "ink.safetensors"
    save_file(named, lora)
    fused = {UNET + f"{name}.weight": made.transformer[f"{name}.weight"] + STRENGTH * up @ down for name, (down, up) in changes(made).items()}
    expected = loaded(save(made.tensors() | fused, tmp_path / "fused.safetensors")).denoiser.state_dict()
    ours = dressed(loaded(path), [worn(lora)]).denoiser.state_dict()
    assert card(lora).family == family and not card(lora).fault
    assert all(torch.allclose(ours[name], expected[name], atol=1e-6) for name in expected)


def test_a_lora_in_the_names_of_diffusers_changes_what_it_names(model, tmp_path):
    _, _, path = model
    ours = loaded(path)
    name = "transformer_blocks.0.attn.to_out.0"
    weight = ours.denoiser.get_submodule(name).weight
    down, up = pair(weight, seed=1)
    save_file({f"transformer.{name}.lora_A.weight": down, f"transformer.{name}.lora_B.weight": up}, tmp_path / "ink.safetensors")
    changed = dressed(ours, [worn(tmp_path / "ink.safetensors")]).denoiser.get_submodule(name).weight
    assert torch.allclose(changed, weight + STRENGTH * up @ down, atol=1e-6) and weight is ours.denoiser.get_submodule(name).weight


def test_the_index_knows_which_models_a_lora_fits(tmp_path):
    flux, sd3 = MAKERS["flux"](), MAKERS["sd3"]()
    save(flux.tensors(), tmp_path / "flux.safetensors")
    save(sd3.tensors(), tmp_path / "sd3.safetensors")
    for made, name in ((flux, "ink"), (sd3, "oil")):
        pairs = changes(made).items()
        named = {STYLES["kohya"](layer, end): t for layer, (down, up) in pairs for end, t in (("down", down), ("up", up))}
        save_file(named, tmp_path / f"{name}.safetensors")
    index = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")
    assert [index.misfit("flux", "ink"), index.misfit("sd3", "oil")] == ["", ""]
    assert index.misfit("sd3", "ink") == "ink does not go with sd3: it is for Flux.1, and sd3 is Stable Diffusion 3"
    assert [found.name for found in index.loras("flux")] == ["ink"]


def test_a_lora_of_halves_that_stand_the_other_way_round_is_refused(tmp_path):
    down, up = pair(torch.zeros(128, 64), seed=1)
    save_file({"lora_unet_final_layer_adaLN_modulation_1.lora_down.weight": down, "lora_unet_final_layer_adaLN_modulation_1.lora_up.weight": up},
              tmp_path / "ink.safetensors")  # fmt: skip
    assert "norm_out_linear, which is not supported" in card(tmp_path / "ink.safetensors").fault
