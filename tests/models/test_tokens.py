"""Token counts without torch: those of transformers' CLIPTokenizer, chunk by chunk as the engine cuts them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from sd_ui.models import tokens
from sd_ui.models.header import Unreadable
from sd_ui.models.index import ModelIndex
from sd_ui.spec.errors import BadRequest
from tests.checkpoints import tiny_vae_file, write_tokenizer

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "sd_ui" / "embedded"
TEXTS = (
    "", " ", "a photo of a cat", "A  PHOTO\n\tof a Cat!!!", "naïve café, Ångström", "e\u0301 é", "日本語の文", "🐈‍⬛ cat 🐈", "don't you're we've",
    "(masterpiece:1.2), [blurry], <lora:x:1>", "1234567890 3.14", "<|endoftext|> after the end", "<|startoftext|>", "a\u202eb", "x" * 500,
    "\u200b\ufeff", "ﬁ ﬂ ½", "_under_score_ -- ...", "word " * 200,
)  # fmt: skip
OURS = {folder: tokens.tokenizer(folder) for folder in (tokens.CLIP_L, EMBEDDED / "tokenizer")}
THEIRS = {folder: CLIPTokenizer.from_pretrained(folder) for folder in OURS}


@pytest.mark.parametrize("folder", OURS, ids=lambda folder: folder.parent.name)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_tokens_are_those_of_transformers(folder, text):
    theirs = THEIRS[folder](text, add_special_tokens=False, verbose=False).input_ids
    assert OURS[folder].encode(text, add_special_tokens=False).ids == theirs


@given(text=st.text(max_size=80))
def test_the_tokens_are_those_of_transformers_for_any_text(text):
    for folder, ours in OURS.items():
        assert ours.encode(text, add_special_tokens=False).ids == THEIRS[folder](text, add_special_tokens=False, verbose=False).input_ids


def test_the_bundled_tokenizer_is_clips():
    assert OURS[tokens.CLIP_L].encode("a photo of a cat").ids == [320, 1125, 539, 320, 2368]
    assert OURS[tokens.CLIP_L].get_vocab_size() == 49408


@pytest.mark.parametrize(("words", "room", "chunks"), [(0, 75, 1), (1, 75, 1), (75, 75, 1), (76, 150, 2), (150, 150, 2), (151, 225, 3)])
def test_a_long_text_begins_another_chunk(words, room, chunks):
    found = tokens.count(OURS[tokens.CLIP_L], "cat " * words, 77)
    assert (found.used, found.room, found.chunks) == (words, room, chunks)


def test_counting_imports_neither_torch_nor_transformers():
    program = (
        "import sys; from pathlib import Path; from sd_ui.models.index import ModelIndex\n"
        f"index = ModelIndex([], Path({str(EMBEDDED)!r}), Path({str(ROOT / 'presets' / 'models')!r}))\n"
        "assert index.tokens('embedded', 'a large red sphere').used == 4\n"
        "assert not {'torch', 'transformers', 'diffusers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_a_text_can_only_be_counted_for_a_usable_checkpoint(tmp_path):
    tiny_vae_file(tmp_path / "vae.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"")
    index = ModelIndex([tmp_path], EMBEDDED, ROOT / "presets" / "models")
    for name in ("vae", "broken", "missing"):
        with pytest.raises(BadRequest):
            index.tokens(name, "a cat")


@pytest.mark.parametrize(("file", "content"), [("vocab.json", "[]"), ("vocab.json", '{"a": "b"}'), ("vocab.json", "{"), ("merges.txt", "no such\n")])
def test_a_damaged_tokenizer_is_named(tmp_path, file, content):
    write_tokenizer(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(Unreadable, match="tokenizer"):
        tokens.tokenizer(tmp_path)
