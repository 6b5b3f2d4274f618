"""What people write to name a model of a hub."""

import pytest

from sd_ui.hub.names import Wanted, parsed, safe
from sd_ui.spec.errors import BadRequest

MEANT = {
    "owner/name": Wanted("owner/name"),
    "  owner/name/  ": Wanted("owner/name"),
    "owner/name@fp16": Wanted("owner/name", "fp16"),
    "owner/name/sub/model.safetensors": Wanted("owner/name", "", "sub/model.safetensors"),
    "hf://owner/name": Wanted("owner/name"),
    "https://huggingface.co/owner/name": Wanted("owner/name"),
    "huggingface.co/owner/name/": Wanted("owner/name"),
    "https://hf.co/owner/na.me-1_5/tree/main": Wanted("owner/na.me-1_5", "main"),
    "https://huggingface.co/owner/name/blob/fp16/v1%205.safetensors": Wanted("owner/name", "fp16", "v1 5.safetensors"),
    "https://huggingface.co/owner/name/resolve/main/a/b.gguf?download=true": Wanted("owner/name", "main", "a/b.gguf"),
}
REFUSED = (
    "", "   ", None, 7, "name", "../..", "owner/..", "/etc/passwd", "owner/na me", "owner/name/../../x.safetensors", "owner/name@../x", "a\0b/c",
    "https://example.com/owner/name", "https://huggingface.co.example.com/owner/name", "file:///etc/passwd", "https://user@[x/owner/name",
    "https://huggingface.co/datasets/owner/name", "owner/-x", "owner/name/.hidden.safetensors", "owner/" + "n" * 200,
)  # fmt: skip
UNSAFE = (
    "../x",
    "a/../../x",
    "/x",
    "a//x",
    "C:\\x",
    "C:x",
    "a\\..\\x",
    "a/.git/x",
    "a/con",
    "COM1.safetensors",
    "x ",
    "x.",
    "a\nb",
    "a" * 300,
    "a/b/c/d/e",
    "",
)


@pytest.mark.parametrize("text", MEANT)
def test_a_model_is_named_as_on_its_page(text):
    assert parsed(text) == MEANT[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_names_no_model_of_the_hub_is_refused_in_words(text):
    with pytest.raises(BadRequest, match="hub: "):
        parsed(text)


@pytest.mark.parametrize("name", UNSAFE)
def test_a_file_cannot_leave_its_folder(name):
    assert not safe(name)


def test_usual_names_of_files_are_safe():
    assert all(
        map(safe, ("unet/config.json", "v1-5 pruned.safetensors", "unet/model-00001-of-00002.safetensors", "modèle.gguf", "tokenizer/merges.txt"))
    )
