"""A saved picture knows its request, in every format, and no stranger's record can do harm."""

import io
import json
import struct
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sd_ui.imaging import infotext, png, record, xmp
from sd_ui.spec.delivery import FORMATS, Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.made import VERSION, Made, Record
from sd_ui.spec.request import DepthToImage, GenerationRequest, ImageRef, ImageToImage, Inpaint
from tests.imaging.test_infotext import REQUESTS, SEEDS
from tests.imaging.test_png import chunk, noise

PICTURE = Image.merge("RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90)]).resize((64, 48))
A, B = ImageRef("a" * 64, 64, 48), ImageRef("b" * 64, 64, 48)
REQUEST = GenerationRequest("ein Häuschen,\n🌋 (so:1.2)", "blurry & <b>", width=64, height=48, seed=2**64 - 1, source=Inpaint(A, B, 0.6))
RECORD = Record(REQUEST, Made(app="0.1.0", model_hash="c" * 64), 1, 5, record.pixels_hash(PICTURE), "j" * 32, "2026-11-21T12:00:00Z", ("a note",))
LONG = replace(RECORD, request=replace(REQUEST, prompt="🌋 & <ü>" * 4000, negative_prompt="é" * 32000))
PARAMETERS = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 512x512, Model: x, Version: v1.10.1"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def packet_of(data: bytes) -> bytes:
    found = opened(data).info["xmp"]
    return found if isinstance(found, bytes) else found.encode()


# ---------------------------------------------------------------- there and back
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("quality", [60, 92, 100])
def test_a_saved_picture_knows_its_request(format: str, quality: int) -> None:
    data = record.encode(PICTURE, RECORD, "A model, v1", Delivery(format, quality))
    assert opened(data).format == format.upper()
    assert record.read(data) == record.Metadata(RECORD, infotext.write(RECORD, "A model, v1"))
    assert record.note_on(RECORD, "A model, v1", Delivery(format, quality)) == ""


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=30, deadline=None)
@given(REQUESTS, SEEDS)
def test_every_request_comes_back_from_every_format(format: str, request: GenerationRequest, seed: int) -> None:
    wanted = Record(request, Made(), 0, seed)
    back = record.read(record.encode(Image.new("RGB", (8, 8)), wanted, "m", Delivery(format)))
    assert (back.record, back.infotext, back.fault) == (wanted, infotext.write(wanted, "m"), "")


def test_a_png_and_the_best_webp_keep_every_pixel() -> None:
    for delivery in (Delivery("png"), Delivery("webp", 100)):
        back = opened(record.encode(PICTURE, RECORD, "m", delivery)).convert("RGB")
        assert record.pixels_hash(back) == RECORD.pixels


def test_lossy_formats_look_the_same() -> None:
    for format in ("jpeg", "webp"):
        back = opened(record.encode(PICTURE, RECORD, "m", Delivery(format, 95))).convert("RGB")
        assert np.abs(np.asarray(back).astype(int) - np.asarray(PICTURE)).mean() < 4


def test_the_hash_is_of_rgb_bytes_row_by_row() -> None:
    import hashlib

    image = noise("RGB", 9, 7)
    assert record.pixels_hash(image) == hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


@pytest.mark.parametrize("format", FORMATS)
def test_the_longest_prompts_are_kept_in_every_format(format: str) -> None:
    data = record.encode(PICTURE, LONG, "m", Delivery(format))
    opened(data).load()
    assert record.read(data) == record.Metadata(LONG, infotext.write(LONG, "m"))


def test_a_jpeg_says_when_its_exif_is_too_small() -> None:
    assert "JPEG" in record.note_on(LONG, "m", Delivery("jpeg"))
    assert record.note_on(LONG, "m", Delivery("png")) == record.note_on(LONG, "m", Delivery("webp")) == ""
    assert record.note_on(LONG, "m", Delivery("jpeg"), "none") == ""


@pytest.mark.parametrize("over", [0, 1])
def test_a_jpegs_exif_is_filled_to_its_last_letter(over: int) -> None:
    room = record.LONGEST_EXIF_TEXT - len(infotext.write(replace(RECORD, request=GenerationRequest()), "m")) + over
    full = replace(RECORD, request=GenerationRequest(prompt="x" * room))
    data = record.encode(PICTURE, full, "m", Delivery("jpeg"))
    assert bool(record.note_on(full, "m", Delivery("jpeg"))) == bool(over) == (not opened(data).info.get("exif"))
    assert record.read(data) == record.Metadata(full, infotext.write(full, "m"))


@pytest.mark.parametrize("format", FORMATS)
def test_the_user_chooses_what_a_file_tells(format: str) -> None:
    text = infotext.write(RECORD, "m")
    assert record.read(record.encode(PICTURE, RECORD, "m", Delivery(format), "infotext")) == record.Metadata(None, text)
    bare = record.encode(PICTURE, RECORD, "m", Delivery(format), "none")
    assert record.read(bare) == record.Metadata()
    assert b"trainedAlgorithmicMedia" in bare or b"compositeWithTrainedAlgorithmicMedia" in bare
    assert b"uschen" not in bare and "uschen".encode("utf-16-be") not in bare


def test_nothing_of_the_given_picture_but_its_pixels_is_saved() -> None:
    image = PICTURE.copy()
    image.info = {"comment": b"private", "exif": b"Exif\0\0private", "xmp": b"private", "icc_profile": b"private"}
    for format in FORMATS:
        assert b"private" not in record.encode(image, RECORD, "m", Delivery(format))


def test_the_file_names_no_path() -> None:
    for format in FORMATS:
        data = record.encode(PICTURE, RECORD, "m", Delivery(format))
        assert str(Path.home()).encode() not in data and str(Path.cwd()).encode() not in data


# ---------------------------------------------------------------- what others read
def test_others_find_the_text_of_a_png_under_its_key() -> None:
    info = opened(record.encode(PICTURE, RECORD, "m")).info
    assert info["parameters"] == infotext.write(RECORD, "m")
    assert json.loads(info["sdui"])["version"] == VERSION
    latin = replace(RECORD, request=GenerationRequest("Häuschen"))
    assert b"tEXtparameters\0" in record.encode(PICTURE, latin, "m") and b"iTXtparameters\0" in record.encode(PICTURE, RECORD, "m")
    assert b"iTXtsdui\0" in record.encode(PICTURE, latin, "m")


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_others_find_the_text_in_exifs_user_comment(format: str) -> None:
    data = record.encode(PICTURE, RECORD, "m", Delivery(format))
    exif = opened(data).getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + infotext.write(RECORD, "m").encode("utf-16-be")
    assert dict(exif).keys() == {0x8769}  # no Make, no Model: they confuse readers
    assert b"\xff\xfe" not in data[:2000]  # no JPEG comment either


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (None, "trainedAlgorithmicMedia"),
        (ImageToImage(A), "compositeWithTrainedAlgorithmicMedia"),
        (Inpaint(A, B), "compositeWithTrainedAlgorithmicMedia"),
        (DepthToImage(A), "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_every_file_is_marked_as_made_by_a_machine(format: str, source: object, kind: str) -> None:
    marked = replace(RECORD, request=replace(REQUEST, source=source))
    packet = packet_of(record.encode(PICTURE, marked, "m", Delivery(format)))
    tree = ElementTree.fromstring(packet.decode().removeprefix("\ufeff"))
    said = tree.findtext(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert said == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert tree.findtext(".//{http://ns.adobe.com/xap/1.0/}CreatorTool") == "SD UI 0.1.0"


def test_an_extended_packet_is_well_formed_and_named_by_its_hash() -> None:
    import hashlib

    data = record.encode(PICTURE, LONG, "m", Delivery("jpeg"))
    main = packet_of(data)
    bodies = [body for app, body in opened(data).applist if body.startswith(xmp.JPEG_EXTENSION)]
    assert len(bodies) >= 2
    extension = b"".join(body[75:] for body in bodies)
    guid = ElementTree.fromstring(main.decode()).findtext(".//{http://ns.adobe.com/xmp/note/}HasExtendedXMP")
    assert {body[35:67].decode() for body in bodies} == {guid} == {hashlib.md5(extension).hexdigest().upper()}
    assert all(struct.unpack_from(">I", body, 67)[0] == len(extension) for body in bodies)
    ElementTree.fromstring(extension.decode())


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_any_text_survives_xml_or_is_marked(text: str) -> None:
    packet = xmp.packet("txt2img", "1", {"record": text})
    ElementTree.fromstring(packet.decode())
    assert xmp.text(packet, "record") == xmp.NOT_XML.sub("\ufffd", text)


# ---------------------------------------------------------------- others' files
def test_a_png_of_a1111_is_read() -> None:
    info, out = PngInfo(), io.BytesIO()
    info.add_text("parameters", PARAMETERS)
    PICTURE.save(out, "PNG", pnginfo=info)
    assert record.read(out.getvalue()) == record.Metadata(None, PARAMETERS)


def foreign_exif(order: str, comment: bytes) -> bytes:
    mark = {">": b"MM\0*", "<": b"II*\0"}[order]
    ifd0 = struct.pack(order + "HHHIII", 1, 0x8769, 4, 1, 26, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "I", 8) + ifd0 + struct.pack(order + "HHHIII", 1, 0x9286, 7, len(comment), 44, 0) + comment


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + PARAMETERS.encode("utf-16-be"),
        b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
        b"ASCII\0\0\0" + PARAMETERS.encode(),
        b"\0" * 8 + PARAMETERS.encode(),
        PARAMETERS.encode(),
    ],
)
def test_a_user_comment_is_read_however_it_is_written(format: str, order: str, comment: bytes) -> None:
    out = io.BytesIO()
    PICTURE.save(out, format, exif=foreign_exif(order, comment))
    assert record.read(out.getvalue()) == record.Metadata(None, PARAMETERS)


def test_a_gif_of_a1111_is_read() -> None:
    out = io.BytesIO()
    PICTURE.save(out, "GIF", comment=PARAMETERS)
    assert record.read(out.getvalue()).infotext == PARAMETERS


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_without_anything_is_just_that(format: str) -> None:
    out = io.BytesIO()
    PICTURE.save(out, format)
    assert record.read(out.getvalue()) == record.Metadata()


# ---------------------------------------------------------------- hostile files
def with_record(told: str) -> record.Metadata:
    return record.read(png.encode(PICTURE, [("parameters", PARAMETERS), ("sdui", told)]))


GOOD = json.loads(record.to_json(RECORD))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("{", "Expecting"),
        ("not json", "Expecting"),
        ("null", "not an object"),
        ("[]", "not an object"),
        ("7", "not an object"),
        ("[" * 100_000, ""),
        ('{"request":' * 100_000, ""),
        ("1" * 10_000, ""),
        (json.dumps({**GOOD, "version": VERSION + 1}), f"version {VERSION + 1}"),
        (json.dumps({**GOOD, "version": "1"}), "not int"),
        (json.dumps({**GOOD, "surprise": 1}), "surprise"),
        (json.dumps({**GOOD, "\ud800": 1}), "unknown"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "made"}), "missing made"),
        (json.dumps({**GOOD, "seed": "5"}), "not int"),
        (json.dumps({**GOOD, "seed": True}), "not int"),
        (json.dumps({**GOOD, "notes": {}}), "not a list"),
        (json.dumps({**GOOD, "request": {**GOOD["request"], "source": {"kind": "evil"}}}), "expected one of"),
        (json.dumps({**GOOD, "request": {**GOOD["request"], "source": {"kind": ["inpaint"]}}}), "expected one of"),
        (json.dumps({**GOOD, "request": {**GOOD["request"], "sampling": {"cfg_scale": float("nan")}}}), "NaN is not a finite number"),
        (
            json.dumps({**GOOD, "request": {**GOOD["request"], "sampling": {"cfg_scale": 0.5}}}).replace("0.5}", "1e999}"),
            "1e999 is not a finite number",
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_said_and_the_rest_is_read(told: str, why: str) -> None:
    metadata = with_record(told)
    assert metadata.record is None
    assert metadata.infotext == PARAMETERS
    assert metadata.fault.startswith("Its record cannot be used: ") and why in metadata.fault
    metadata.fault.encode()
    assert len(metadata.fault) < 300


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, *GOOD["request"], "kind", "image"]) | st.text(max_size=3), inner),
        max_leaves=20,
    )
)
def test_any_json_is_a_record_or_a_reason(data: object) -> None:
    for told in (data, {**GOOD, "request": data}, {**GOOD, "made": data}, {**GOOD, "request": {**GOOD["request"], "source": data}}):
        metadata = with_record(json.dumps(told))
        assert (metadata.record is None) == bool(metadata.fault)


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.7", b"<svg/>"])
def test_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        record.read(data)
    assert caught.value.field == "image"


def test_a_bomb_of_texts_is_refused() -> None:
    import zlib

    data = png.encode(PICTURE)
    bomb = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(64_000_000), 1))
    with pytest.raises(BadRequest, match="damaged"):
        record.read(data[:33] + bomb + data[33:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=80, deadline=None)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=6))
def test_damage_anywhere_is_read_or_refused(format: str, place: int, patch: bytes) -> None:
    data = FILES[format]
    try:
        metadata = record.read(data[:place] + patch + data[place + len(patch) :])
    except BadRequest:
        return
    assert metadata.record is None or isinstance(metadata.record, Record)


FILES = {format: record.encode(PICTURE, RECORD, "m", Delivery(format)) for format in FORMATS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_anywhere_is_read_or_refused(format: str) -> None:
    data = FILES[format]
    for end in range(0, len(data), 37):
        try:
            record.read(data[:end])
        except BadRequest as error:
            assert error.field == "image"
