"""A recipe's models are found by hash, else by name, wherever they lie; what is missing is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.recipes.finding import found
from sd_ui.recipes.read import pasted
from sd_ui.recipes.recipe import Recipe
from sd_ui.spec.cards import InversionFacts, LoraFacts, ModelCard


def card(name: str, kind: str = "checkpoint", suffix: str = ".safetensors") -> ModelCard:
    return ModelCard(name, kind, "sd1", Path("models") / f"{name}{suffix}", "file", 1, lora=LoraFacts(alias="Trained As") if kind == "lora" else None)


CARDS = {
    c.name: c for c in (card("plain"), card("sub/Harbour_XL"), card("v1.5"), card("vae/clear", "vae"), card("styles/ink", "lora"), card("clear"))
}
HASHES = {"plain": ["aa" * 32], "sub/Harbour_XL": ["bb" * 32, ""], "styles/ink": ["99" * 32, "cc" * 32]}  # of the file, of the tensors


def known(card: ModelCard) -> list[str]:
    return HASHES.get(card.name, ["", ""])


def sought(**changes: object) -> Recipe:
    return found(Recipe("x", **changes), CARDS, known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("plain", "plain"),
        ("harbour_xl", "sub/Harbour_XL"),
        ("elsewhere/Harbour_XL.ckpt", "sub/Harbour_XL"),
        ("v1.5", "v1.5"),
        ("sub/Harbour_XL", "sub/Harbour_XL"),
    ],
)
def test_a_model_is_found_by_its_files_name(said: str, name: str) -> None:
    recipe = sought(values={"model": said})
    assert recipe.values["model"] == name and recipe.notes == ()


def test_a_hash_goes_before_a_name() -> None:
    assert sought(values={"model": "plain"}, hashes={"model": "bb" * 5}).values["model"] == "sub/Harbour_XL"
    assert sought(values={}, hashes={"model": "bb" * 5}).values["model"] == "sub/Harbour_XL"


def test_another_file_of_the_same_name_is_said() -> None:
    recipe = sought(values={"model": "plain"}, hashes={"model": "dd" * 5})
    assert recipe.values["model"] == "plain" and "another file" in recipe.notes[0]


def test_what_is_missing_is_named_and_ones_own_stays() -> None:
    recipe = sought(values={"model": "gone", "vae": "clear", "steps": 5}, hashes={"model": "ee" * 16})
    assert recipe.values == {"vae": "vae/clear", "steps": 5} and recipe.notes == ("Model gone (hash eeeeeeeeee) is not here, so yours stays.",)


def test_automatic_and_none_are_no_models() -> None:
    recipe = sought(values={"vae": "Automatic", "refiner": "None"})
    assert recipe.values == {"vae": "Automatic", "refiner": "None"} and recipe.notes == ()


def test_a_lora_with_another_name_here_is_found_by_its_hash() -> None:
    prompt = "a <lora:INK:0.5> b <lora:brush:1:0.3> c <lora:Trained As:1> d <lora:gone:1>"
    recipe = sought(values={"prompt": prompt}, hashes={"lora:brush": "cc" * 5})
    assert recipe.values["prompt"] == "a <lora:INK:0.5> b <lora:styles/ink:1:0.3> c <lora:Trained As:1> d <lora:gone:1>"
    assert len(recipe.notes) == 1 and "gone" in recipe.notes[0]


def test_an_embedding_with_another_name_here_is_called_by_it_and_a_missing_one_is_told() -> None:
    cards = CARDS | {"deep/ink (v2)": replace(card("deep/ink (v2)", "embedding"), inversion=InversionFacts(2, (768,)))}
    text = ("a glow, glowing\nNegative prompt: (Glow:0.8), lost\nSteps: 25, Sampler: Euler a, CFG scale: 5, Seed: 8, Size: 64x64, "
            "Hires upscale: 2, Hires prompt: a glow, "
            'TI hashes: "glow: 0123456789ab, lost: 9876543210ab, lost: 9876543210ab", Version: v1.9.4')  # fmt: skip
    read = pasted(text)
    assert read
    recipe = found(read, cards, lambda one: ["0123456789ab" + "0" * 52, ""] if one.kind == "embedding" else ["", ""])
    assert (recipe.values["prompt"], recipe.values["negative_prompt"]) == (r"a ink \(v2\), glowing", r"(ink \(v2\):0.8), lost")
    assert recipe.values["hires_prompt"] == r"a ink \(v2\)"
    assert [note for note in recipe.notes if "embedding" in note] == [
        "The embedding lost is not here: put the file into the models folder, or its name is read as plain words."
    ]
    assert "TI hashes" not in recipe.others


def test_a_text_of_civitai_comes_to_this_servers_names() -> None:
    text = ('a fox <lora:brush:0.8>\nSteps: 25, Sampler: Euler a, CFG scale: 5, Seed: 8, Size: 832x1216, Model: other, '
            'Hashes: {"model":"bbbbbbbbbb","lora:brush":"cccccccccc"}, Version: v1.9.4')  # fmt: skip
    read = pasted(text)
    assert read
    recipe = found(read, CARDS, known)
    assert (recipe.values["model"], recipe.values["prompt"]) == ("sub/Harbour_XL", "a fox <lora:styles/ink:0.8>")
