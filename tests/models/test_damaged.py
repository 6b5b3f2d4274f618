"""Files that should be models and are none: each is listed, says in words what is wrong, and touches no other; nothing of it is ever queued."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sd_ui.imaging.blobs import Blobs
from sd_ui.jobs.intake import Intake
from sd_ui.models import header, mistaken
from sd_ui.spec.errors import BadRequest
from tests import gguf_files
from tests.checkpoints import tiny_folder
from tests.jobs.fakes import ALICE, house
from tests.models import library

PAGE = "<!DOCTYPE html><html><head><title>Log in &ndash; Civitai</title></head><body>Please log in.</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265380512\n"


def whole(folder: Path) -> bytes:
    return library.lora(folder / "whole.safetensors", rank=16).read_bytes()


def renamed(data: bytes, change) -> bytes:
    """The same file with its header changed; the data stay."""
    (length,) = struct.unpack("<Q", data[:8])
    text = change(data[8 : 8 + length])
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def shifted(text: bytes) -> bytes:
    """Every tensor a byte later: the first leaves a hole, the last leads beyond the end."""
    entries = json.loads(text)
    for name, entry in entries.items():
        if name != "__metadata__":
            entry["data_offsets"] = [place + 1 for place in entry["data_offsets"]]
    return json.dumps(entries).encode()


def overlapping(text: bytes) -> bytes:
    entries = json.loads(text)
    names = [name for name in entries if name != "__metadata__"]
    entries[names[1]] |= {key: entries[names[0]][key] for key in ("data_offsets", "shape")}
    return json.dumps(entries).encode()


def twice(text: bytes) -> bytes:
    entries = json.loads(text)
    name = next(name for name in entries if name != "__metadata__")
    return text[:-1] + b", " + json.dumps(name).encode() + b": " + json.dumps(entries[name]).encode() + b"}"


DAMAGED = {
    "nothing": (lambda data: b"", "empty"),
    "cut in its header": (lambda data: data[:200], "damaged: its header claims"),
    "cut in its tensors": (lambda data: data[:-1000], "interrupted download"),
    "longer than it says": (lambda data: data + bytes(10), "damaged: its tensors need"),
    "a header beyond all measure": (lambda data: struct.pack("<Q", 2**63) + data[8:], "damaged: its header claims"),
    "a header of 200 MB": (lambda data: struct.pack("<Q", 200_000_000) + data[8:], "damaged: its header claims"),
    "shifted": (lambda data: renamed(data, shifted), "damaged: .* begins at byte 1"),
    "overlapping": (lambda data: renamed(data, overlapping), "damaged"),
    "twice the same name": (lambda data: renamed(data, twice), "stands in its header more than once"),
    "an unknown type of numbers": (lambda data: renamed(data, lambda text: text.replace(b'"F16"', b'"F17"')), "makes no sense"),
    "nothing but zeros": (lambda data: bytes(5000), "nothing but zeros"),
    "noise": (lambda data: bytes(range(255, 0, -1)) * 20, "does not begin as a safetensors file does"),
    "a pickle": (lambda data: b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01K\x01s.", "a pickle"),
    "an archive of PyTorch": (lambda data: b"PK\x03\x04" + bytes(500), "a pickle in a ZIP archive"),
    "an archive of 7-Zip": (lambda data: b"7z\xbc\xaf\x27\x1c" + bytes(500), "a 7-Zip archive: unpack it"),
    "a picture": (lambda data: b"\x89PNG\r\n\x1a\n" + bytes(500), "a picture"),
    "a web page": (lambda data: PAGE.encode(), "a web page instead of a model .“Log in . Civitai”.: .* perhaps it needs a login"),
    "a web page with a mark before it": (lambda data: b"\xef\xbb\xbf\r\n\r\n" + PAGE.encode(), "a web page instead of a model"),
    "an error in JSON": (lambda data: b'{"error":"Unauthorized","message":"The creator of this asset requires you to be logged in"}', "Unauthorized"),
    "an error in a word": (lambda data: b"Entry not found", "a text instead of a model .“Entry not found”."),
    "an error with a bracket in the wrong place": (lambda data: b"Answer: {404}", "a text instead of a model"),
    "a Git LFS pointer": (lambda data: POINTER, "Git LFS pointer instead of the file itself: run git lfs pull"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_says_what_is_wrong_and_enters_no_queue(tmp_path, kind):
    damage, why = DAMAGED[kind]
    models = tmp_path / "models"
    data = whole(tmp_path)
    library.checkpoint(models / "good.safetensors")
    (models / "bad.safetensors").write_bytes(damage(data))
    index = library.index(models)
    with pytest.raises(BadRequest, match=why) as error:
        said = index.card("bad").fault
        raise BadRequest("model", said)
    assert not any(ord(c) < 32 for c in error.value.why) and len(error.value.why) < 300
    assert index.card("good").fault == "" and index.card("good").modes
    with house(tmp_path / "outputs", start=False) as home:
        intake = Intake(home.queue, Blobs(tmp_path / "inputs"), index)
        with pytest.raises(BadRequest, match="bad cannot be used: "):
            intake.submit("txt2img", {"model": "bad"}, ALICE)
        intake.submit("txt2img", {"model": "good"}, ALICE)
        assert [job.request.model.checkpoint for job in home.queue.jobs(ALICE)] == ["good"]


@pytest.mark.parametrize("kind", ["a web page", "a Git LFS pointer", "nothing", "cut in its tensors"])
def test_a_part_of_a_folder_is_named_with_its_damage(tmp_path, kind):
    damage, why = DAMAGED[kind]
    folder = tiny_folder(tmp_path / "models" / "folder")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(AssertionError, match=f"the U-Net's file is .*{why}"):
        raise AssertionError(library.index(tmp_path / "models").card("folder").fault)


# ---------------------------------------------------------------- on its way
@pytest.mark.parametrize("mark", [".aria2", ".part", ".crdownload", ".incomplete", ".tmp"])
def test_what_is_still_on_its_way_is_not_used_until_it_is_there(tmp_path, mark):
    """Some programs give a file its room at once: its header may be there, and its weights not."""
    file = library.checkpoint(tmp_path / "models" / "large.safetensors")
    beside = file.with_name(file.name + mark)
    beside.touch()
    index = library.index(tmp_path / "models", keep=tmp_path)
    assert f"is still being downloaded, or that was broken off: large.safetensors{mark} is there" in index.card("large").fault
    assert list(index.cards()) == ["embedded", "large"], "what lies beside it is no model of its own"
    beside.unlink()
    index.refresh()
    assert index.card("large").fault == "" and index.card("large").modes


def test_a_download_that_runs_under_another_name_is_not_listed(tmp_path):
    for name in ("a.safetensors.part", "b.safetensors.crdownload", "c.safetensors.incomplete", "Unconfirmed 1234.crdownload", ".d.safetensors"):
        library.checkpoint(tmp_path / "models" / name)
    assert list(library.index(tmp_path / "models").cards()) == ["embedded"]


def test_a_folder_that_the_hub_still_fills_is_not_used(tmp_path):
    folder = tiny_folder(tmp_path / "models" / "folder")
    part = folder / ".cache" / "huggingface" / "download" / "unet" / "x.incomplete"
    part.parent.mkdir(parents=True)
    part.touch()
    index = library.index(tmp_path / "models")
    assert "still being downloaded" in index.card("folder").fault
    part.unlink()
    index.refresh()
    assert index.card("folder").fault == ""


def test_a_file_that_grows_while_it_is_looked_at_is_looked_at_again(tmp_path):
    data = whole(tmp_path)
    file = tmp_path / "models" / "growing.safetensors"
    file.parent.mkdir()
    index = library.index(tmp_path / "models", keep=tmp_path)
    for length in (0, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        index.refresh()
        assert index.card("growing").fault
    file.write_bytes(data)
    index.refresh()
    assert index.card("growing").fault == ""
    assert library.index(tmp_path / "models", keep=tmp_path).card("growing").fault == "", "nor does a restart remember what it was"


# ---------------------------------------------------------------- folders that are not whole
def test_a_folder_without_an_index_is_known_by_its_parts(tmp_path):
    folder = tiny_folder(tmp_path / "models" / "folder")
    (folder / "model_index.json").unlink()
    assert library.index(tmp_path / "models").card("folder").fault == ""
    (folder / "unet" / "config.json").unlink()
    cards = library.index(tmp_path / "models").cards()
    assert [card.name for card in cards.values() if card.kind == "checkpoint" and not card.fault] == ["embedded"]
    assert cards["folder/vae"].kind == "vae", "what can be used alone, still can be"


@pytest.fixture
def sharded(tmp_path):
    """The U-Net in two files and their index."""
    folder = tiny_folder(tmp_path / "models" / "folder") / "unet"
    one = folder / "diffusion_pytorch_model.safetensors"
    for number in (1, 2):
        library.sparse(folder / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors", {f"tensor{number}": (4, 4)})
    one.unlink()
    names = {f"tensor{number}": f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def shard_fault(sharded: Path) -> str:
    return library.index(sharded.parents[1]).card("folder").fault


def test_a_missing_shard_is_named(sharded):
    assert shard_fault(sharded) == ""
    (sharded / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    assert shard_fault(sharded) == "the U-Net is not whole: diffusion_pytorch_model-00002-of-00002.safetensors is missing"


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "C:\\secret.safetensors", "sub/x.safetensors", "model.bin", "", "\0.safetensors"]
)
def test_an_index_that_names_files_elsewhere_is_not_followed(sharded, name):
    (sharded.parents[1] / "secret.safetensors").write_bytes(b"x")
    (sharded / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": {"tensor1": name}}))
    said = shard_fault(sharded)
    assert "does not name safetensors files beside it" in said or "is missing" in said


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\x00"])
def test_an_index_that_makes_no_sense_is_named(sharded, text):
    (sharded / "diffusion_pytorch_model.safetensors.index.json").write_text(text)
    assert "diffusion_pytorch_model.safetensors.index.json is damaged" in shard_fault(sharded)


# ---------------------------------------------------------------- links and rights
@pytest.mark.skipif(not hasattr(os, "symlink"), reason="without links")
def test_links_that_lead_round_and_round_end(tmp_path):
    models = tmp_path / "models"
    library.checkpoint(models / "sub" / "good.safetensors")
    (models / "sub" / "up").symlink_to(models, target_is_directory=True)
    (models / "a").symlink_to(models / "b")
    (models / "b").symlink_to(models / "a")
    cards = library.index(models).cards()
    assert cards["sub/good"].fault == "" and "leads nowhere" in cards["a"].fault and sum(not card.fault for card in cards.values()) == 2


def test_what_may_not_be_read_is_said_and_tried_again(tmp_path, monkeypatch):
    file = library.checkpoint(tmp_path / "models" / "private.safetensors")

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(header, "read", refused)
        index = library.index(tmp_path / "models", keep=tmp_path)
        assert index.card("private").fault == "the file cannot be opened: Permission denied" and str(file) not in index.card("private").fault
    index.refresh()
    assert index.card("private").fault == ""


# ---------------------------------------------------------------- in words
@given(data=st.binary(max_size=300))
def test_whatever_a_file_begins_with_what_is_said_of_it_is_short_and_plain(data):
    said = mistaken.said(data, len(data))
    assert said and len(said) < 250 and said.isprintable()


def test_a_large_text_is_not_quoted():
    assert mistaken.message(b"word " * 400, 10**9) == "" and "word word" in mistaken.message(b"word " * 400, 2000)


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="holes cannot be seen here")
def test_what_was_never_written_is_seen(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(2**20))
    assert mistaken.unwritten(file) == 0
    with file.open("r+b") as out:
        out.truncate(4 * 2**20)
    assert mistaken.unwritten(file) in (0, pytest.approx(0.75, abs=0.01)), "0 where the file system has no holes"
    (tmp_path / "empty").touch()
    assert mistaken.unwritten(tmp_path / "empty") == 0


# ---------------------------------------------------------------- files that mean something at first
@pytest.mark.parametrize("tensors", [
    {"text_model.embeddings.token_embedding.weight": (8, 4)}, {"img_in.weight": (8, 4), "double_blocks.0.img_attn.norm.query_norm.scale": (0,),
    "double_blocks.0.img_attn.norm.key_norm.scale": (0,), "final_layer.linear.weight": (8, 4), "single_blocks.0.x": (1,), "txt_in.weight": (4, 4),
    "vector_in.in_layer.weight": (4, 4)},
], ids=["a table of words without a text encoder", "a transformer whose heads are empty"])  # fmt: skip
def test_a_part_of_a_model_keeps_no_other_from_being_found(tmp_path, tensors):
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "odd.safetensors")
    library.lora(tmp_path / "good.safetensors")
    cards = library.index(tmp_path).cards()
    assert cards["odd"].fault and not cards["good"].fault


@pytest.mark.parametrize("shape", [["a", "b"], [-4, -8], [0, 32]])
def test_a_gguf_file_whose_shapes_make_no_sense_keeps_no_other_from_being_found(tmp_path, shape):
    facts = {"general.architecture": "flux", "comfy.gguf.orig_shape.img_in.weight": shape}
    gguf_files.write(tmp_path / "odd.gguf", {"img_in.weight": torch.ones(1, 32)}, lambda name, tensor: "Q8_0", facts)
    assert header.read(tmp_path / "odd.gguf").shape("model.diffusion_model.img_in.weight") == (1, 32)
    assert library.index(tmp_path).cards()["odd"].fault
