"""The one table of settings: whole, consistent with the request, and explained."""

import dataclasses

import pytest

from docs.make_parameters import TARGET, page
from sd_ui.spec.cards import Defaults
from sd_ui.spec.fields import CHOICE, FIELDS, IMAGE, INTEGER, NAMES, NUMBER, SEED, TEXT, Field, default, of_mode
from sd_ui.spec.request import MODES, GenerationRequest, images_of

ROWS = [pytest.param(field, id=name) for name, field in FIELDS.items()]


@pytest.mark.parametrize("field", ROWS)
def test_every_setting_is_explained(field: Field):
    assert field.label and field.label[0].isupper()
    assert len(field.help) > 20 and field.help.endswith(".") and field.help != field.label
    assert field.kind in (TEXT, CHOICE, NAMES, INTEGER, NUMBER, SEED, IMAGE)


@pytest.mark.parametrize("field", ROWS)
def test_every_default_is_allowed(field: Field):
    value = default(field.name)
    if field.kind in (INTEGER, NUMBER, SEED):
        assert field.low <= value <= field.high
    if field.choices:
        assert value in field.choices


@pytest.mark.parametrize("field", ROWS)
def test_a_slider_offers_only_what_is_allowed(field: Field):
    low, high = field.slider or (field.low, field.high)
    if field.kind in (INTEGER, NUMBER):
        assert field.low <= low < high <= field.high and field.step > 0
        assert low <= default(field.name) <= high


def test_names_and_labels_are_unique():
    assert [field.name for field in FIELDS.values()] == list(FIELDS)
    assert len({field.label.casefold() for field in FIELDS.values()}) == len(FIELDS)
    assert all(name.isidentifier() for name in FIELDS)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_prompt_and_a_seed_and_only_its_own_pictures(mode):
    names = [field.name for field in of_mode(mode)]
    assert {"prompt", "seed", "model", "steps"} <= set(names)
    assert [name for name in names if FIELDS[name].kind == IMAGE] == {
        "txt2img": [], "img2img": ["init"], "inpaint": ["init", "mask"], "depth2img": ["init", "depth"],
    }[mode]  # fmt: skip


def test_what_a_model_knows_best_is_a_setting():
    assert {f.name for f in dataclasses.fields(Defaults)} <= FIELDS.keys()


def test_a_request_from_noise_has_no_pictures():
    assert images_of(GenerationRequest()) == {} and GenerationRequest(seed=2**64 - 1).seed_of(1) == 0


def test_the_page_about_the_parameters_is_made_from_the_table():
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python docs/make_parameters.py"
