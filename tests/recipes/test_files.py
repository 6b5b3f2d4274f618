"""Each program has its own place in a file; all of them are looked into, in every format."""

import gzip
import io
import json
import struct

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sd_ui.imaging import record, stealth
from sd_ui.recipes.read import read
from sd_ui.recipes.recipe import Recipe

GRAPH = {
    "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "2": {
        "class_type": "KSampler",
        "inputs": {"seed": 3, "steps": 7, "cfg": 2, "sampler_name": "euler", "scheduler": "normal", "latent_image": ["1", 0]},
    },
}
SWARM = {"sui_image_params": {"prompt": "a pier", "seed": 3, "steps": 7, "width": 64, "height": 64}}
DRAW_THINGS = {"c": 'a "dune"', "uc": "", "sampler": "Euler a", "scale": 4, "seed": 3, "steps": 7, "size": "64x64"}
INFOTEXT = "a fox\nSteps: 7, Sampler: Euler, CFG scale: 2, Seed: 3, Size: 64x64"
ESCAPED = json.dumps(DRAW_THINGS).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">'
    f"{ESCAPED}</rdf:li></rdf:Alt></exif:UserComment><xmp:CreatorTool>Draw Things</xmp:CreatorTool></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def saved(format: str, **how: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, format, **how)  # type: ignore[arg-type]
    return out.getvalue()


def png(**texts: str) -> bytes:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key.replace("__", "-"), text) if max(text) > "\x7f" else info.add_text(key.replace("__", "-"), text)
    return saved("PNG", pnginfo=info)


def exif(comment: bytes = b"", **tags: str) -> bytes:
    """Of EXIF's first part: Make and Model; and its UserComment."""
    block = Image.Exif()
    for name, text in tags.items():
        block[{"Make": 0x010F, "Model": 0x0110, "Software": 0x0131}[name]] = text
    if comment:
        block.get_ifd(0x8769)[0x9286] = comment
    return block.tobytes()


def unicode(text: str, order: str = "be") -> bytes:
    return b"UNICODE\0" + text.encode(f"utf-16-{order}")


def found(data: bytes) -> Recipe:
    recipe = read(record.read(data).texts)
    assert recipe and (recipe.values["steps"], recipe.values["seed"]) == (7, 3)
    return recipe


@pytest.mark.parametrize("place", ["prompt", "workflow"])
def test_comfyui_in_png(place: str) -> None:
    assert found(png(**{place: json.dumps(GRAPH)})).program == "ComfyUI"


def test_comfyui_in_webp() -> None:
    data = saved("WEBP", exif=exif(Make="workflow:{}", Model=f"prompt:{json.dumps(GRAPH)}"))
    assert found(data).program == "ComfyUI"


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("order", ["be", "le"])
def test_json_in_exif(format: str, order: str) -> None:
    assert found(saved(format, exif=exif(unicode(json.dumps(SWARM), order)))).program == "SwarmUI"


def test_a_saver_that_writes_both_is_believed_in_its_text() -> None:
    assert found(png(parameters=INFOTEXT, prompt=json.dumps(GRAPH))).values["prompt"] == "a fox"


def test_draw_things_in_xmp() -> None:
    recipe = found(png(**{"XML:com.adobe.xmp": XMP}))
    assert recipe.program == "Draw Things" and recipe.values["prompt"] == 'a "dune"'
    segment = b"http://ns.adobe.com/xap/1.0/\0" + XMP.encode()
    assert found(saved("JPEG", extra=b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment)).program == "Draw Things"
    assert found(saved("WEBP", xmp=XMP.encode())).program == "Draw Things"


def test_the_oldest_texts_of_invokeai() -> None:
    assert found(png(Dream='"a mill" -s 7 -S 3 -W 64 -H 64 -C 2 -A k_lms')).program == "InvokeAI"
    image = {"prompt": "a mill", "steps": 7, "seed": 3, "sampler": "k_lms"}
    assert found(png(sd__metadata=json.dumps({"app_id": "invoke-ai/InvokeAI", "image": image}))).program == "InvokeAI"


def test_texts_of_cameras_are_no_recipe() -> None:
    assert read(record.read(saved("JPEG", exif=exif(Make="Nikon", Model="D750", Software="Lightroom"), comment=b"Summer")).texts) is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_is_no_reason_to_fail() -> None:
    assert found(saved("PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", pnginfo=_info(INFOTEXT))).values["prompt"] == "a fox"


def _info(text: str) -> PngInfo:
    info = PngInfo()
    info.add_text("parameters", text)
    return info


# ---------------------------------------------------------------- hidden in transparency
def concealed(text: str, packed: bool, size: int = 64, length: int | None = None) -> bytes:
    """Bit by bit, down the columns."""
    body = gzip.compress(text.encode()) if packed else text.encode()
    whole = (b"stealth_pngcomp" if packed else b"stealth_pnginfo") + struct.pack(">I", len(body) * 8 if length is None else length) + body
    image = Image.new("RGBA", (size, size), (10, 20, 30, 254))
    for index, bit in enumerate(bit for byte in whole for bit in f"{byte:08b}"):
        image.putpixel((index // size, index % size), (10, 20, 30, 254 | int(bit)))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


NOVELAI = {"steps": 7, "seed": 3, "scale": 5, "uc": "", "sampler": "k_euler", "prompt": "a {fox}"}


@pytest.mark.parametrize("packed", [True, False])
def test_texts_in_transparency_are_found(packed: bool) -> None:
    assert found(concealed(INFOTEXT, packed)).values["prompt"] == "a fox"
    recipe = found(concealed(json.dumps({"Software": "NovelAI", "Source": "V4", "Comment": json.dumps(NOVELAI)}), packed))
    assert recipe.program == "NovelAI" and recipe.values["prompt"] == "a (fox:1.05)"


@pytest.mark.parametrize("length", [0, 2**32 - 1, 64 * 64])
def test_a_length_that_lies_hides_nothing(length: int) -> None:
    assert record.read(concealed("x" * 20, False, length=length)).texts == {}


def test_a_bomb_in_transparency_is_cut_off() -> None:
    data = concealed("x" * 40_000_000, True, size=700)
    assert len(record.read(data).texts["hidden"]) == 4_000_000


@pytest.mark.parametrize("size", [(8, 8), (1, 200), (200, 1)])
def test_a_picture_too_small_for_a_text_has_none(size: tuple[int, int]) -> None:
    assert stealth.hidden(Image.new("RGBA", size)) == ""
