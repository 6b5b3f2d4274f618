"""The LoRA panel: what it shows, and what a press puts into the prompt."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sd_ui.prompt import coined
from sd_ui.prompt.networks import extract
from sd_ui.spec.cards import Beside, InversionFacts, LoraFacts, ModelCard, Own
from sd_ui.ui import views
from sd_ui.ui.parts.wearing import coined_in, problems, tagged, worded


def card(name: str, beside: Beside = Beside(), own: Own = Own(), **facts) -> ModelCard:
    return ModelCard(name, "lora", "sd1", Path(f"/models/{name}.safetensors"), "file", 1, lora=LoraFacts(**facts), beside=beside, own=own)


def test_those_with_a_star_come_first_and_each_is_shown_by_the_shortest_name_that_a_tag_can_say():
    pen = card("new/pen", Beside(preview=Path("x.png"), weight=0.6, triggers=("pen",)), Own(starred=True), triggers=("ink",))
    cards = [card("style/ink", rank=8, triggers=("ink",)), card("old/pen"), pen, card("odd:name"), card("other")]
    assert views.loras(cards[:4], cards) == {
        "loras": [
            {"name": "new/pen", "facts": "LoRA", "words": ["pen"], "weight": 0.6, "preview": "previews/new/pen"},
            {"name": "ink", "facts": "LoRA, rank 8", "words": ["ink"], "weight": 1.0, "preview": ""},
            {"name": "old/pen", "facts": "LoRA", "words": [], "weight": 1.0, "preview": ""},
        ],
        "others": 1,
    }


@pytest.mark.parametrize(
    ("prompt", "result"), [("", "<lora:ink:0.8>"), ("a cat ", "a cat <lora:ink:0.8>"), ("a <lora:b:1>", "a <lora:b:1> <lora:ink:0.8>")]
)
def test_a_tag_goes_to_the_end_of_the_prompt(prompt, result):
    assert tagged(prompt, SimpleNamespace(name="ink", weight=0.8)) == result
    assert extract(result).loras[-1].name == "ink"


@pytest.mark.parametrize(
    ("prompt", "result"), [("", "ink wash"), ("a cat", "a cat, ink wash"), ("a cat <lora:b:1> <lora:c:1>", "a cat, ink wash <lora:b:1> <lora:c:1>")]
)
def test_a_word_goes_before_the_tags(prompt, result):
    assert worded(prompt, SimpleNamespace(text="ink wash")) == result


def embedding(name: str, widths: tuple[int, ...] = (768,), own: Own = Own()) -> ModelCard:
    facts = InversionFacts(8, widths)
    return ModelCard(name, "embedding", "", Path(f"/models/{name}.safetensors"), "file", 1, inversion=facts, own=own)


def test_embeddings_that_the_model_reads_are_shown_by_the_shortest_name_that_a_prompt_can_say():
    cards = [embedding("a/glow"), embedding("b/glow"), embedding("ink (v2)", own=Own(starred=True)), embedding("xl", (768, 1280))]
    shown = views.embeddings(cards, coined.vocabulary(cards, (768,), 75))
    assert [one["name"] for one in shown["embeddings"]] == ["ink (v2)", "a/glow", "b/glow"] and shown["other_embeddings"] == 1
    assert shown["embeddings"][0] == {"name": "ink (v2)", "facts": "Embedding, 8 vectors", "words": [], "weight": 1.0, "preview": ""}


@pytest.mark.parametrize(
    ("prompt", "weight", "result"),
    [("", 1, r"ink \(v2\)"), ("a cat", 0.8, r"a cat, (ink \(v2\):0.8)"), ("a <lora:b:1>", 1, r"a, ink \(v2\) <lora:b:1>")],
)
def test_an_embedding_goes_to_the_end_of_either_prompt(prompt, weight, result):
    assert coined_in(prompt, SimpleNamespace(name="ink (v2)", weight=weight)) == result


class Models:
    def cards(self):
        return {"ink": card("ink"), "large": card("large")}

    def misfit(self, checkpoint, lora):
        return "" if lora == "ink" else f"{lora} does not go with {checkpoint}"


def test_what_is_wrong_with_a_tag_is_said_while_it_is_written():
    prompt = "<lora:ink:1> <lora:large:1> <lora:inc:1> <lora:ink:x> <lora:{ink|large}:1> <lora:__styles__:1>"
    found = list(problems(SimpleNamespace(models=Models()), "embedded", prompt))
    assert [prompt[problem.start : problem.end] for problem in found] == ["<lora:large:1>", "<lora:inc:1>", "<lora:ink:x>"]
    said = "large does not go with embedded", "the LoRA 'inc' is not known; did you mean ink?", "is not a weight"
    assert all(problem.fatal and why in problem.why for problem, why in zip(found, said, strict=True))
