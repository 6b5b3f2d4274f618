"""The model in the box, on the CPU: real semantics, in all four modes."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sd_ui.engine.device import choose
from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.imaging.blobs import Blobs
from sd_ui.models.index import ModelIndex
from sd_ui.spec.events import Drawn, Mapped, Stepped
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageToImage, Inpaint, Sampling

ROOT = Path(__file__).parents[2]
PURE = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    index = ModelIndex([], ROOT / "sd_ui" / "embedded", ROOT / "presets" / "models", ROOT / "sd_ui" / "embedded_loras")
    return Engine(PipelineManager(index.cards, choose("cpu", "float32"), None), Blobs(tmp_path_factory.mktemp("inputs")))


def psnr(a, b):
    return -10 * np.log10((((np.asarray(a, dtype=float) - np.asarray(b, dtype=float)) / 255) ** 2).mean())


def asked(prompt, seed=1, **changes):
    return replace(GenerationRequest(prompt, sampling=Sampling("DPM++ 2M", "Uniform", 12, 3.0), width=128, height=128, seed=seed), **changes)


def drawn(engine, request):
    return next(Image.frombytes("RGB", (e.width, e.height), e.rgb) for e in engine.generate(request) if isinstance(e, Drawn))


def share_of(colour, image):
    """The share of pixels that are more of this colour than of any other, and clearly so."""
    pixels = np.asarray(image, dtype=float) / 255
    bright = np.array(PURE[colour], dtype=bool)
    return float((pixels[..., bright].min(-1) - pixels[..., ~bright].max(-1) > 0.25).mean())


@pytest.mark.parametrize("colour", PURE)
def test_the_colour_of_the_prompt_is_the_colour_of_the_picture(engine, colour):
    pictures = [drawn(engine, asked(f"a large matte {colour} cube on a white floor, under a cloudy sky", seed)) for seed in (1, 2)]
    shares = {name: np.mean([share_of(name, picture) for picture in pictures]) for name in PURE}
    assert max(shares, key=shares.get) == colour and shares[colour] > 0.05, shares


def test_the_sky_of_the_prompt_is_the_sky_of_the_picture(engine):
    night, day = (np.asarray(drawn(engine, asked(f"a large red sphere on a gray floor, {sky}"))) for sky in ("at night", "under a cloudy sky"))
    assert night[:20].mean() + 60 < day[:20].mean()


def test_previews_come_closer_to_the_picture(engine):
    request = asked("a large red cube on a checkered floor, at sunset")
    frames = [Image.open(BytesIO(e.preview)) for e in engine.generate(request) if isinstance(e, Stepped)]
    final = np.asarray(drawn(engine, request), dtype=float)
    far = [np.abs(np.asarray(frame.resize((128, 128)), dtype=float) - final).mean() for frame in frames]
    assert len(frames) == 12 and far[-1] < far[0] / 3 and far[-1] < 6


def test_img2img_keeps_more_at_less_strength(engine):
    picture = drawn(engine, asked("a large green cube on a white floor, under a clear blue sky"))
    ref = engine.blobs.put(picture)

    def changed(strength):
        result = drawn(engine, asked("a large red cube on a white floor, under a clear blue sky", 2, source=ImageToImage(ref, strength)))
        return np.abs(np.asarray(result, dtype=float) - np.asarray(picture, dtype=float)).mean()

    little, much = changed(0.1), changed(0.9)
    assert little < much


def test_a_denoising_strength_means_what_it_means_elsewhere(engine):
    """0.3 is a light change; at 0.75 the prompt prevails."""
    picture = drawn(engine, asked("a large matte green cube on a white floor, under a cloudy sky"))
    ref = engine.blobs.put(picture)
    prompt = "a large matte red cube on a white floor, under a cloudy sky"
    light, strong = (drawn(engine, asked(prompt, 2, source=ImageToImage(ref, strength))) for strength in (0.3, 0.75))
    assert psnr(light, picture) >= 20
    assert share_of("red", strong) > 0.05 > share_of("green", strong)


def test_what_is_painted_inside_the_mask_follows_the_prompt(engine):
    picture = drawn(engine, asked("a large matte green cube on a white floor, under a cloudy sky"))
    mask = Image.new("L", (128, 128))
    mask.paste(255, (16, 24, 112, 116))
    source = Inpaint(engine.blobs.put(picture), engine.blobs.put(mask), 1.0)
    result = drawn(engine, asked("a large matte red sphere on a white floor, under a cloudy sky", 3, source=source))
    assert share_of("red", result) > 0.05 and share_of("green", result) < 0.02 < share_of("green", picture)


def rosy(image):
    """The upper quarter has more red and blue than green."""
    red, green, blue = np.asarray(image, dtype=float)[: image.height // 4].mean((0, 1))
    return min(red, blue) - green


def test_the_lora_in_the_box_brings_another_sky_and_leaves_the_model_as_it_was(engine):
    plain = asked("a large matte blue cube on a white floor, under a cloudy sky")
    before = drawn(engine, plain)
    assert rosy(drawn(engine, replace(plain, prompt=f"{plain.prompt} <lora:dawn:1>"))) > 5 > rosy(before)
    assert drawn(engine, plain).tobytes() == before.tobytes()


def test_inpainting_paints_inside_the_mask_alone(engine):
    picture = drawn(engine, asked("a large green cube on a white floor, under a clear blue sky"))
    mask = Image.new("L", (128, 128))
    mask.paste(255, (40, 40, 100, 100))
    source = Inpaint(engine.blobs.put(picture), engine.blobs.put(mask), 1.0)
    result = drawn(engine, asked("a large red cube on a white floor, under a clear blue sky", 3, source=source))
    before, after, inside = np.asarray(picture), np.asarray(result), np.asarray(mask) > 0
    assert np.array_equal(before[~inside], after[~inside]) and (before[inside] != after[inside]).mean() > 0.5


def test_depth_to_image_estimates_a_map_and_draws_with_it(engine):
    picture = drawn(engine, asked("a large green cube on a white floor, under a clear blue sky"))
    request = asked("a large red sphere on a white floor, under a clear blue sky", 4, source=DepthToImage(engine.blobs.put(picture), None, 0.9))
    events = list(engine.generate(request))
    (mapped,) = [e for e in events if isinstance(e, Mapped)]
    with Image.open(BytesIO(mapped.png)) as shown:
        depth = np.asarray(shown, dtype=float)
    assert depth[-16:].mean() > depth[:16].mean()  # the floor in front is nearer than the sky
    assert any(isinstance(e, Drawn) for e in events)


def test_other_sizes_and_shapes_work(engine):
    assert drawn(engine, asked("a red cube", width=192, height=104)).size == (192, 104)


def test_words_that_it_does_not_know_still_give_a_picture(engine):
    assert np.asarray(drawn(engine, asked("Ein Schloß 🏰 über dem Meer, "))).std() > 5
