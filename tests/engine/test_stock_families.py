"""Every other family of the table of stock pipelines really runs, in each of its modes, and gives its pipeline's picture."""

import numpy as np
import pytest

from sd_ui.engine.generate import Engine
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.imaging.blobs import Blobs
from sd_ui.models import stock
from sd_ui.spec.events import Stepped
from tests import stock_models
from tests.engine.test_stock import CPU, MASK, SILENT, STEPS, asked, card_of, drawn, picture, previews, theirs

MODES = [(family, mode) for family in stock_models.MORE for mode in stock.FAMILIES[family].modes]
GUIDED = {"guidance_scale": 3.0, "negative_prompt": "rain"}
AS_ASKED = {"use_resolution_binning": False, "clean_caption": False}
ARGUMENTS = {  # what the stock pipelines are told besides the prompt, the size and the number of steps
    "pixart-alpha": GUIDED | AS_ASKED,
    "sana-sprint": AS_ASKED | {"guidance_scale": 3.0, "intermediate_timesteps": None},
    "lumina": GUIDED | {"clean_caption": False},
    "hunyuan": GUIDED | {"use_resolution_binning": False},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("stock")
    return {family: stock_models.save(family, root / family) for family in stock_models.MORE}


@pytest.fixture(scope="module")
def engine(saved, tmp_path_factory):
    cards = {family: card_of(path) for family, path in saved.items()}
    return Engine(PipelineManager(lambda: cards, CPU), Blobs(tmp_path_factory.mktemp("inputs")))


def test_no_family_of_the_table_is_left_out():
    assert stock.FAMILIES.keys() == (stock_models.MADE | stock_models.MORE).keys()


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")  # within diffusers, of itself
@pytest.mark.parametrize(("family", "mode"), MODES)
def test_the_picture_is_that_of_the_stock_pipeline_pixel_for_pixel(engine, saved, family, mode):
    events = list(engine.generate(asked(engine, family, mode)))
    (found,) = drawn(events)
    wanted, ours = theirs(saved[family], family, mode, **ARGUMENTS.get(family, GUIDED)), picture(found)
    inside = np.asarray(MASK) >= 128
    inside[:24], inside[40:], inside[:, :16], inside[:, 32:] = False, False, False, False  # without its soft edge
    assert np.array_equal(ours[inside], wanted[inside]) if mode == "inpaint" else np.array_equal(ours, wanted)
    run = STEPS if mode == "txt2img" else STEPS // 2
    assert [event.index for event in events if isinstance(event, Stepped)] == list(range(1, run + 1)) and found.made.steps_run == run
    assert all(previews(events))


@pytest.mark.parametrize("family", ["kandinsky3", "lumina2", "hunyuan"])
def test_an_empty_negative_prompt_is_what_the_pipeline_takes_for_none(engine, saved, family):
    (found,) = drawn(engine.generate(asked(engine, family, negative_prompt=""), SILENT))
    usual = {name: value for name, value in ARGUMENTS.get(family, GUIDED).items() if name != "negative_prompt"}
    assert np.array_equal(picture(found), theirs(saved[family], family, "txt2img", **usual))
