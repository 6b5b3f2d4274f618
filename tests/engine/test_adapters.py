"""LoRAs are worn exactly, by one job alone, and leave no trace: against peft by way of the stock pipeline, and against the published formulas."""

import hashlib
import json
from dataclasses import replace

import diffusers
import pytest
import torch
from torch import Tensor

from sd_ui.engine import adapters, deltas
from sd_ui.engine.adapters import Worn
from sd_ui.engine.load import load
from sd_ui.engine.text import TextEncoder
from sd_ui.models import fitting
from sd_ui.models.lora_keys import Layer
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import GenerationRequest, Sampling
from tests import families
from tests.engine.kscheduler import KScheduler
from tests.engine.test_load import card
from tests.engine.test_oracle_sdxl import model as sdxl
from tests.engine.tiny import CPU, SEED, SIZE, latents_of, loaded, run_of
from tests.loras import CONVOLUTIONS, RANK, kohya, layers, peft, random, write

pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # the stock pipeline, of a second LoRA
TOLERANCE = 2e-5  # of a noise prediction: peft adds a second product to each layer's output, we add to its weight
PROMPT = "a photo of a red cat"


@pytest.fixture(scope="module")
def model():
    return loaded()


def worn(path, unet=1.0, text=1.0, name="x"):
    return Worn(path, WornLora(name, unet, text))


def fingerprint(*modules) -> str:
    """Of every weight's bytes."""
    said = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            said.update(name.encode() + tensor.detach().numpy().tobytes())
    return said.hexdigest()


@torch.inference_mode()
def predicted(unet, encoder, tokenizer) -> Tensor:
    """One noise prediction for a prompt, from fixed latents."""
    ids = tokenizer(PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    text = encoder(ids)[0]
    latents = torch.randn(1, unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return unet(latents, torch.tensor(500), encoder_hidden_states=text).sample


def ours(model, *outfit) -> Tensor:
    dressed = adapters.dressed(model, outfit)
    return predicted(dressed.denoiser, dressed.text_encoder, dressed.tokenizer)


def stock(files, weights, fuse=False) -> diffusers.StableDiffusionPipeline:
    """diffusers' pipeline over a model of its own, with peft's layers. weights: for each file one number, or {"unet": ..., "text_encoder": ...}."""
    own = loaded.__wrapped__()
    parts = {"unet": own.denoiser, "vae": own.vae, "text_encoder": own.text_encoder, "tokenizer": own.tokenizer}
    scheduler = diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)
    pipe = diffusers.StableDiffusionPipeline(**parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    for i, file in enumerate(files):
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"a{i}")
    names = [f"a{i}" for i in range(len(files))]
    pipe.set_adapters(names, weights)
    if fuse:
        pipe.fuse_lora(components=["unet", "text_encoder"], adapter_names=names)
    return pipe


def theirs(files, weights, fuse=False) -> Tensor:
    pipe = stock(files, weights, fuse)
    return predicted(pipe.unet, pipe.text_encoder, pipe.tokenizer)


@pytest.fixture(params=["peft", "kohya"])
def files(request, model, tmp_path):
    """Two LoRAs for U-Net and text encoder."""
    style = {"peft": peft, "kohya": kohya}[request.param]
    return [write(tmp_path / f"{i}.safetensors", style(model.denoiser, model.text_encoder, seed=100 * i)) for i in (1, 2)]


# ---------------------------------------------------------------- what peft does
def test_one_lora_is_what_peft_makes_of_it(model, files):
    found = ours(model, worn(files[0]))
    torch.testing.assert_close(found, theirs(files[:1], [1.0]), atol=TOLERANCE, rtol=TOLERANCE)
    assert not torch.allclose(found, predicted(model.denoiser, model.text_encoder, model.tokenizer), atol=1e-2), (
        "a LoRA that changes nothing tests nothing"
    )


def test_several_at_once_with_weights_of_their_own_for_each_part(model, files):
    found = ours(model, worn(files[0], 0.7, 0.2), worn(files[1], -0.4, 1.1))
    weights = [{"unet": 0.7, "text_encoder": 0.2}, {"unet": -0.4, "text_encoder": 1.1}]
    torch.testing.assert_close(found, theirs(files, weights), atol=TOLERANCE, rtol=TOLERANCE)


def test_it_is_bit_for_bit_what_peft_fuses(model, files):
    assert torch.equal(ours(model, worn(files[0], 0.7, 0.7)), theirs(files[:1], [0.7], fuse=True))


@pytest.mark.parametrize("fuse", [True, False])
def test_a_whole_run_ends_in_the_stock_pipelines_latents(model, files, fuse):
    """The same bits where peft fuses; where it adds beside the layers, rounding grows over the steps."""
    pipe = stock(files[:1], [0.8], fuse)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = KScheduler("DDIM", "Uniform", tuple(model.scheduler_config.items()), 4, 4)
    generator = torch.Generator().manual_seed(SEED)
    wanted = pipe(PROMPT, width=SIZE, height=SIZE, num_inference_steps=4, guidance_scale=4.0, generator=generator, output_type="latent").images
    sampling = Sampling("DDIM", "Uniform", 4, 4.0)
    request = GenerationRequest(f"{PROMPT}<lora:x:0.8>", sampling=sampling, width=SIZE, height=SIZE, seed=SEED)
    found = latents_of(run_of(adapters.dressed(model, [worn(files[0], 0.8, 0.8)]), request))
    assert torch.equal(found, wanted) if fuse else torch.allclose(found, wanted, atol=20 * TOLERANCE, rtol=20 * TOLERANCE)


@pytest.mark.parametrize("style", [peft, kohya])
def test_stable_diffusion_xl_wears_it_in_both_text_encoders(style, tmp_path):
    ours, own = sdxl(), sdxl.__wrapped__()
    first, second = (part.encoder for part in ours.texts)
    file = write(tmp_path / "xl.safetensors", style(ours.denoiser, first, seed=5, text_2=second))
    scheduler = KScheduler("DDIM", "Uniform", tuple(ours.scheduler_config.items()), 3, 3)
    parts = {"text_encoder": own.texts[0].encoder, "tokenizer": own.texts[0].tokenizer, "text_encoder_2": own.texts[1].encoder}
    parts |= {"tokenizer_2": own.texts[1].tokenizer, "unet": own.denoiser, "vae": own.vae, "scheduler": scheduler, "add_watermarker": False}
    pipe = diffusers.StableDiffusionXLPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name="x")
    pipe.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"])
    generator, size = torch.Generator().manual_seed(SEED), {"width": SIZE, "height": SIZE}
    wanted = pipe(PROMPT, negative_prompt="dog", **size, num_inference_steps=3, guidance_scale=4.0, generator=generator, output_type="latent").images
    request = GenerationRequest(PROMPT, "dog", sampling=Sampling("DDIM", "Uniform", 3, 4.0), seed=SEED, **size)
    assert torch.equal(latents_of(run_of(adapters.dressed(ours, [worn(file)]), request)), wanted)
    assert not torch.equal(latents_of(run_of(ours, request)), wanted)


def test_alpha_in_diffusers_metadata_counts(model, tmp_path):
    config = {"r": RANK, "lora_alpha": 5, "alpha_pattern": {"mid_block.attentions.0.proj_in": 7}, "target_modules": ["to_q", "to_k", "proj_in"]}
    tensors = peft(model.denoiser, ends=("to_q", "to_k", "proj_in"))
    said = json.dumps({f"unet.{key}": value for key, value in config.items()})
    file = write(tmp_path / "said.safetensors", tensors, lora_adapter_metadata=said, format="pt")
    torch.testing.assert_close(ours(model, worn(file)), theirs([file], [1.0]), atol=TOLERANCE, rtol=TOLERANCE)
    assert not torch.allclose(ours(model, worn(file)), ours(model, worn(write(tmp_path / "silent.safetensors", tensors))), atol=1e-3)


def test_rank_stabilisation_divides_by_the_root():
    said = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "unet.use_rslora": True})}
    assert deltas.said_alpha(said, Layer("unet", "conv_in"), 4) / 4 == pytest.approx(6 / 2)
    for odd in ("{", "[]", '{"unet.lora_alpha": "much"}', '{"unet.alpha_pattern": 3, "unet.lora_alpha": []}'):
        assert deltas.said_alpha({"lora_adapter_metadata": odd}, Layer("unet", "conv_in"), 4) is None


# ---------------------------------------------------------------- the formulas, slowly
def change_of(weight: Tensor, roles: dict[str, Tensor], scale: float) -> Tensor:
    """Entry by entry, as the papers write them."""
    out, inputs = weight.shape[:2]
    kernel = weight[0, 0].numel()
    made = torch.zeros(out, inputs, kernel, dtype=torch.float64)
    doubles = {role: tensor.double() for role, tensor in roles.items()}
    for o in range(out):
        for i in range(inputs):
            for k in range(kernel):
                made[o, i, k] = scale * entry(doubles, o, i, k, kernel)
    return made.reshape(weight.shape).float()


def entry(roles: dict[str, Tensor], o: int, i: int, k: int, kernel: int) -> Tensor:
    def through(a, b, core=None):  # a (out, r), b (r, in x kernel); around a core a (r, out), b (s, in)
        if core is not None:
            return sum(a[r, o] * core.flatten(2)[r, s, k] * b[s, i] for r in range(len(a)) for s in range(len(b)))
        return sum(a[o, r] * b[r, i * kernel + k] for r in range(len(b)))

    if "mid" in roles:
        return through(roles["up"].flatten(1).T, roles["down"].flatten(1), roles["mid"])
    if "up" in roles:
        return through(roles["up"].flatten(1), roles["down"].flatten(1))
    if "hada_w1_a" in roles:
        return through(*(roles.get(f"hada_{x}") for x in ("w1_a", "w1_b", "t1"))) * through(*(roles.get(f"hada_{x}") for x in ("w2_a", "w2_b", "t2")))
    first, second = roles["lokr_w1"], roles["lokr_w2"].flatten(2) if roles["lokr_w2"].ndim > 2 else roles["lokr_w2"][..., None]
    rows, columns = second.shape[:2]
    return first[o // rows, i // columns] * second[o % rows, i % columns, k]


WEIGHTS = {"linear": (6, 8), "1x1": (6, 8, 1, 1), "3x3": (6, 8, 3, 3)}
KERNEL = {"linear": (), "1x1": (1, 1), "3x3": (3, 3)}


def roles_of(method: str, kind: str) -> dict[str, Tensor]:
    kernel, many = KERNEL[kind], 9 if kind == "3x3" else 1
    shapes = {
        "LoRA": {"up": (6, 3, *[1] * len(kernel)), "down": (3, 8, *kernel)},
        "Tucker LoRA": {"up": (6, 3, 1, 1), "down": (2, 8, 1, 1), "mid": (3, 2, *kernel)},
        "LoHa": {"hada_w1_a": (6, 3), "hada_w1_b": (3, 8 * many), "hada_w2_a": (6, 3), "hada_w2_b": (3, 8 * many)},
        "Tucker LoHa": {"hada_w1_a": (3, 6), "hada_w1_b": (3, 8), "hada_w2_a": (3, 6), "hada_w2_b": (3, 8), "hada_t1": (3, 3, *kernel),
                        "hada_t2": (3, 3, *kernel)},
        "LoKr": {"lokr_w1": (2, 4), "lokr_w2": (3, 2, *kernel)},
    }[method]  # fmt: skip
    return {role: random(*shape, seed=i + 10) for i, (role, shape) in enumerate(shapes.items())}


METHODS = [("LoRA", kind) for kind in WEIGHTS] + [("LoHa", kind) for kind in WEIGHTS] + [("LoKr", kind) for kind in WEIGHTS]


@pytest.mark.parametrize(("method", "kind"), [*METHODS, ("Tucker LoRA", "3x3"), ("Tucker LoHa", "3x3")])
def test_a_delta_is_what_its_paper_says(method, kind):
    weight, roles = random(*WEIGHTS[kind], seed=1), roles_of(method, kind)
    scale = 0.5 if method == "LoKr" else 0.5 * 2.0 / len(next(roles[x] for x in ("down", "hada_w1_b") if x in roles))  # whole matrices have no rank
    found = deltas.delta({**roles, "alpha": torch.tensor(2.0)}, weight, 0.5)
    torch.testing.assert_close(found, change_of(weight, roles, scale), atol=1e-6, rtol=1e-5)


def test_factors_that_are_products_themselves_are_divided_by_their_rank():
    weight, whole = random(6, 8, seed=1), {"lokr_w1": random(2, 4, seed=2)}
    a, b = random(3, 2, seed=3), random(2, 2, seed=4)
    found = deltas.delta({**whole, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(4.0)}, weight, 1.0)
    torch.testing.assert_close(found, change_of(weight, {**whole, "lokr_w2": a @ b}, 4.0 / 2), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("side", ["row", "column"])
def test_dora_gives_each_row_or_column_its_length_and_its_direction(kind, side):
    weight, roles = random(*WEIGHTS[kind], seed=1), roles_of("LoRA", kind)
    moved = weight + change_of(weight, roles, 1.0)
    count = 6 if side == "row" else 8
    lengths = random(count, seed=5).abs() + 0.5
    shape = (count, *[1] * (weight.ndim - 1)) if side == "row" else (1, count, *[1] * (weight.ndim - 2))
    expected = torch.empty_like(weight)
    for i in range(count):
        where = i if side == "row" else (slice(None), i)
        expected[where] = moved[where] / moved[where].pow(2).sum().sqrt() * lengths[i]
    found = deltas.delta({**roles, "magnitude": lengths.reshape(shape)}, weight, 1.0)
    torch.testing.assert_close(weight + found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(deltas.delta({**roles, "magnitude": lengths.reshape(shape)}, weight, 0.25), found * 0.25)


def test_dora_is_what_peft_makes_of_it(model, tmp_path):
    tensors = peft(model.denoiser, ends=("to_q", "to_v"))
    for name, weight in layers(model.denoiser, ("to_q", "to_v")):
        tensors[f"unet.{name}.lora_magnitude_vector"] = random(len(weight), seed=8).abs() + 0.3
    file = write(tmp_path / "dora.safetensors", tensors)
    torch.testing.assert_close(ours(model, worn(file)), theirs([file], [1.0]), atol=TOLERANCE, rtol=TOLERANCE)


# ---------------------------------------------------------------- no trace
def test_the_models_own_weights_are_never_touched(model, files):
    before = fingerprint(model.denoiser, model.text_encoder)
    plain = predicted(model.denoiser, model.text_encoder, model.tokenizer)
    dressed = adapters.dressed(model, [worn(files[0]), worn(files[1], 2.0)])
    assert fingerprint(dressed.denoiser, dressed.text_encoder) != before == fingerprint(model.denoiser, model.text_encoder)
    assert torch.equal(predicted(model.denoiser, model.text_encoder, model.tokenizer), plain)


def test_two_outfits_of_one_model_know_nothing_of_each_other(model, files):
    alone = [ours(model, worn(file)) for file in files]
    first, second = (adapters.dressed(model, [worn(file)]) for file in files)
    for one, expected in ((first, alone[0]), (second, alone[1]), (first, alone[0])):
        assert torch.equal(predicted(one.denoiser, one.text_encoder, one.tokenizer), expected)


def test_a_layer_that_is_not_changed_is_the_same_memory(model, tmp_path):
    file = write(tmp_path / "q.safetensors", peft(model.denoiser, ends=("to_q",)))
    dressed = adapters.dressed(model, [worn(file)])
    own = dict(model.denoiser.named_parameters())
    shared = {name for name, weight in dressed.denoiser.named_parameters() if weight.data_ptr() == own[name].data_ptr()}
    assert set(own) - shared == {f"{name}.weight" for name, _ in layers(model.denoiser, ("to_q",))}
    assert dressed.texts is model.texts, "nobody encodes a text anew for a LoRA that leaves the text encoder alone"
    changed = sum(weight.nbytes for _, weight in layers(model.denoiser, ("to_q",)))
    assert adapters.needs(model, [worn(file)]) == changed
    assert adapters.needs(model, [worn(file, unet=0.0)]) == 0


def test_weight_zero_is_the_model_itself(model, files):
    dressed = adapters.dressed(model, [worn(files[0], 0.0, 0.0)])
    assert dressed.denoiser is model.denoiser and dressed.texts is model.texts


def test_a_remembered_text_belongs_to_the_encoder_that_wore_the_lora(model, files):
    texts = TextEncoder()
    dressed = adapters.dressed(model, [worn(files[0])])
    with torch.inference_mode():
        plain, inside, again = (texts.encode(one, PROMPT, "", 1, 1.0).at(0).cond.tokens for one in (model, dressed, model))
    assert torch.equal(plain, again) and not torch.allclose(plain, inside, atol=1e-3)


def test_views_for_depth_and_masks_wear_it_too(model, files, tmp_path):
    """They share all tensors but their own first convolution, of which a LoRA changes the part that it knows."""
    file = write(tmp_path / "all.safetensors", kohya(model.denoiser, ends=CONVOLUTIONS))
    view = diffusers.UNet2DConditionModel.from_config({**model.denoiser.config, "in_channels": 5})
    wider = torch.cat([model.denoiser.conv_in.weight, torch.ones(32, 1, 3, 3)], 1)
    view.load_state_dict({**model.denoiser.state_dict(), "conv_in.weight": wider}, assign=True)
    dressed = adapters.dressed(replace(model, depth_unet=view.eval(), inpaint_unet=model.denoiser), [worn(file)])
    assert dressed.inpaint_unet is dressed.denoiser
    own, first = dressed.depth_unet.conv_in.weight, dressed.denoiser.conv_in.weight
    assert torch.equal(own[:, :4], first) and torch.equal(own[:, 4:], torch.ones(32, 1, 3, 3))
    assert not torch.equal(first, model.denoiser.conv_in.weight)
    for name, weight in dressed.denoiser.named_parameters():
        assert name == "conv_in.weight" or dressed.depth_unet.get_parameter(name).data_ptr() == weight.data_ptr()


def test_a_model_in_half_precision_gets_the_rounded_sum(model, files):
    half = replace(model, denoiser=diffusers.UNet2DConditionModel.from_config(model.denoiser.config).half())
    half.denoiser.load_state_dict({name: tensor.half() for name, tensor in model.denoiser.state_dict().items()})
    dressed = adapters.dressed(half, [worn(files[0], text=0.0)])
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    lora = adapters.read(files[0])
    roles = lora.tensors[Layer("unet", name.replace(".", "_"))]
    weight = half.denoiser.get_parameter(f"{name}.weight")
    assert torch.equal(dressed.denoiser.get_parameter(f"{name}.weight"), (weight.float() + deltas.delta(roles, weight, 1.0)).half())


@pytest.mark.parametrize("published", [families.sd2_original, families.sdxl_original, families.refiner_original])
def test_the_layers_that_headers_tell_are_those_in_memory(published, tmp_path):
    file = families.save(published(), tmp_path / "published.safetensors", half=True)
    told, held = fitting.layers_of(file), dict(adapters._sizes(load(card(file), None, CPU)))
    layers = {layer: size for layer, size in held.items() if not layer.name.startswith("embeddings")}
    assert len(layers) > 200 and {layer: told.get(layer) for layer in layers} == layers


# ---------------------------------------------------------------- what cannot be worn
def test_a_lora_for_another_model_is_refused_by_name_and_layer(model, tmp_path):
    file = write(tmp_path / "other.safetensors", kohya(loaded(9).denoiser, ends=("conv_in",)))
    with pytest.raises(BadRequest, match=r"the LoRA x does not go with tiny: it was made for a conv_in of 32x81, the model's is 32x36"):
        adapters.dressed(model, [worn(file)])


def test_a_file_that_is_gone_or_damaged_is_named_without_its_path(model, files):
    path = files[0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadRequest, match="the LoRA x cannot be used: it is damaged") as error:
        adapters.dressed(model, [worn(path)])
    path.unlink()
    with pytest.raises(BadRequest, match="its file is not there any more"):
        adapters.needs(model, [worn(path)])
    assert error.value.field == "prompt" and str(path.parent) not in error.value.why
