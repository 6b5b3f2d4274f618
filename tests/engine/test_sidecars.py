"""Copies of models that load fast: the same numbers to the last bit, safe from whatever happens to the model's own files, within the disk."""

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_ui.engine import memory, sidecar
from sd_ui.engine.device import Place, choose
from sd_ui.engine.load import load
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.sidecars import ABOUT, Sidecars
from sd_ui.models import header
from sd_ui.spec.cards import ModelCard
from tests import gguf_files
from tests.checkpoints import tiny_folder, tiny_single_file

CPU, BF16 = choose("cpu"), choose("cpu", "bf16")
PLENTY = 10**9
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or forks")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("published")
    return {"file": tiny_single_file(place / "file.safetensors", half=True), "folder": tiny_folder(place / "folder", depth=True)}


def carded(path: Path) -> ModelCard:
    return ModelCard(path.stem, "checkpoint", "sd1", path, "folder" if path.is_dir() else "file", path.stat().st_size)


def copies(folder: Path, room: int = PLENTY, spare: int = 0) -> Sidecars:
    return Sidecars(folder, room, least=0, spare=spare)


def on() -> None:
    """Nobody objects."""


def small(path: Path, value: float = 1.0) -> ModelCard:
    """A file of 4 KiB and a little: enough for what never looks into it."""
    save_file({"model.diffusion_model.x": torch.full((1024,), value)}, path)
    return carded(path)


def tensors(loaded: Loaded) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": tensor for part, module in loaded.components.items() for name, tensor in module.state_dict().items()}


def same(one: Loaded, other: Loaded) -> bool:
    mine, theirs = tensors(one), tensors(other)
    return mine.keys() == theirs.keys() and all(mine[name].dtype == theirs[name].dtype and torch.equal(mine[name], theirs[name]) for name in mine)


# ---------------------------------------------------------------- the same numbers
@pytest.mark.parametrize("layout", ["file", "folder"])
@pytest.mark.parametrize("place", [CPU, BF16, Place(torch.device("cpu"), torch.float16)], ids=["float32", "bfloat16", "float16"])
def test_a_model_loaded_from_its_copy_is_the_model(tmp_path, published, layout, place):
    card, kept = carded(published[layout]), copies(tmp_path)
    assert kept.wanted(card, place) and kept.make(card, place, on)
    assert kept.find(card, place) and not kept.wanted(card, place)
    slow, fast = load(card, None, place), load(card, None, place, sidecars=kept)
    assert same(slow, fast)
    assert (fast.model_hash, fast.vae_hash, fast.place) == (slow.model_hash, slow.vae_hash, slow.place)


@linux
def test_the_weights_stay_where_they_lie_and_are_counted_once(tmp_path, published):
    card, kept = carded(published["file"]), copies(tmp_path)
    kept.make(card, CPU, on)
    slow, fast = load(card, None, CPU), load(card, None, CPU, sidecars=kept)
    assert str(kept.find(card, CPU)) in Path("/proc/self/maps").read_text()
    weight = fast.denoiser.conv_in.weight
    assert weight.data_ptr() % sidecar.ALIGNED == 0 and weight.untyped_storage().nbytes() == weight.nbytes
    assert memory.size(fast.components.values()) == memory.size(slow.components.values())


def test_it_computes_the_same_bits(tmp_path, published):
    card, kept = carded(published["file"]), copies(tmp_path)
    kept.make(card, CPU, on)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def said(loaded: Loaded) -> torch.Tensor:
        text = torch.ones(2, 77, loaded.denoiser.config.cross_attention_dim)
        with torch.inference_mode():
            return loaded.denoiser(latents, 500, encoder_hidden_states=text, return_dict=False)[0]

    assert torch.equal(said(load(card, None, CPU)), said(load(card, None, CPU, sidecars=kept)))


def test_a_vae_that_may_want_float32_keeps_what_it_was_saved_in():
    assert sidecar.dtype_of("first_stage_model.decoder.conv_in.weight", "F32", torch.float16) == "F32"
    assert sidecar.dtype_of("vae/decoder.conv_in.weight", "F32", torch.float16) == "F32"
    assert sidecar.dtype_of("model.diffusion_model.out.2.weight", "F32", torch.float16) == "F16"
    assert sidecar.dtype_of("text_encoder/position_ids", "I64", torch.float32) == "I64"


def test_a_copy_is_a_safetensors_file_in_the_precision_asked_for(tmp_path, published):
    card, kept = carded(published["file"]), copies(tmp_path)
    kept.make(card, BF16, on)
    copy, source = header.read(kept.find(card, BF16)), header.read(card.path)
    assert {name: tensor.shape for name, tensor in copy.tensors.items()} == {name: tensor.shape for name, tensor in source.tensors.items()}
    assert {tensor.dtype for tensor in copy.tensors.values()} <= {"BF16", "I64"}


# ---------------------------------------------------------------- what happens to the model's own files
def test_a_model_overwritten_while_it_is_in_memory_stays_as_it_was(tmp_path):
    card, kept = carded(tiny_single_file(tmp_path / "model.safetensors", half=True)), copies(tmp_path / "copies")
    kept.make(card, CPU, on)
    fast = load(card, None, CPU, sidecars=kept)
    before = {name: tensor.clone() for name, tensor in tensors(fast).items()}
    card.path.write_bytes(b"")
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors(fast).items())
    assert kept.find(card, CPU) is None


def test_a_changed_model_has_no_copy_even_if_its_size_and_time_are_the_same(tmp_path):
    card, kept = small(tmp_path / "model.safetensors", 1.0), copies(tmp_path / "copies")
    kept.make(card, CPU, on)
    time_before = card.path.stat().st_mtime_ns
    time.sleep(0.02)  # the file system's own clock ticks
    small(card.path, 2.0)
    os.utime(card.path, ns=(time_before, time_before))
    assert kept.find(card, CPU) is None
    kept.sweep()
    assert not list((tmp_path / "copies").iterdir())


def test_a_copy_removed_while_it_is_in_use_serves_on(tmp_path, published):
    card, kept = carded(published["file"]), copies(tmp_path)
    kept.make(card, CPU, on)
    slow, fast = load(card, None, CPU), load(card, None, CPU, sidecars=kept)
    kept.drop(card, CPU)
    assert same(slow, fast)


# ---------------------------------------------------------------- damage
@pytest.mark.parametrize("damage", [b"", b"\0" * 64], ids=["cut off", "another header"])
def test_a_damaged_copy_is_not_used_and_is_made_anew(tmp_path, published, damage):
    card, kept = carded(published["file"]), copies(tmp_path)
    kept.make(card, CPU, on)
    copy = kept.find(card, CPU)
    whole = copy.read_bytes()
    copy.write_bytes(damage + whole[64:] if damage else whole[:-1])
    assert same(load(card, None, CPU, sidecars=kept), load(card, None, CPU))
    assert kept.wanted(card, CPU) and kept.make(card, CPU, on)
    assert kept.find(card, CPU).read_bytes() == whole


def test_one_wrong_byte_is_found_when_all_are_read(tmp_path):
    card, kept = small(tmp_path / "model.safetensors"), copies(tmp_path / "copies")
    kept.make(card, CPU, on)
    kept.check(card, CPU, on)
    copy = kept.find(card, CPU)
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    copies(tmp_path / "copies").check(card, CPU, on)
    assert kept.find(card, CPU) is None


def test_a_copy_that_can_never_be_loaded_is_not_made_for_ever(tmp_path):
    card, kept = small(tmp_path / "model.safetensors"), copies(tmp_path / "copies")
    for _ in range(2):
        assert kept.wanted(card, CPU) and kept.make(card, CPU, on)
        kept.drop(card, CPU)
    assert not kept.wanted(card, CPU)


def test_writing_that_is_called_off_leaves_nothing(tmp_path, published):
    class Enough(Exception):
        pass

    card, kept, calls = carded(published["file"]), copies(tmp_path), []

    def some() -> None:
        calls.append(1)
        if len(calls) > 100:
            raise Enough

    with pytest.raises(Enough):
        kept.make(card, CPU, some)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\2" + b"\0" * 7 + b"{}"], ids=["empty", "zeros", "another file"])
def test_a_model_overwritten_between_two_looks_ends_the_writing_with_an_error(tmp_path, data):
    entries = sidecar._entries(small(tmp_path / "model.safetensors").path, torch.float32, "")
    (tmp_path / "model.safetensors").write_bytes(data)
    with (tmp_path / "model.safetensors").open("rb", buffering=0) as file, pytest.raises(OSError, match="meanwhile"):
        list(sidecar._tensors(file, entries, on))


@linux
def test_a_process_killed_while_it_writes_leaves_no_copy_and_its_rest_is_swept(tmp_path):
    path, calls = tmp_path / "model.safetensors", []
    save_file({f"model.diffusion_model.{i}": torch.ones(8) for i in range(9)}, path)  # so small that the child needs none of torch's threads
    card, kept = carded(path), copies(tmp_path / "copies")

    def killed() -> None:
        calls.append(1)
        if len(calls) > 5:
            os._exit(9)

    if (child := os.fork()) == 0:
        kept.make(card, CPU, killed)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (left,) = (tmp_path / "copies").iterdir()
    assert list(left.iterdir()) and kept.find(card, CPU) is None
    kept.sweep()
    assert left.exists()  # it may be somebody else's who still writes
    for file in (*left.iterdir(), left):
        os.utime(file, (0, 0))
    kept.sweep()
    assert not left.exists()


# ---------------------------------------------------------------- the disk
def test_the_least_recently_used_copies_leave_when_the_room_is_taken(tmp_path):
    cards = [small(tmp_path / f"{name}.safetensors") for name in "abc"]
    kept = copies(tmp_path / "copies", room=11_000)
    for i, card in enumerate(cards[:2]):
        assert kept.make(card, CPU, on)
        os.utime(kept.find(card, CPU).parent / ABOUT, (i, i))
    kept.find(cards[0], CPU)  # used again
    assert kept.make(cards[2], CPU, on)
    assert [bool(kept.find(card, CPU)) for card in cards] == [True, False, True]


@pytest.mark.parametrize("kept", [{"room": 0}, {"room": 100}, {"room": PLENTY, "spare": 2**60}], ids=["off", "too small", "the disk is full"])
def test_without_room_there_is_no_copy_and_the_model_is_loaded(tmp_path, kept):
    card, none = carded(tiny_single_file(tmp_path / "model.safetensors")), copies(tmp_path / "copies", **kept)
    assert not none.make(card, CPU, on) and none.find(card, CPU) is None
    assert load(card, None, CPU, sidecars=none).denoiser is not None


def test_with_less_room_than_before_the_rest_leaves(tmp_path):
    cards = [small(tmp_path / f"{name}.safetensors") for name in "ab"]
    kept = copies(tmp_path / "copies")
    for i, card in enumerate(cards):
        kept.make(card, CPU, on)
        os.utime(kept.find(card, CPU).parent / ABOUT, (i, i))
    copies(tmp_path / "copies", room=6_000).sweep()
    assert [bool(kept.find(card, CPU)) for card in cards] == [False, True]
    copies(tmp_path / "copies", room=0).sweep()
    assert not list((tmp_path / "copies").iterdir())


def test_copies_of_models_that_are_gone_leave(tmp_path):
    card, kept = small(tmp_path / "model.safetensors"), copies(tmp_path / "copies")
    kept.make(card, CPU, on)
    card.path.unlink()
    kept.sweep()
    assert not list((tmp_path / "copies").iterdir())


def test_two_writers_at_once_make_one_whole_copy(tmp_path, published):
    card = carded(published["folder"])
    writers = [threading.Thread(target=copies(tmp_path).make, args=(card, CPU, on)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    kept = copies(tmp_path)
    kept.check(card, CPU, on)
    assert same(load(card, None, CPU, sidecars=kept), load(card, None, CPU))


# ---------------------------------------------------------------- which models have one
def test_quantised_weights_and_unknown_families_have_no_copy(tmp_path, published):
    save_file({"model.diffusion_model.x": torch.ones(8).to(torch.float8_e4m3fn)}, tmp_path / "eight.safetensors")
    kept = copies(tmp_path / "copies")
    assert not kept.wanted(carded(tmp_path / "eight.safetensors"), CPU)
    for kind in ("Q8_0", "F16"):
        gguf_files.write(tmp_path / f"{kind}.gguf", {"model.diffusion_model.x": torch.ones(8, 32)}, lambda name, tensor, kind=kind: kind)
        assert not kept.wanted(carded(tmp_path / f"{kind}.gguf"), CPU)
    assert not kept.wanted(replace(carded(published["file"]), family="flux"), CPU)


def test_a_small_model_has_none_since_it_loads_fast_anyway(tmp_path, published):
    assert not Sidecars(tmp_path, PLENTY).wanted(carded(published["file"]), CPU)
