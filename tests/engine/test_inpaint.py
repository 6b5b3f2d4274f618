"""Repainting a part: whatever is chosen, nothing else changes; and every choice does what it says."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from sd_ui.engine import pixels
from sd_ui.engine.denoise import Held
from sd_ui.engine.inputs import Inputs, masked
from sd_ui.engine.start import Scene
from sd_ui.imaging import masking
from sd_ui.spec.request import AREAS, CONTENTS, MASK_EDGES, MASK_MODES, GenerationRequest, Inpaint, Sampling
from tests.engine.tiny import MASK, PICTURE, REF, SEED, SIZE, latents_of, loaded, run_of

BASE = GenerationRequest("a red square", width=SIZE, height=SIZE, seed=SEED, sampling=Sampling("Euler", steps=5, cfg_scale=2.0))
WIDE = Image.fromarray(np.random.RandomState(5).randint(0, 255, (120, 200, 3), np.uint8))
SMALL_PART = Image.new("L", WIDE.size)
SMALL_PART.paste(255, (150, 20, 170, 50))
INSIDE = (slice(None), slice(None), slice(2, 6), slice(1, 5))  # MASK's cells


def asked(**changes: object) -> GenerationRequest:
    return replace(BASE, source=Inpaint(REF, REF, **changes))  # type: ignore[arg-type]


def inputs_of(request: GenerationRequest, image: Image.Image = PICTURE, mask: Image.Image = MASK) -> Inputs:
    assert isinstance(request.source, Inpaint)
    return masked(request, request.source, image, mask, ())


def painted(request: GenerationRequest, in_channels: int, image: Image.Image, mask: Image.Image) -> Image.Image:
    inputs, model = inputs_of(request, image, mask), loaded(in_channels)
    with torch.inference_mode():
        return inputs.finished(request, pixels.decoded(model, latents_of(run_of(model, request, inputs))))


EVERY = list(product(MASK_MODES, MASK_EDGES, CONTENTS, AREAS))


@pytest.mark.parametrize(("mode", "edge", "content", "area"), EVERY)
def test_no_pixel_outside_the_mask_changes_whatever_is_chosen(mode, edge, content, area):
    request = asked(strength=0.8, mask_mode=mode, mask_edge=edge, masked_content=content, inpaint_area=area, mask_padding=16)
    for in_channels in (4, 9):
        result = painted(request, in_channels, WIDE, SMALL_PART)
        inputs = inputs_of(request, WIDE, SMALL_PART)
        before = inputs.unchanged
        assert result.size == before.size == ((200, 120) if area == "Only masked" else (SIZE, SIZE))
        changed = (np.asarray(result) != np.asarray(before)).any(axis=2)
        free = np.asarray(inputs.paste.mask) > 0
        assert not changed[~free].any() and changed[free].mean() > 0.5
        assert free[0, 0] == (mode == "Inpaint not masked")


# ---------------------------------------------------------------- what the mask starts from
def test_masked_content_is_what_the_run_starts_from():
    model, noise = loaded(4), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    begun = {content: inputs_of(asked(masked_content=content)).scene(asked(masked_content=content), model).begun(noise) for content in CONTENTS}
    with torch.inference_mode():
        clean, filled = (pixels.encoded(model, pixels.tensor(image)) for image in (PICTURE, masking.filled(PICTURE, MASK)))
    outside = torch.ones_like(clean, dtype=torch.bool)
    outside[INSIDE] = False
    assert torch.equal(begun["Original"], clean) and torch.equal(begun["Fill"], filled)
    assert torch.equal(begun["Latent noise"][INSIDE], noise[INSIDE]) and not begun["Latent nothing"][INSIDE].any()
    assert all(torch.equal(begun[content][outside], clean[outside]) for content in ("Latent noise", "Latent nothing"))


def test_at_strength_1_what_was_in_the_mask_makes_no_difference():
    requests = [asked(strength=1.0, masked_content=content) for content in ("Original", "Latent noise", "Latent nothing")]
    results = [latents_of(run_of(loaded(4), request, inputs_of(request)))[INSIDE] for request in requests]
    assert all(torch.equal(results[0], other) for other in results[1:])


# ---------------------------------------------------------------- by degrees
def differential(scene: Scene, noise: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """Levin and Fried's Algorithm 1, as a table: at step i of n the places that go their own way are those with a strength of 1 - i/n at least."""
    assert scene.held_mask is not None and scene.clean is not None
    return [(scene.held_mask >= 1 - i / steps) & (scene.held_mask > 0) for i in range(steps + 1)]


def test_a_place_goes_its_own_way_for_its_share_of_the_run():
    mask = torch.tensor([[[[0.0, 0.2, 0.5, 1.0]]]])
    held = Held(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4), mask)
    free = [held.into(torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 1, 4), i / 10).flatten().tolist() for i in range(11)]
    assert [sum(row[place] for row in free) for place in range(4)] == [0, 3, 6, 11]
    assert free[-1] == [0, 1, 1, 1], "at the end all that may change has changed"


def test_a_soft_mask_is_what_the_paper_says():
    grey = Image.linear_gradient("L").resize((SIZE, SIZE))
    request = asked(strength=0.8, mask_edge="Soft", mask_blur=0)
    inputs = inputs_of(request, mask=grey)
    run = run_of(loaded(4), request, inputs)
    assert run.scene.held_mask is not None and run.scene.clean is not None
    table = differential(run.scene, torch.zeros(1), run.steps)
    plan, noise = run.plan(), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    x, predict = plan.noised(run.scene.clean, noise), run.predict()
    with torch.inference_mode():
        for i, (sigma, target) in enumerate(zip(plan.sigmas[:-1], plan.sigmas[1:], strict=True)):
            t = torch.tensor(plan.levels.timestep(sigma))
            said = predict(i)(x / (sigma**2 + 1) ** 0.5, t).guided
            x = x + said * (target - sigma)  # Euler's step for a model that predicts noise
            kept = run.scene.clean + noise * target
            x = torch.where(table[i + 1], x, kept)
    assert torch.allclose(latents_of(run), x, atol=1e-4)


def test_a_black_and_white_mask_is_held_alike_hard_and_soft():
    hard, soft = (latents_of(run_of(loaded(4), request, inputs_of(request)))
                  for request in (asked(mask_edge=edge, mask_blur=0, strength=0.8) for edge in MASK_EDGES))  # fmt: skip
    assert torch.equal(hard, soft)
