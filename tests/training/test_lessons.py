"""What the renderer knows besides its pictures."""

import torch

from training import models, text
from training.judge import ANSWERS, UNASKED
from training.lessons import FORMS, SURFACES, Reading, Seeing, answered, kinds, lying
from training.models import SHAPES, plainly_attending
from training.scenes import numbered
from training.space import FIRST_THING, FLOOR


def test_every_cell_is_told_what_lies_there():
    scene = numbered(0, 1, things=2)
    ids = torch.zeros(1, 16, 16, dtype=torch.uint8)
    ids[:, 8:] = FLOOR
    ids[:, 8:, 8:12] = FIRST_THING + 1  # half of the last cell
    shares = lying(ids, [scene], 8)[0]
    assert shares.shape == (len(SURFACES) + len(FORMS), 2, 2)
    assert torch.allclose(shares.sum(0), torch.full((2, 2), 2.0))  # one surface and one form, wherever
    assert shares[SURFACES.index(f"sky {scene.sky}"), 0].tolist() == [1, 1]
    assert shares[SURFACES.index(scene.things[1].colour), 1].tolist() == [0, 0.5]
    assert shares[len(SURFACES) + FORMS.index(scene.things[1].shape), 1].tolist() == [0, 0.5]
    assert shares[SURFACES.index(f"floor {scene.floor}"), 1].tolist() == [1, 0.5]


def test_things_and_grounds_of_one_colour_are_told_apart():
    assert len(set(SURFACES)) == len(SURFACES)
    assert kinds(numbered(0, 0, things=1)).sum() == 2 * 3  # sky, floor, one thing


def test_a_features_lesson_is_learned():
    torch.manual_seed(0)
    seeing, shares = Seeing(8), torch.zeros(2, len(SURFACES) + len(FORMS), 4, 4)
    shares[:, 3] = shares[:, len(SURFACES)] = 1
    features = torch.randn(2, 8, 4, 4)
    optimizer = torch.optim.Adam(seeing.parameters(), 0.1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = seeing.loss(features, shares)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_reading_looks_at_the_first_end_token():
    reading, tokens = Reading(4), torch.tensor([[1, 9, 9, 9], [1, 2, 3, 9]])
    states = torch.randn(2, 4, 4)
    said = reading(states, tokens, end=9)["floor"]
    assert torch.equal(said, reading.heads["floor"](torch.stack([states[0, 1], states[1, 3]])))


def test_what_nobody_was_asked_costs_nothing():
    said = {question: torch.randn(3, len(answers)) for question, answers in ANSWERS.items()}
    assert answered(said, {question: torch.full((3,), UNASKED) for question in ANSWERS}) == 0


def test_attending_plainly_says_the_same():
    torch.manual_seed(0)
    unet, encoder = models.unet(SHAPES["tiny"]), models.text_encoder(SHAPES["tiny"], 600)
    tokens = torch.randint(0, 590, (2, 77))
    latents, t = torch.randn(2, models.PLANES, 16, 16), torch.tensor(500)
    with torch.no_grad():
        told = encoder(tokens).last_hidden_state
        said = unet(latents, t, told).sample
        plainly_attending(unet, encoder)
        assert torch.allclose(encoder(tokens).last_hidden_state, told, atol=1e-5)
        assert torch.allclose(unet(latents, t, told).sample, said, atol=1e-5)


def test_captions_become_tokens_of_one_length(tmp_path):
    tokenizer = text.build(tmp_path, ["a red sphere on a gray floor"] * 5)
    made = models.tokenized([("a red sphere", "red"), ("sphere", "gray floor")], tokenizer)
    assert made.shape == (2, 2, 77) and made.dtype == torch.int16
