"""SD 3, SD 3.5 and Flux.1 in one file: recognised by the header, and every tensor arrives where diffusers' own conversion puts it."""

import inspect

import pytest
import torch
from diffusers.loaders import single_file_utils

from sd_ui.engine.load import load
from sd_ui.models import files
from sd_ui.models.index import ModelIndex
from sd_ui.spec.cards import TEXT
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import fitted
from tests.engine.test_load import CPU, EMBEDDED, card, loaded, same
from tests.engine.tiny import SIZE, latents_of, run_of
from tests.flow_files import FLUX_WIDTH, FlowFile, flux_file, save, sd3_file, text_tensors

MAKERS = {
    "SD 3 Medium": (lambda: sd3_file(), 491, "sd3", ("txt2img", "img2img", "inpaint")),
    "SD 3.5 Medium": (lambda: sd3_file(normed=True, dual=13), 491 + 24 * 4 + 13 * 6, "sd3", ("txt2img", "img2img", "inpaint")),
    "Flux.1 dev": (lambda: flux_file(), 780, "flux", ("txt2img", "img2img", "inpaint")),
    "Flux.1 schnell": (lambda: flux_file(guided=False), 776, "flux", ("txt2img", "img2img", "inpaint")),
    "Flux.1 Fill": (lambda: flux_file(double=1, single=1, channels=384), 20 + 24 + 8, "flux", ("inpaint",)),
    "Flux.1 Depth": (lambda: flux_file(double=1, single=1, channels=128), 20 + 24 + 8, "flux", ("depth2img",)),
}


def by_diffusers(family: str, made: FlowFile) -> dict[str, torch.Tensor]:
    """Their table of names is for one width; nothing else of it is changed here."""
    name = f"convert_{family}_transformer_checkpoint_to_diffusers"
    source = inspect.getsource(getattr(single_file_utils, name)).replace("inner_dim = 3072", f"inner_dim = {FLUX_WIDTH}")
    scope = dict(vars(single_file_utils))
    exec(source, scope)
    return scope[name](dict(made.transformer))


@pytest.fixture(scope="module", params=MAKERS)
def published(request, tmp_path_factory):
    make, count, family, modes = MAKERS[request.param]
    made = make()
    path = save(made.tensors(), tmp_path_factory.mktemp("models") / f"{request.param}.safetensors")
    return made, path, count, family, modes, loaded(path)


def test_a_published_file_is_loaded_as_diffusers_loads_it(published):
    made, _, count, family, _, ours = published
    theirs = by_diffusers(family, made)
    own = ours.denoiser.state_dict()
    assert len(made.transformer) == count and own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)
    assert same(ours.vae, made.vae) and (ours.vae.config.scaling_factor, ours.vae.config.latent_channels) == (made.vae.config.scaling_factor, 16)
    for part, encoder in zip(ours.texts, made.texts.values(), strict=True):
        assert type(part.encoder) is type(encoder) and same(part.encoder, encoder)


def test_a_published_file_is_recognised_from_its_header_alone(published):
    _, path, _, family, modes, _ = published
    found = files.look(path)
    assert (found.family, found.fault, found.modes, found.lacks) == (family, "", modes, ())
    assert (found.defaults.width, found.defaults.sampler) == (1024, "Euler")
    if family == "flux":
        steps, scale = {"Flux.1 schnell": (4, 3.5), "Flux.1 Fill": (24, 30.0), "Flux.1 Depth": (24, 10.0)}.get(path.stem, (24, 3.5))
        assert (found.defaults.steps, found.defaults.distilled_cfg_scale, found.defaults.cfg_scale) == (steps, scale, 1.0)


def test_what_a_file_does_not_say_is_what_was_published(published):
    _, path, _, family, _, ours = published
    facts, schnell = ours.scheduler_config, "schnell" in path.stem
    assert facts["prediction_type"] == "flow_prediction" and facts["whole_steps"] == (family == "flux")
    assert facts["use_dynamic_shifting"] == (family == "flux" and not schnell) and facts["shift"] == (1.0 if schnell else 3.0)


def test_a_model_from_one_file_draws(tmp_path):
    made = flux_file(double=1, single=1)
    path = save(made.tensors(), tmp_path / "model.safetensors", half=True)
    cards = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none").cards()
    asked = {"model": "model", "width": SIZE, "height": SIZE, "steps": 2, "seed": 1, "prompt": "a cat"}
    request = fitted("txt2img", asked, cards).request
    assert latents_of(run_of(load(cards["model"], None, CPU), request)).isfinite().all() and path.exists()


# ---------------------------------------------------------------- parts in files of their own
@pytest.fixture(scope="module")
def flux() -> FlowFile:
    return flux_file(double=1, single=1)


def test_a_transformer_alone_is_given_its_text_encoders_and_vae(tmp_path, flux):
    """As ComfyUI and Forge lay them out; the transformer as Black Forest Labs publish it, without a prefix."""
    path = save(flux.tensors("", ()), tmp_path / "diffusion_models" / "flux1-dev.safetensors")
    save(text_tensors(flux.texts["clip_l"]), tmp_path / "text_encoders" / "clip_l.safetensors")
    save(text_tensors(flux.texts["t5"]), tmp_path / "clip" / "t5xxl_fp16.safetensors")
    save({name: tensor for name, tensor in flux.tensors("", ("vae",)).items() if name.startswith("vae.")}, tmp_path / "vae" / "ae.safetensors")
    cards = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none").cards()
    found = cards["flux1-dev"]
    assert (found.fault, found.lacks, found.defaults.vae) == ("", ("clip_l", "t5", "vae"), "ae") and cards["clip_l"].kind == TEXT
    ours = load(found, cards["ae"], CPU)
    assert found.path == path and same(ours.vae, flux.vae)
    assert [same(part.encoder, encoder) for part, encoder in zip(ours.texts, flux.texts.values(), strict=True)] == [True, True]


def test_what_is_missing_is_named_with_the_file_that_would_serve(tmp_path, flux):
    path = save(flux.tensors("", ("clip_l",)), tmp_path / "flux1-dev.safetensors")
    assert card(path).fault == "it comes without the text encoder T5: put t5xxl_fp16.safetensors into a folder of models, such as text_encoders"
    path = save(flux.tensors("", ()), tmp_path / "bare" / "flux1-dev.safetensors")
    assert "CLIP-L and the text encoder T5: put clip_l.safetensors and t5xxl_fp16.safetensors" in card(path).fault


def test_sd_3_does_without_t5_and_takes_it_where_it_is(tmp_path):
    made = sd3_file(blocks=2)
    path = save(made.tensors(parts=("clip_l", "clip_g", "vae")), tmp_path / "sd3_medium_incl_clips.safetensors")
    assert card(path).fault == "" and len(loaded(path).texts) == 2
    save(text_tensors(made.texts["t5"]), tmp_path / "text_encoders" / "t5xxl_fp16.safetensors")
    ours = loaded(path)
    assert len(ours.texts) == 3 and same(ours.texts[2].encoder, made.texts["t5"])


def test_text_encoders_of_other_models_are_no_checkpoints(tmp_path):
    save({"model.layers.0.mlp.weight": torch.zeros(2, 2)}, tmp_path / "text_encoders" / "qwen.safetensors")
    cards = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none").cards()
    assert cards["qwen"].kind == TEXT and cards["qwen"].fault


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("model.diffusion_model.double_blocks.0.img_mlp.2.bias", "the transformer"),
        ("text_encoders.t5xxl.transformer.encoder.final_layer_norm.weight", "the text encoder T5"),
    ],
)
def test_a_file_with_a_hole_names_the_part(tmp_path, flux, missing, named):
    path = save({name: tensor for name, tensor in flux.tensors().items() if name != missing}, tmp_path / "model.safetensors")
    with pytest.raises(BadRequest, match=named):
        loaded(path)


def test_tokens_are_counted_by_t5_after_a_restart_too(tmp_path, flux):
    save(flux.tensors(), tmp_path / "models" / "flux.safetensors")
    for _ in range(2):
        index = ModelIndex([tmp_path / "models"], EMBEDDED, tmp_path / "none", cache=tmp_path / "cache")
        assert index.reader("flux").ids("a cat") == [3, 9, 1712] and index.reader("flux").size == 511
