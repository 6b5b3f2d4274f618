"""What a picture says goes back into the form with the names of this server's models."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sd_ui.imaging.record import Metadata
from sd_ui.models.hashes import Hashes
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.limits import Limits
from sd_ui.spec.made import Made, Record, WornLora
from sd_ui.spec.request import MODES, GenerationRequest, ModelChoice
from sd_ui.ui.parts.sending import said, size_of
from tests.ui.cards import EMBEDDED_CARD


@pytest.fixture
def services(tmp_path: Path) -> SimpleNamespace:
    """A checkpoint and a LoRA in folders, whose hashes are known; nobody's jobs."""
    hashes, cards = Hashes(), [EMBEDDED_CARD]
    for name, kind in (("sub/harbour", "checkpoint"), ("styles/ink", "lora")):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir()
        path.write_bytes((2).to_bytes(8, "little") + b"{}" + name.encode())
        cards.append(ModelCard(name, kind, "sd1", path, "file", 1, MODES))
        hashes.of(path)
        hashes.of_tensors(path)
    models = SimpleNamespace(hashes=hashes, cards=lambda: {card.name: card for card in cards})
    return SimpleNamespace(models=models, queue=SimpleNamespace(get=lambda job, owner: None))


def hash_of(services: SimpleNamespace, name: str) -> str:
    path = services.models.cards()[name].path
    return services.models.hashes.of_tensors(path) if "ink" in name else services.models.hashes.of(path)


def test_a_record_finds_models_that_have_other_names_here(services: SimpleNamespace) -> None:
    made = Made(model_hash=hash_of(services, "sub/harbour"), loras=(WornLora("brush", 1.0, 1.0, hash_of(services, "styles/ink")),))
    request = GenerationRequest("a quay <lora:brush:0.5>", model=ModelChoice("elsewhere"), seed=2**60)
    mode, values, notes = said(services, "me", Metadata(Record(request, made, seed=2**60)))
    assert (mode, values["model"], values["prompt"], values["seed"], notes) == (
        "txt2img", "sub/harbour", "a quay <lora:styles/ink:0.5>", str(2**60), ()
    )  # fmt: skip


def test_a_recipe_of_another_program_comes_with_a_word_for_what_is_missing(services: SimpleNamespace) -> None:
    text = json.dumps({"positive_prompt": "a quay", "steps": 9, "seed": 2**60, "scheduler": "euler", "model": {"name": "HARBOUR"},
                       "loras": [{"model": {"name": "gone"}, "weight": 1}], "vae": {"name": "lost"}})  # fmt: skip
    mode, values, notes = said(services, "me", Metadata(texts={"pasted": text}))
    assert (mode, values["model"], values["prompt"], values["seed"]) == ("txt2img", "sub/harbour", "a quay <lora:gone:1>", str(2**60))
    assert [note for note in notes if "VAE lost" in note] and [note for note in notes if "LoRA gone" in note] and "vae" not in values


def test_a_picture_that_was_made_with_less_memory_says_what_that_may_have_changed(services: SimpleNamespace) -> None:
    made = Made(memory="groups", economies=("VAE in tiles", "denoiser in float8_e4m3fn"))
    _, _, notes = said(services, "me", Metadata(Record(GenerationRequest("a quay", model=ModelChoice("sub/harbour")), made)))
    assert any("made with VAE in tiles and denoiser in float8_e4m3fn" in note for note in notes)
    _, _, notes = said(services, "me", Metadata(Record(GenerationRequest("a quay", model=ModelChoice("sub/harbour")), Made(memory="groups"))))
    assert notes == ()  # where weights waited changes nothing


def test_a_picture_that_says_nothing_changes_nothing(services: SimpleNamespace) -> None:
    assert said(services, "me", Metadata()) == ("txt2img", {}, ())


def test_a_picture_that_goes_to_another_tab_keeps_its_own_size() -> None:
    def of(width: int, height: int) -> dict[str, int]:
        return size_of(width, height, Limits())

    assert of(1024, 768) == {"width": 1024, "height": 768} and of(1001, 50) == {"width": 1000, "height": 64}
    assert of(6000, 4000) == of(4200, 64) == {}  # such a size cannot be drawn: the request's own stays
