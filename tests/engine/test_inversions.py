"""Embeddings by name give what diffusers' own pipelines give, weights and chunks those of a slow reference; nothing that is shared changes."""

import copy
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sd_ui.engine import adapters, inversions, text
from sd_ui.engine.hires import SecondPass, Way
from sd_ui.engine.text import TextEncoder
from sd_ui.models import files
from sd_ui.models import inversions as recognising
from sd_ui.models.hashes import Hashes
from sd_ui.prompt.chunks import Coined
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest, Hires, ModelChoice, Sampling
from tests.engine.kscheduler import KScheduler
from tests.engine.test_adapters import fingerprint, worn
from tests.engine.test_oracle_sdxl import model as sdxl
from tests.engine.tiny import SEED, SIZE, latents_of, loaded, run_of
from tests.loras import kohya, write

PROMPT, NEGATIVE = "a glow cat, red", "deep house"
SAMPLING = Sampling("DDIM", "Uniform", 3, 4.0)
WIDTH = 32


def vectors(count: int, width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def card(path: Path, tensors: dict[str, Tensor], name: str = "", family: str = "sd1") -> ModelCard:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    found = files.look(path)
    assert found.kind == "embedding" and not found.fault
    return ModelCard(name or path.stem, found.kind, family, path, "file", 1, inversion=found.inversion)


def known(model, *cards):
    return inversions.of(model, {card.name: card for card in cards}, Hashes().of)


@pytest.fixture
def glow(tmp_path):
    """Of three vectors, as A1111's trainer saves it."""
    return card(tmp_path / "glow.safetensors", {"emb_params": vectors(3)})


@pytest.fixture
def deep(tmp_path):
    return card(tmp_path / "deep.safetensors", {"string_to_param.*": vectors(1, seed=1)})


def request(model_skip: int = 1, sampling: Sampling = SAMPLING, **said) -> GenerationRequest:
    words = {"prompt": PROMPT, "negative_prompt": NEGATIVE, **said}
    return GenerationRequest(**words, model=ModelChoice(clip_skip=model_skip), sampling=sampling, width=SIZE, height=SIZE, seed=SEED)


# ---------------------------------------------------------------- the stock pipelines
def asked(model):
    scheduler = KScheduler("DDIM", "Uniform", tuple(model.scheduler_config.items()), 3, 3)
    said = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 3, "guidance_scale": 4.0, "width": SIZE, "height": SIZE}
    return scheduler, said | {"generator": torch.Generator().manual_seed(SEED), "output_type": "latent"}


def test_latents_are_those_of_the_stock_pipeline_which_loaded_them(glow, deep):
    model, own = loaded(), loaded.__wrapped__()
    scheduler, said = asked(own)
    parts = {"unet": own.denoiser, "vae": own.vae, "text_encoder": own.text_encoder, "tokenizer": own.tokenizer, "scheduler": scheduler}
    pipe = diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    for name, count, seed in (("glow", 3, 0), ("deep", 1, 1)):
        pipe.load_textual_inversion({name: vectors(count, seed=seed)}, token=name)
    ours = latents_of(run_of(model, request(), inversions=known(model, glow, deep)))
    assert torch.equal(ours, pipe(**said).images)
    assert not torch.equal(ours, latents_of(run_of(model, request())))


def test_stable_diffusion_xl_reads_both_halves(tmp_path):
    model, own = sdxl(), sdxl.__wrapped__()
    first, second = (part.encoder.config.hidden_size for part in model.texts)
    halves = {"clip_l": vectors(2, first, 3), "clip_g": vectors(2, second, 4)}
    scheduler, said = asked(own)
    parts = {"text_encoder": own.texts[0].encoder, "tokenizer": own.texts[0].tokenizer, "text_encoder_2": own.texts[1].encoder}
    parts |= {"tokenizer_2": own.texts[1].tokenizer, "unet": own.denoiser, "vae": own.vae, "scheduler": scheduler, "add_watermarker": False}
    pipe = diffusers.StableDiffusionXLPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_textual_inversion({"glow": halves["clip_l"]}, token="glow", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion({"glow": halves["clip_g"]}, token="glow", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    ours = latents_of(run_of(model, request(), inversions=known(model, card(tmp_path / "glow.safetensors", halves))))
    assert torch.equal(ours, pipe(**said).images)


# ---------------------------------------------------------------- the slow reference
@torch.inference_mode()
def slowly(model, said: list[int | str], weights: list[float], table: dict[str, Tensor]) -> Tensor:
    """One chunk by hand, (1, 77, width): a table of words that has the vectors as further words, then the weights, then the mean as before."""
    encoder = copy.deepcopy(model.text_encoder)
    old = encoder.embeddings.token_embedding.weight
    numbers = {name: len(old) + i for i, name in enumerate(table)}
    encoder.embeddings.token_embedding = torch.nn.Embedding.from_pretrained(torch.cat([old, *(row[None] for row in table.values())]))
    tokens = model.tokenizer
    ids = [tokens.bos_token_id, *(numbers.get(id, id) for id in said), tokens.eos_token_id]
    ids += [tokens.pad_token_id] * (77 - len(ids))
    z = encoder.final_layer_norm(encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1])
    before, weighed = z.mean(), z * torch.tensor([1.0, *weights, *[1.0] * (76 - len(weights))])[None, :, None]
    return weighed * (before / weighed.mean())


def test_a_weight_holds_for_all_of_its_vectors(glow):
    model = with_a_mean(loaded())
    ids = text.ids_of(model.tokenizer)
    table = {f"v{i}": row for i, row in enumerate(vectors(3))}
    wanted = slowly(model, [*ids("a"), *table, *ids("cat")], [1.0] * len(ids("a")) + [1.3] * 3 + [1.0] * len(ids("cat")), table)
    with torch.inference_mode():
        found = text.embedding(model, "a (glow:1.3) cat", 1, inversions=known(model, glow)).tokens
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_a_word_for_which_a_chunk_has_no_room_begins_the_next_one(glow):
    model = with_a_mean(loaded())
    cat = text.ids_of(model.tokenizer)("cat")
    assert len(cat) == 1
    table = {f"v{i}": row for i, row in enumerate(vectors(3))}
    with torch.inference_mode():
        found = text.embedding(model, "cat " * 73 + "glow", 1, inversions=known(model, glow)).tokens
        plain = text.embedding(model, "cat " * 73, 1).tokens
    assert found.shape == (1, 154, WIDTH) and torch.equal(found[:, :77], plain)
    torch.testing.assert_close(found[:, 77:], slowly(model, list(table), [1.0] * 3, table), atol=1e-6, rtol=1e-5)


def with_a_mean(model):
    (part,) = model.texts
    encoder = copy.deepcopy(part.encoder)
    encoder.final_layer_norm.bias.data.normal_(0.5, 0.3, generator=torch.Generator().manual_seed(2))
    return replace(model, texts=(replace(part, encoder=encoder),))


# ---------------------------------------------------------------- nobody else notices
def test_what_is_shared_stays_as_it_was(glow):
    model = loaded()
    before, words = fingerprint(model.text_encoder), len(model.tokenizer)
    plain = text.embedding(model, "a glow cat", 1)
    text.embedding(model, "a glow cat", 1, inversions=known(model, glow))
    assert (fingerprint(model.text_encoder), len(model.tokenizer)) == (before, words)
    assert not model.text_encoder.get_input_embeddings()._forward_hooks
    assert torch.equal(text.embedding(model, "a glow cat", 1).tokens, plain.tokens)


def test_a_model_in_a_lora_reads_them_too(glow, tmp_path):
    model = loaded()
    file = write(tmp_path / "lora" / "x.safetensors", kohya(None, model.text_encoder, seed=9))
    dressed = adapters.dressed(model, [worn(file)])
    said = [text.embedding(one, "a glow cat", 1, inversions=of).tokens for one in (model, dressed) for of in (known(model, glow), known(model))]
    assert all(not torch.equal(a, b) for i, a in enumerate(said) for b in said[:i])


def test_a_remembered_text_is_not_that_of_another_file(glow):
    model, encoder = loaded(), TextEncoder()

    def tokens(*cards):
        return encoder.encode(model, PROMPT, "", 1, 1.0, inversions=known(model, *cards)).told[0].cond.tokens

    first, plain = tokens(glow), tokens()
    assert torch.equal(tokens(glow), first) and not torch.equal(first, plain)
    save_file({"emb_params": vectors(3, seed=8)}, glow.path)
    assert not torch.equal(tokens(glow), first) and torch.equal(tokens(), plain)


# ---------------------------------------------------------------- what a picture says of it
def test_a_picture_names_what_it_used_and_what_it_read_as_words(glow, deep, tmp_path):
    model = loaded()
    other = card(tmp_path / "red.safetensors", {"emb_params": vectors(1, 768)})
    run = run_of(model, request(prompt=f"{PROMPT} glow, embedding:gone"), inversions=known(model, glow, deep, other))
    assert [(one.name, one.sha256) for one in run.made().inversions] == [(c.name, Hashes().of(c.path)) for c in (glow, deep)]
    assert run.notes() == (
        "The embedding red was read as plain words: it is for Stable Diffusion 1.x.",
        "The embedding gone is not here; its name was read as plain words.",
    )
    assert run_of(model, request(sampling=replace(SAMPLING, cfg_scale=1.0)), inversions=known(model, deep)).made().inversions == ()


def test_the_second_pass_says_what_it_used_too(glow, deep):
    model = loaded()
    first, second = (run_of(model, request(prompt=prompt), inversions=known(model, glow, deep)) for prompt in ("a cat", "glow, embedding:gone"))
    run = replace(first, larger=SecondPass(Hires(96, 80), second.request, Way(3, 3), second.text))
    assert [one.name for one in run.made().inversions] == ["deep", "glow"]
    assert run.notes() == ("The embedding gone is not here; its name was read as plain words.",)


def test_a_file_that_is_gone_or_another_one_fails_its_job_by_name(glow):
    model = loaded()
    names = known(model, glow)
    save_file({"emb_params": vectors(2)}, glow.path)
    with pytest.raises(BadRequest, match="glow cannot be used: its file has changed"):
        names.vectors(Coined("glow", 3), 0, 1)
    glow.path.write_bytes(b"PK\x03\x04")
    with pytest.raises(BadRequest, match="glow cannot be used: it is a pickle"):
        names.vectors(Coined("glow", 3), 0, 1)
    glow.path.unlink()
    with pytest.raises(BadRequest, match="not there any more"):
        names.vectors(Coined("glow", 3), 0, 1)


# ---------------------------------------------------------------- what is recognised
@pytest.mark.parametrize(
    ("tensors", "family", "facts"),
    [
        ({"emb_params": (4, 768)}, "sd1", (4, (768,), "")),
        ({"<cat-toy>": (768,)}, "sd1", (1, (768,), "<cat-toy>")),
        ({"string_to_param.*": (2, 1024)}, "sd2", (2, (1024,), "")),
        ({"clip_g": (2, 1280), "clip_l": (2, 768)}, "sdxl", (2, (768, 1280), "")),
        ({"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)}, "sdxl", (2, (768, 1280), "")),
        ({"clip_g": (2, 1280)}, "sdxl-refiner", (2, (1280,), "clip_g")),
    ],
)
def test_the_header_tells_the_family(tmp_path, tensors, family, facts):
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "x.safetensors")
    found = files.look(tmp_path / "x.safetensors")
    assert (found.kind, found.family, found.fault) == ("embedding", family, "")
    assert (found.inversion.vectors, found.inversion.widths, found.inversion.token) == facts


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"emb_params": (76, 768)}, "76 vectors"),
        ({"clip_l": (2, 768), "clip_g": (3, 1280)}, "damaged"),
        ({"emb_params": (2, 3, 768)}, "damaged"),
        ({"emb_params": (1, 768), "emb_params_2": (1, 768)}, "2 words"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path, tensors, why):
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "x.safetensors")
    found = files.look(tmp_path / "x.safetensors")
    assert found.kind == "embedding" and why in found.fault


def test_a_pickle_among_embeddings_is_refused_as_one_and_told_how_to_convert(tmp_path):
    path = tmp_path / "embeddings" / "old.pt"
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 and so on")
    found = files.look(path)
    assert found.kind == "embedding" and "pickle" in found.fault and "docs/embeddings.md" in found.fault
    assert not recognising.belongs(tmp_path / "checkpoints" / "x.pt")
