"""SD 3 and Flux.1 from folders: every part by its class, every tensor where diffusers puts it; what is missing has a name."""

import json

import diffusers
import pytest
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from sd_ui.engine import attention
from sd_ui.models import tokens
from sd_ui.models.index import ModelIndex
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.limits import fitted
from tests.engine.test_load import EMBEDDED, card, loaded, same
from tests.mmdit import flux_folder, sd3_folder

MAKERS = {"sd3": sd3_folder, "flux": flux_folder}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    return request.param, MAKERS[request.param](tmp_path_factory.mktemp("models") / "model")


def test_a_folder_is_loaded_as_diffusers_loads_it(folder):
    family, path = folder
    ours, kinds = loaded(path), [CLIPTextModelWithProjection] * 2 + [T5EncoderModel] if family == "sd3" else [CLIPTextModel, T5EncoderModel]
    theirs = {"sd3": diffusers.SD3Transformer2DModel, "flux": diffusers.FluxTransformer2DModel}[family].from_pretrained(path / "transformer")
    assert ours.family.name == family and same(ours.denoiser, theirs)
    assert dict(ours.denoiser.config) == {name: value for name, value in theirs.config.items() if not name.startswith("_")}
    assert same(ours.vae, diffusers.AutoencoderKL.from_pretrained(path / "vae"))
    for number, (part, kind) in enumerate(zip(ours.texts, kinds, strict=True), 1):
        assert same(part.encoder, kind.from_pretrained(path / f"text_encoder{f'_{number}' if number > 1 else ''}"))
    assert [part.length for part in ours.texts] == ([0, 0, 256] if family == "sd3" else [0, 512])
    assert ours.attention == attention.SDPA


def test_its_card_says_what_it_can_do(folder):
    family, path = folder
    found = card(path)
    assert (found.family, found.fault, found.modes) == (family, "", ("txt2img", "img2img", "inpaint"))
    assert (found.defaults.width, found.defaults.height) == (1024, 1024) and found.size > 1_000_000


@pytest.mark.parametrize(("channels", "modes"), [(128, ("depth2img",)), (384, ("inpaint",))])
def test_models_for_one_thing_do_that(tmp_path, channels, modes):
    path = flux_folder(tmp_path / "model", in_channels=channels, out_channels=64)
    ours = loaded(path)
    assert card(path).modes == modes
    assert [ours.depth_unet is ours.denoiser, ours.inpaint_unet is ours.denoiser] == [channels == 128, channels == 384]


def test_a_model_that_is_told_edges_is_refused_in_words(tmp_path):
    assert "Canny" in card(flux_folder(tmp_path / "FLUX.1-Canny-dev", in_channels=128, out_channels=64)).fault


@pytest.mark.parametrize(
    ("maker", "missing", "named"),
    [
        (sd3_folder, "tokenizer_3", r"the third tokenizer is missing \(tokenizer_3/tokenizer.json\)"),
        (sd3_folder, "text_encoder_3", "the third text encoder is missing"),
        (flux_folder, "text_encoder_2", "the second text encoder is missing"),
        (flux_folder, "vae", "the VAE is missing"),
        (flux_folder, "scheduler", "the scheduler is missing"),
    ],
)
def test_a_folder_without_a_part_names_the_part(tmp_path, maker, missing, named):
    path = maker(tmp_path / "model")
    (path / missing).rename(tmp_path / f".{missing}")
    with pytest.raises(AssertionError, match=named):
        assert not card(path).fault, card(path).fault


def test_a_model_without_t5_is_whole_where_it_says_so(tmp_path):
    path = sd3_folder(tmp_path / "model", with_t5=False)
    assert card(path).fault == "" and len(loaded(path).texts) == 2


def test_no_class_of_a_models_own_is_built(tmp_path):
    path = flux_folder(tmp_path / "model")
    config = path / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "Mine"}))
    assert "never code from a model" in card(path).fault


def test_a_transformer_in_several_files_is_joined(tmp_path):
    path = sd3_folder(tmp_path / "model")
    stock = diffusers.SD3Transformer2DModel.from_pretrained(path / "transformer")
    (path / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    stock.save_pretrained(path / "transformer", max_shard_size="60KB")
    assert len(list((path / "transformer").glob("*.safetensors"))) > 2 and same(loaded(path).denoiser, stock)


def test_a_noise_schedule_that_makes_no_sense_is_refused(tmp_path):
    path = sd3_folder(tmp_path / "model")
    config = path / "scheduler" / "scheduler_config.json"
    for change, why in (({"shift": "much"}, "shift 'much'"), ({"shift_terminal": 0.1}, "shift_terminal"), ({"time_shift_type": "odd"}, "odd")):
        config.write_text(json.dumps({"num_train_timesteps": 1000, "shift": 3.0, **change}))
        with pytest.raises(BadRequest, match=why):
            loaded(path)


def test_t5_cuts_words_as_google_does():
    """Numbers of google/t5-v1_1-xxl's own tokenizer."""
    cut = tokens.t5(tokens.T5)
    assert cut.encode("a photo of a cat").ids == [3, 9, 1202, 13, 3, 9, 1712, 1]
    assert cut.encode("  a   cat\n").ids == cut.encode("a cat").ids == [3, 9, 1712, 1] and cut.encode("").ids == [1]


def test_tokens_of_flux_are_counted_as_t5_counts_them(tmp_path):
    flux_folder(tmp_path / "dev")
    flux_folder(tmp_path / "schnell", guided=False)
    sd3_folder(tmp_path / "sd3")
    index = ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")
    counts = {name: index.tokens(name, "a photo of a cat") for name in ("dev", "schnell", "sd3")}
    assert (counts["dev"].used, counts["dev"].room) == (7, 511) and counts["schnell"].room == 255 and counts["sd3"].room == 75


# ---------------------------------------------------------------- the door
@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    sd3_folder(path / "sd3")
    flux_folder(path / "flux")
    return ModelIndex([path], EMBEDDED, path / "none").cards()


def test_sizes_are_whole_patches(cards):
    asked = {"model": "flux", "sampler": "Euler", "width": 520, "height": 1000}
    accepted = fitted("txt2img", asked, cards)
    assert (accepted.request.width, accepted.request.height) == (512, 992)
    assert "Width 520 became 512: it must be a multiple of 16." in accepted.notes


@pytest.mark.parametrize("model", ["sd3", "flux"])
@pytest.mark.parametrize(("field", "value"), [("sampler", "UniPC"), ("sampler", "Euler a"), ("schedule", "Align Your Steps"), ("schedule", "Turbo")])
def test_what_cannot_follow_a_flow_is_refused_at_the_door(cards, model, field, value):
    with pytest.raises(BadRequest, match="rectified flow") as refused:
        fitted("txt2img", {"model": model, "sampler": "Euler", field: value}, cards)
    assert refused.value.field == field


def test_others_than_euler_are_let_in(cards):
    accepted = fitted("txt2img", {"model": "sd3", "sampler": "DPM++ 2M", "schedule": "Beta"}, cards)
    assert accepted.request.sampling.sampler == "DPM++ 2M"


def test_a_second_pass_follows_the_flow_too(cards):
    asked = {"model": "flux", "sampler": "Euler", "width": 512, "height": 512, "hires_upscaler": "Latent", "hires_scale": 1.3}
    larger = fitted("txt2img", asked, cards).request.hires
    assert larger is not None and (larger.width % 16, larger.height % 16) == (0, 0)
    with pytest.raises(BadRequest, match="rectified flow") as refused:
        fitted("txt2img", asked | {"hires_sampler": "UniPC"}, cards)
    assert refused.value.field == "hires_sampler"


def test_a_distilled_scale_is_a_field_of_its_own(cards):
    assert fitted("txt2img", {"model": "flux", "sampler": "Euler"}, cards).request.sampling.distilled_cfg == 3.5
    asked = {"model": "flux", "sampler": "Euler", "distilled_cfg_scale": "30"}
    assert fitted("txt2img", asked, cards).request.sampling.distilled_cfg == 30


def test_a_vae_of_other_latents_is_refused(cards, tmp_path):
    vae = ModelIndex([flux_folder(tmp_path / "model") / "vae"], EMBEDDED, tmp_path / "none").cards()["vae"]
    assert vae.family == "flux" and not vae.fault
    with pytest.raises(BadRequest, match=r"latents of Flux\.1"):
        fitted("txt2img", {"model": "sd3", "sampler": "Euler", "vae": "vae"}, {**cards, "vae": vae})
