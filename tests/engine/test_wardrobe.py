"""LoRAs by way of a lease: found by name, kept for the next job that asks for the same, within the models' memory, and gone from the model itself."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sd_ui.engine import memory
from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.wardrobe import MOST
from sd_ui.imaging import infotext
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.prompt.networks import LoraTag, extract
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Drawn
from sd_ui.spec.made import Record, WornLora
from sd_ui.spec.request import GenerationRequest, ModelChoice, Sampling
from tests.checkpoints import tiny_folder
from tests.loras import kohya, peft, write

EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
A, PLENTY = ModelChoice("a"), 10**9


@pytest.fixture
def models(tmp_path) -> ModelIndex:
    from diffusers import UNet2DConditionModel

    tiny_folder(tmp_path / "a")
    tiny_folder(tmp_path / "b", seed=1)
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "a" / "unet")
    write(tmp_path / "Lora" / "ink.safetensors", kohya(unet, seed=1))
    write(tmp_path / "Lora" / "pixel.safetensors", peft(unet, seed=50), ss_output_name="pixelart")
    return ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")


def manager(models: ModelIndex, budget: int | None = PLENTY) -> PipelineManager:
    return PipelineManager(models.cards, choose("cpu"), budget)


def tags(text: str) -> tuple[LoraTag, ...]:
    return extract(text).loras


def fingerprint(loaded) -> str:
    weights = loaded.denoiser.state_dict() | {f"text {name}": tensor for name, tensor in loaded.text_encoder.state_dict().items()}
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def test_a_lease_wears_what_it_asks_for_and_the_next_one_does_not(models):
    pipelines = manager(models)
    with pipelines.lease(A) as plain:
        before = fingerprint(plain)
    with pipelines.lease(A, tags("<lora:ink:0.5><lora:pixelart>")) as dressed:
        hashes = [hashlib.sha256(tensors(models.card(name).path)).hexdigest() for name in ("ink", "pixel")]
        assert dressed.loras == (WornLora("ink", 0.5, 0.5, hashes[0]), WornLora("pixelart", 1.0, 1.0, hashes[1]))
        assert fingerprint(dressed) != before
        with pipelines.lease(A) as other:  # at the same time
            assert other is plain and fingerprint(other) == before
    with pipelines.lease(A) as after:
        assert after is plain and fingerprint(after) == before and after.loras == ()


def tensors(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_the_same_outfit_is_made_once_and_the_last_few_are_kept(models):
    pipelines = manager(models)

    def worn(text):
        with pipelines.lease(A, tags(text)) as loaded:
            return loaded

    first = worn("<lora:ink:0.5>")
    assert worn("a cat <lora:INK:0.25><lora:ink:0.25>") is not worn("<lora:ink:0.25>")
    assert worn("<lora:ink:0.25>") is worn("<lora:ink:0.25>")
    for i in range(MOST):
        worn(f"<lora:pixel:{i}>")
    assert worn("<lora:ink:0.5>") is not first


def test_a_lora_that_was_replaced_is_read_again(models):
    pipelines = manager(models)
    path = models.card("ink").path
    with pipelines.lease(A, tags("<lora:ink>")) as before:
        pass
    write(path, {name: tensor * 2 for name, tensor in kohya(before.denoiser, seed=9).items()})
    with pipelines.lease(A, tags("<lora:ink>")) as after:
        assert after is not before and after.loras[0].sha256 != before.loras[0].sha256
        assert not torch.equal(after.denoiser.mid_block.attentions[0].proj_in.weight, before.denoiser.mid_block.attentions[0].proj_in.weight)


def test_outfits_leave_before_models_do(models):
    pipelines = manager(models)
    with pipelines.lease(A, tags("<lora:ink>")) as dressed:
        two_models = 2 * memory.size([dressed.denoiser, dressed.vae, dressed.text_encoder])
    pipelines = manager(models, two_models)
    with pipelines.lease(A, tags("<lora:ink>")) as first:
        pass
    with pipelines.lease(ModelChoice("b")):
        pass
    assert pipelines.resident == ("b", "a")
    with pipelines.lease(A, tags("<lora:ink>")) as again:
        assert again is not first


def test_an_outfit_that_does_not_fit_is_said_to_and_the_model_stays(models, monkeypatch):
    pipelines = manager(models)
    with pipelines.lease(A) as plain:
        pass
    monkeypatch.setattr("sd_ui.engine.wardrobe.dressed", lambda *asked: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(BadRequest, match="a in ink does not fit into memory"), pipelines.lease(A, tags("<lora:ink>")):
        pass
    with pipelines.lease(A) as still:
        assert still is plain


def test_a_job_is_drawn_in_its_loras_and_the_text_encoder_never_reads_their_tags(models, tmp_path):
    engine = Engine(manager(models), Blobs(tmp_path / "inputs"))
    request = GenerationRequest("a red cat", model=A, sampling=Sampling("Euler", steps=2, cfg_scale=3.0), width=64, height=64, seed=3)

    def drawn(prompt):
        return next(said for said in engine.generate(replace(request, prompt=prompt), Delivery(preview="off")) if isinstance(said, Drawn))

    plain, silent, dressed, after = (drawn(f"a red cat{tag}") for tag in ("", "<lora:ink:0>", "<lora:ink:0.5:1>", ""))
    assert plain.rgb == silent.rgb == after.rgb != dressed.rgb
    assert [(lora.name, lora.text, lora.unet) for lora in dressed.made.loras] == [("ink", 0.5, 1.0)] and plain.made.loras == ()
    assert "Lora hashes: " in infotext.write(Record(request, dressed.made), "a")


@pytest.mark.parametrize(("text", "why"), [("<lora:inc>", "did you mean ink"), ("<lora:ink:x>", "not a weight"), ("<lora:a>", "is not known")])
def test_what_cannot_be_worn_is_refused_and_gives_the_model_back(models, text, why):
    pipelines = manager(models)
    with pytest.raises(BadRequest, match=why) as error, pipelines.lease(A, tags(text)):
        pass
    assert error.value.field == "prompt"
    assert all(kept.leases == 0 for kept in pipelines._kept.values())
