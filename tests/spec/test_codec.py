"""Requests and records as JSON, there and back."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_ui.spec.codec import dump, load
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.made import Made, Record, UsedInversion, WornLora
from sd_ui.spec.request import (
    DepthToImage,
    GenerationRequest,
    Guidance,
    Hires,
    ImageRef,
    ImageToImage,
    Inpaint,
    ModelChoice,
    Noise,
    Redo,
    Refiner,
    Sampling,
    Words,
    images_of,
)

# Floats that JSON has; whole numbers of any size, since a seed goes to 2^64 - 1.
PLAIN = {
    str: st.text(),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    tuple[str, ...]: st.lists(st.text(), max_size=3).map(tuple),
}


def values(kind, **given_):
    """Values of a dataclass whose fields are plain; given_: strategies for those that are not."""
    plain = {f.name: PLAIN[f.type] for f in dataclasses.fields(kind) if f.name not in given_}
    return st.builds(kind, **plain, **given_)


PICTURES = values(ImageRef)
SOURCES = st.none() | st.one_of(
    values(ImageToImage, image=PICTURES, redo=values(Redo)),
    values(Inpaint, image=PICTURES, mask=PICTURES, redo=values(Redo)),
    values(DepthToImage, image=PICTURES, depth=st.none() | PICTURES, redo=values(Redo)),
)
WORDS = st.lists(values(Words), max_size=3).map(tuple)
SAMPLINGS = values(Sampling, guidance=values(Guidance))
PARTS = {
    "model": values(ModelChoice),
    "sampling": SAMPLINGS,
    "noise": values(Noise),
    "refiner": st.none() | values(Refiner),
    "hires": st.none() | values(Hires, sampling=SAMPLINGS),
}
MADE = {"loras": st.lists(values(WornLora), max_size=3).map(tuple), "inversions": st.lists(values(UsedInversion), max_size=3).map(tuple)}
REQUESTS = values(GenerationRequest, source=SOURCES, words=WORDS, **PARTS)
RECORDS = values(Record, request=REQUESTS, made=values(Made, **MADE))


@given(REQUESTS)
def test_a_request_comes_back_from_json_as_it_was(request):
    back = load(GenerationRequest, json.loads(json.dumps(dump(request))))
    assert back == request and hash(back) == hash(request) and back.mode == request.mode and images_of(back) == images_of(request)


@given(RECORDS)
def test_a_record_comes_back_from_json_as_it_was(record):
    assert load(Record, json.loads(json.dumps(dump(record)))) == record


@given(values(Delivery))
def test_a_delivery_comes_back_from_json_as_it_was(delivery):
    assert load(Delivery, json.loads(json.dumps(dump(delivery)))) == delivery


def test_defaults_are_written_so_that_an_old_record_keeps_its_meaning():
    usual = {"sampler": "DPM++ 2M", "schedule": "Automatic", "steps": 20, "cfg_scale": 7.0, "distilled_cfg": 3.5}
    assert dump(GenerationRequest())["sampling"] == {**usual, "guidance": dump(Guidance())}


def test_a_field_that_an_older_program_did_not_know_has_its_default():
    assert load(GenerationRequest, {"prompt": "a cat"}) == GenerationRequest(prompt="a cat")


def test_a_whole_number_does_for_a_float():
    assert load(Sampling, {"cfg_scale": 7}) == Sampling(cfg_scale=7.0)


@pytest.mark.parametrize(("data", "words"), [
    ([], r"request: \[\] is not an object"),
    ({"promt": "a cat"}, r"request: unknown promt"),
    ({"prompt": 1}, r"request\.prompt: 1 is not str"),
    ({"width": True}, r"request\.width: True is not int"),
    ({"width": "512"}, r"request\.width: '512' is not int"),
    ({"sampling": {"cfg_scale": 10**400}}, r"request\.sampling\.cfg_scale: 1000.* is not float"),
    ({"source": {}}, r"request\.source\.kind: expected one of imagetoimage, inpaint, depthtoimage"),
    ({"source": {"kind": ["inpaint"]}}, r"request\.source\.kind: expected one of"),
    ({"source": {"kind": "inpaint", "image": None}}, r"request\.source: missing mask"),
    ({"source": 7}, r"request\.source\.kind: expected one of"),
])  # fmt: skip
def test_what_is_not_a_request_is_refused_with_its_place(data, words):
    with pytest.raises(ValueError, match=words):
        load(GenerationRequest, data)


def test_a_list_in_a_record_has_items_of_one_kind():
    with pytest.raises(ValueError, match=r"request\.notes\[1\]: 2 is not str"):
        load(Record, {"request": {}, "made": {}, "notes": ["a", 2]})


NAMES = st.sampled_from([f.name for kind in (GenerationRequest, Record, ImageToImage) for f in dataclasses.fields(kind)]) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)
)


@given(JSON)
def test_hostile_json_is_a_record_or_a_value_error(data):
    try:
        assert isinstance(load(Record, data), Record)
    except ValueError as refusal:
        assert str(refusal)
