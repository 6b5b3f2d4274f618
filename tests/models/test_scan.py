"""Thousands of models, read in place: headers alone, and nothing twice that has not changed."""

import json
import os
import pickle
from pathlib import Path

import pytest

from sd_ui.models import folders, header
from sd_ui.models.beside import Surroundings
from sd_ui.models.header import Unreadable
from sd_ui.models.layouts import elsewhere
from sd_ui.spec.cards import Beside
from tests.checkpoints import tiny_folder
from tests.models.library import checkpoint, index, lora, sparse

MANY = 5000


class Reads:
    """Counts what is read of models' files."""

    def __init__(self, monkeypatch):
        self.files, self.bytes, self._real = [], 0, Path.open
        monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: self.opened(path, *args, **kwargs))

    def opened(self, path, *args, **kwargs):
        file = self._real(path, *args, **kwargs)
        if path.suffix != ".safetensors" or "embedded" in path.parts or args != ("rb",):
            return file
        self.files.append(path)
        read = file.read

        class Counted:
            def read(_, size=-1):
                data = read(size)
                self.bytes += len(data)
                return data

            seek = file.seek
            __enter__ = lambda me: me  # noqa: E731
            __exit__ = lambda *_: file.close()  # noqa: E731

        return Counted()


@pytest.fixture
def reads(monkeypatch):
    return Reads(monkeypatch)


def test_five_thousand_files_cost_a_header_each_once_and_then_nothing(tmp_path, monkeypatch):
    for i in range(MANY):
        lora(tmp_path / "models" / "Lora" / f"{i % 20}" / f"{i}.safetensors", 768 if i % 2 else 2048)
    (tmp_path / "outputs").mkdir()
    reads = Reads(monkeypatch)
    first = index(tmp_path / "models", keep=tmp_path / "outputs").cards()
    assert len(first) == MANY + 1 and sorted(reads.files) == sorted(set(reads.files)) and len(reads.files) == MANY
    assert reads.bytes < MANY * 2000, "the weights are not read"
    reads.files.clear()
    again = index(tmp_path / "models", keep=tmp_path / "outputs")
    assert again.cards() == first and reads.files == []


def test_a_scan_that_was_broken_off_goes_on_where_it_was(tmp_path, reads, monkeypatch):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    for i in range(250):
        lora(models / f"{i:03d}.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(Surroundings, "of", lambda me, path: pytest.fail("the power is gone") if path.stem == "230" else Beside())
        with pytest.raises(BaseException, match="power"):
            index(models, keep=outputs)
    reads.files.clear()
    assert len(index(models, keep=outputs).cards()) == 251 and len(reads.files) == 51


def test_only_what_has_changed_is_read_again(tmp_path, reads):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    paths = [lora(models / f"{i}.safetensors") for i in range(5)]
    index(models, keep=outputs)
    reads.files.clear()
    lora(paths[2], rank=9)
    late = lora(models / "late.safetensors")
    paths[4].unlink()
    cards = index(models, keep=outputs).cards()
    assert sorted(reads.files) == [paths[2], late] and cards["2"].lora.rank == 9 and "4" not in cards


def test_what_was_kept_is_the_whole_finding(tmp_path):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    lora(models / "a.safetensors", ss_output_name="trained_as", ss_tag_frequency=json.dumps({"x": {"ink": 3}}))
    tiny_folder(models / "folder")
    (models / "old.ckpt").write_bytes(pickle.dumps([1]))
    fresh, kept = index(models, keep=outputs), index(models, keep=outputs)
    assert kept.cards() == fresh.cards() and kept._findings == fresh._findings
    assert kept.card("a").lora.triggers == ("ink",) and kept._findings["a"].layers and "pickle" in kept.card("old").fault
    assert kept.tokens("folder", "a cat").used == fresh.tokens("folder", "a cat").used
    assert kept.misfit("folder", "a") == fresh.misfit("folder", "a") != ""


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe{", b'{"made_by": "somebody else"}\n', b"[]\n" * 50, b'["x", [["x", 1, 2]], {"kind": 1}]'])
def test_a_damaged_cache_costs_time_alone(tmp_path, damage):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    lora(models / "a.safetensors")
    whole = index(models, keep=outputs).cards()
    for file in (outputs / ".models").iterdir():
        head = file.read_bytes().split(b"\n")[0]
        for text in (damage, head + b"\n" + damage, file.read_bytes()[:-40]):
            file.write_bytes(text)
            assert index(models, keep=outputs).cards() == whole
    assert index(models, keep=outputs).cards() == whole


def test_a_line_with_another_files_facts_is_not_believed(tmp_path):
    """Whoever writes into the cache can say what a model is called, and not what is loaded: that is read from the model again."""
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    path = tiny_folder(models / "folder")
    index(models, keep=outputs)
    file = outputs / ".models" / "findings.jsonl"
    file.write_text(file.read_text().replace('"tokenizer": "tokenizer"', '"tokenizer": "../../../etc"'))
    assert index(models, keep=outputs)._findings["folder"].tokenizer in (None, path / "tokenizer")


def test_a_pickle_that_takes_a_files_place_is_refused_although_the_cache_knows_better(tmp_path):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    path = lora(models / "a.safetensors")
    index(models, keep=outputs)
    status = path.stat()
    path.write_bytes(pickle.dumps([1]).ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index(models, keep=outputs).card("a").fault == "", "same path, size and time: the cache cannot know"
    with pytest.raises(Unreadable, match="pickle"):  # what every loader asks first
        header.read(path)


def test_a_file_that_could_not_be_opened_is_tried_again(tmp_path, monkeypatch):
    models, outputs = tmp_path / "models", tmp_path / "outputs"
    outputs.mkdir()
    lora(models / "a.safetensors")

    def refused(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(header, "read", refused)
        assert "Permission denied" in index(models, keep=outputs).card("a").fault
    assert index(models, keep=outputs).card("a").fault == ""


def test_without_an_outputs_folder_nothing_is_written(tmp_path):
    lora(tmp_path / "models" / "a.safetensors")
    index(tmp_path / "models", keep=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------- layouts
LAYOUTS = {
    "AUTOMATIC1111": (("webui.py", "launch.py"), "models/Lora/ink.safetensors", "models/ControlNet/x.safetensors", "hypernetworks/y.safetensors"),
    "ComfyUI": (
        ("main.py", "comfy/model.py"),
        "models/loras/ink.safetensors",
        "models/clip_vision/x.safetensors",
        "models/gligen/y.safetensors",
    ),
    "newer InvokeAI": (
        ("invokeai.yaml",),
        "models/0b8e8f4c-0000-4a5b-9c1d-2f3e4a5b6c7d/ink.safetensors",
        "models/controlnet/x.safetensors",
        "nodes/y.safetensors",
    ),
    "InvokeAI": (
        ("invokeai.yaml",),
        "models/sdxl/lora/ink.safetensors",
        "models/any/siglip/x.safetensors",
        "models/sd-1/ip_adapter/y.safetensors",
    ),
}


@pytest.mark.parametrize("program", LAYOUTS)
@pytest.mark.parametrize("whole", [True, False])
def test_the_models_of_other_programs_are_read_in_place(tmp_path, program, whole):
    marks, used, *others = LAYOUTS[program]
    for mark in (*marks, "venv/lib/site.safetensors"):
        (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mark).write_bytes(b"")
    for path in (used, *others):
        lora(tmp_path / path)
    assert list(index(tmp_path if whole else tmp_path / "models").cards()) == ["embedded", "ink"]


EMBEDDINGS = {
    "AUTOMATIC1111": "embeddings/style/ink.safetensors",
    "ComfyUI": "models/embeddings/style/ink.safetensors",
    "InvokeAI": "models/sd-1/embedding/style/ink.safetensors",
}


@pytest.mark.parametrize("program", EMBEDDINGS)
def test_the_embeddings_of_other_programs_are_read_in_place(tmp_path, program):
    marks = LAYOUTS[program][0]
    for mark in (*marks, "models/x.txt"):
        (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mark).write_bytes(b"")
    sparse(tmp_path / EMBEDDINGS[program], {"emb_params": (3, 768)})
    found = index(tmp_path)
    assert list(found.cards()) == ["embedded", "style/ink"]
    assert (found.card("style/ink").kind, found.card("style/ink").inversion.vectors) == ("embedding", 3)
    assert index(tmp_path, keep=tmp_path / "out").card("style/ink") == index(tmp_path, keep=tmp_path / "out").card("style/ink")


def test_a_checkpoint_tells_how_wide_its_words_are(tmp_path):
    checkpoint(tmp_path / "a.safetensors")
    found = index(tmp_path)
    assert found.text_widths("a") == (768,) and len(found.text_widths("embedded")) == 1 and found.text_widths("gone") == ()


COMFYUI = """
# what the program brings as an example
a111:
    base_path: {shared}  # another program's
    checkpoints: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
    controlnet: models/ControlNet
mine:
    is_default: true
    vae: "{vae}"
    loras: gone
    checkpoints
"""


def test_folders_that_comfyui_is_told_of_are_read_too(tmp_path):
    comfy, shared, vae = tmp_path / "comfy ui", tmp_path / "webui", tmp_path / "my vaes"
    for place in (comfy / "main.py", comfy / "comfy" / "x.py", comfy / "models" / "checkpoints" / "x.txt", vae / "x.txt"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    for name in ("Lora/ink", "LyCORIS/pen", "ControlNet/no"):
        lora(shared / "models" / f"{name}.safetensors")
    lora(vae / "brush.safetensors")
    (comfy / "extra_model_paths.yaml").write_text(COMFYUI.format(shared=shared, vae=vae))
    assert list(index(comfy).cards()) == ["embedded", "ink", "pen", "brush"]


@pytest.mark.parametrize("text", ["", "\0", ":", "a:\n  b", "  checkpoints: /nowhere", "a:\n base_path: ~who?\n loras: x", "- [" * 1000])
def test_an_odd_file_of_paths_names_nothing(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    assert elsewhere(tmp_path / "x.yaml") == []


def test_a_folder_of_ones_own_keeps_its_name(tmp_path):
    for path in ("Lora/people/ada.safetensors", "styles/ink.safetensors", "sdxl/ink.safetensors"):
        lora(tmp_path / path)
    assert list(index(tmp_path).cards()) == ["embedded", "people/ada", "sdxl/ink", "styles/ink"]


def test_the_size_is_that_of_what_is_loaded(tmp_path):
    path = sparse(tmp_path / "x.safetensors", {"double_blocks.0.weight": (1000, 1000)})
    folder = tiny_folder(tmp_path / "folder")
    cards = index(tmp_path).cards()
    assert cards["x"].size == path.stat().st_size and cards["folder"].size == sum(file.stat().st_size for file in folders.used(folder))
