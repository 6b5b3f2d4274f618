"""Models come from a hub whole or not at all: what is fetched, what is refused before, and what happens when something breaks on the way."""

import errno
import io
import json
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from sd_ui.hub import console, plan
from sd_ui.hub.downloads import DONE, FAILED, RUNNING, STOPPED, Downloads
from sd_ui.hub.fetch import MARGIN, PLAN, STAGING, Fetcher, Stopped, folder_of
from sd_ui.hub.hub import Hub
from sd_ui.hub.names import Wanted, parsed
from sd_ui.models import folders
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.values import unknown_model
from tests.hub.fakehub import COMMIT, FakeHub, serving
from tests.models import library

ROOM = 10**12
WHOLE = "artist/photo-real"
CLASSES = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
           "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"],
           "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "feature_extractor": [None, None]}  # fmt: skip


def weights(folder: Path, rank: int = 4) -> bytes:
    return library.lora(folder / "weights.safetensors", rank=rank).read_bytes()


def whole_model(folder: Path) -> dict[str, bytes]:
    """A diffusers folder as it is published: two precisions, pickles, a safety checker."""
    full, half = weights(folder, 8), weights(folder, 4)
    files = {"model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline", **CLASSES}).encode(), "README.md": b"# hello"}
    files |= {f"{part}/config.json": b"{}" for part in ("unet", "vae", "text_encoder", "safety_checker")}
    files |= {f"tokenizer/{name}": b"{}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json")}
    files |= {"scheduler/scheduler_config.json": b"{}", ".gitattributes": b"*", "v1-5.ckpt": b"\x80", "unet/model.onnx": b"onnx"}
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("safety_checker", "model"),
    ):
        files |= {f"{part}/{stem}.safetensors": full, f"{part}/{stem}.fp16.safetensors": half, f"{part}/{stem}.bin": b"\x80"}
    return files


@pytest.fixture
def fake(tmp_path):
    lora = weights(tmp_path)
    repositories = {
        WHOLE: whole_model(tmp_path),
        "artist/ink": {"ink.safetensors": lora, "README.md": b"x", "ink.ckpt": b"\x80"},
        "artist/many": {"a.safetensors": lora, "b.safetensors": weights(tmp_path, 8)},
    }
    with serving(FakeHub(repositories)) as fake:
        yield fake


@pytest.fixture
def fetcher(fake, tmp_path):
    return Fetcher(Hub(fake.endpoint), tmp_path / "models", lambda folder: ROOM, pause=0.001)


def planned(fetcher, text):
    return plan.planned(fetcher.hub, parsed(text, fetcher.hub.hosts))


def fetched(fetcher, text, stopping=None):
    counts = []
    target = fetcher.fetch(planned(fetcher, text), counts.append, stopping or threading.Event())
    return target, sum(counts)


def refusal(fetcher, text) -> str:
    with pytest.raises(BadRequest) as refused:
        planned(fetcher, text)
    return refused.value.why


# ---------------------------------------------------------------- what is fetched
def test_a_file_is_fetched_and_is_a_model_at_once(fetcher, fake):
    target, count = fetched(fetcher, "artist/ink")
    assert target == fetcher.models / "artist" / "ink" / "ink.safetensors"
    assert target.read_bytes() == fake.repositories["artist/ink"]["ink.safetensors"] and count == target.stat().st_size
    card = library.index(fetcher.models).card("artist/ink/ink")
    assert card.kind == "lora" and not card.fault and not list((fetcher.models / STAGING).iterdir())


def test_of_a_folder_only_what_is_loaded_is_fetched_and_weights_in_half_precision(fetcher, fake):
    found = planned(fetcher, WHOLE)
    assert found.half and [file.name for file in found.files] == sorted(
        (file.name for file in found.files), key=lambda n: len(fake.repositories[WHOLE][n])
    )
    target, count = fetched(fetcher, WHOLE)
    names = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    parts = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
    wanted = {f"{part}/{stem}.fp16.safetensors" for part, stem in parts.items()} | {f"{part}/config.json" for part in parts}
    wanted |= {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
    }
    assert names == wanted and count == found.size
    assert all((target / name).read_bytes() == fake.repositories[WHOLE][name] for name in names)
    assert folders.weights(target / "unet")[0].name == "diffusion_pytorch_model.fp16.safetensors"


def test_other_families_bring_their_own_parts(fetcher, fake, tmp_path):
    parts = {"transformer": ["diffusers", "FluxTransformer2DModel"], "text_encoder_2": ["transformers", "T5EncoderModel"], "vae": CLASSES["vae"]}
    index = {"_class_name": "FluxPipeline", **parts, "tokenizer_2": ["transformers", "T5TokenizerFast"], "image_encoder": ["x", "y"]}
    stems = {"transformer": "diffusion_pytorch_model", "text_encoder_2": "model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
    files = {f"{part}/{stem}.safetensors": weights(tmp_path) for part, stem in stems.items()} | {f"{part}/config.json": b"{}" for part in stems}
    files |= {"tokenizer_2/spiece.model": b"x" * 2000, "tokenizer_2/tokenizer.json": b"{}", "flux1-dev.safetensors": weights(tmp_path)}
    fake.repositories["artist/flux"] = files | {"model_index.json": json.dumps(index).encode()}
    names = {file.name for file in planned(fetcher, "artist/flux").files}
    assert names == {name for name in files if "/" in name and not name.startswith("image_encoder")} | {"model_index.json"}


def test_pieces_come_with_their_table_or_not_at_all(fetcher, fake):
    model = fake.repositories[WHOLE]
    for name in [name for name in model if name.startswith("unet/diffusion")]:
        del model[name]
    pieces = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    table = {"unet/diffusion_pytorch_model.safetensors.index.json": b"{}"}
    model |= table | dict.fromkeys(pieces, b"x" * 2000) | {"unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors": b"half of a half"}
    names = {file.name for file in planned(fetcher, WHOLE).files}
    assert {*pieces, *table} <= names and not any(name.startswith("unet/") and "fp16" in name for name in names)


def test_a_vae_is_fetched_without_what_lies_beside_it(fetcher, fake, tmp_path):
    files = {"config.json": b'{"_class_name": "AutoencoderKL"}', "diffusion_pytorch_model.safetensors": weights(tmp_path), "vae.ckpt": b"\x80"}
    fake.repositories["artist/vae"] = files
    target, _ = fetched(fetcher, "artist/vae")
    assert {path.name for path in target.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"} and folders.is_vae(target)


def test_of_several_files_one_has_to_be_named(fetcher):
    with pytest.raises(plan.Several) as asked:
        planned(fetcher, "artist/many")
    assert [file.name for file in asked.value.choices] == ["a.safetensors", "b.safetensors"] and "choose one" in asked.value.why
    target, _ = fetched(fetcher, "artist/many/b.safetensors")
    assert target.name == "b.safetensors" and fetched(fetcher, "artist/many/a.safetensors")[0].parent == target.parent


def test_the_listing_is_what_huggingface_hub_reads(fake, fetcher):
    """The fake speaks as the real one: its own client says the same of a repository."""
    code = f"""
import huggingface_hub as h
api = h.HfApi(endpoint={fake.endpoint!r}, token=False)
info = api.model_info({WHOLE!r}, files_metadata=True)
print(info.sha, *sorted(f"{{s.rfilename}}={{s.size}}={{s.lfs.sha256 if s.lfs else s.blob_id}}" for s in info.siblings), sep="\\n")"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"HF_HUB_OFFLINE": "0", "PATH": "", "HOME": str(fetcher.models)}
    )
    found = fetcher.hub.repository(Wanted(WHOLE))
    ours = [found.commit, *sorted(f"{file.name}={file.size}={file.sha256 or file.blob}" for file in found.files)]
    assert ended.stdout.split("\n")[:-1] == ours, ended.stderr


# ---------------------------------------------------------------- what is refused before a byte of it comes
def test_what_could_not_be_used_is_said_before_it_is_fetched(fetcher, fake, tmp_path):
    fake.repositories |= {
        "a/pickles": {"model.ckpt": b"\x80", "pytorch_lora_weights.bin": b"\x80"},
        "a/nothing": {"README.md": b"x"},
        "a/strange": {"x.safetensors": library.sparse(tmp_path / "x.safetensors", {"edm_mean": (4,), "other": (2000,)}).read_bytes()},
        "a/page": {"x.safetensors": b"<html>" * 1000},
        "a/video": {"model_index.json": b'{"_class_name": "WanPipeline"}'},
        "a/control": {"config.json": b'{"_class_name": "ControlNetModel"}', "diffusion_pytorch_model.safetensors": b"x" * 2000},
    }
    assert "only pickles" in refusal(fetcher, "a/pickles") and "no model" in refusal(fetcher, "a/nothing")
    assert "Playground" in refusal(fetcher, "a/strange") and "damaged" in refusal(fetcher, "a/page")
    assert "WanPipeline" in refusal(fetcher, "a/video") and "ControlNetModel" in refusal(fetcher, "a/control")
    assert "pickle" in refusal(fetcher, "artist/ink/ink.ckpt") and "no file" in refusal(fetcher, "artist/ink/other.safetensors")
    assert not fetcher.models.exists()


def test_parts_that_are_only_pickles_are_named(fetcher, fake):
    del (
        fake.repositories[WHOLE]["unet/diffusion_pytorch_model.safetensors"],
        fake.repositories[WHOLE]["unet/diffusion_pytorch_model.fp16.safetensors"],
    )
    assert "unet" in refusal(fetcher, WHOLE) and "pickle" in refusal(fetcher, WHOLE)


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/evil.safetensors", "a\\..\\evil.safetensors", "unet/../../evil.json", "C:evil.safetensors"]
)
def test_names_that_lead_out_of_the_folder_are_refused(fetcher, fake, name):
    fake.repositories["artist/ink"][name] = b"x" * 2000
    assert "not safe" in refusal(fetcher, "artist/ink")


def test_a_model_that_is_not_there_private_or_gated_says_what_to_do(fetcher, fake):
    assert "is not on 127.0.0.1, or it is private" in refusal(fetcher, "no/body") and "HF_TOKEN" in refusal(fetcher, "no/body")
    assert "no revision v9" in refusal(fetcher, "artist/ink@v9")
    fake.gated.add("artist/ink")
    assert "/artist/ink and agree" in refusal(fetcher, "artist/ink") and "HF_TOKEN" in refusal(fetcher, "artist/ink")
    known = replace(fetcher, hub=replace(fetcher.hub, token="hf_secret"))
    assert fetched(known, "artist/ink")[0].is_file()


def test_the_token_is_told_to_the_hub_alone(fetcher, fake):
    with serving(FakeHub(fake.repositories)) as other:
        fake.elsewhere = other.endpoint
        known = replace(fetcher, hub=replace(fetcher.hub, token="hf_secret"))
        assert fetched(known, "artist/ink")[0].is_file()
        assert {said for _, _, said in fake.asked} == {"Bearer hf_secret"} and {said for _, _, said in other.asked} == {""}


def test_a_hub_that_cannot_be_asked_is_said_at_once(fetcher, fake):
    assert "HF_HUB_OFFLINE" in refusal(replace(fetcher, hub=replace(fetcher.hub, offline=True)), "artist/ink") and not fake.asked
    gone = replace(fetcher, hub=Hub("http://127.0.0.1:9"))
    assert "cannot be reached" in refusal(gone, "artist/ink") and "online" in refusal(gone, "artist/ink")
    fake.status = 503
    assert "busy" in refusal(fetcher, "artist/ink")


def test_what_does_not_fit_on_the_disk_is_not_begun(fetcher, fake):
    full = replace(fetcher, free=lambda folder: MARGIN)
    with pytest.raises(BadRequest, match="to spare; the disk of the models folder has"):
        fetched(full, "artist/ink")
    assert not fetcher.models.exists()


def test_what_is_there_already_is_not_fetched_again(fetcher):
    fetched(fetcher, "artist/ink")
    with pytest.raises(BadRequest, match="already"):
        fetched(fetcher, "artist/ink")


# ---------------------------------------------------------------- what breaks on the way
def test_a_broken_connection_goes_on_where_it_was(fetcher, fake):
    found = planned(fetcher, "artist/ink")
    fake.asked.clear()
    fake.cuts = [3000, 2000]
    assert fetcher.fetch(found, lambda count: None, threading.Event()).read_bytes() == fake.repositories["artist/ink"]["ink.safetensors"]
    assert fake.ranges("ink.safetensors") == ["", "bytes=3000-", "bytes=5000-"]


def test_a_server_that_knows_no_parts_sends_it_all_again(fetcher, fake):
    found = planned(fetcher, "artist/ink")
    fake.cuts, fake.whole = [3000], True
    counts = []
    target = fetcher.fetch(found, counts.append, threading.Event())
    assert target.read_bytes() == fake.repositories["artist/ink"]["ink.safetensors"] and sum(counts) == found.size and -3000 in counts


def test_a_hub_that_is_gone_for_good_leaves_what_has_come_for_another_day(fetcher, fake):
    found = planned(fetcher, "artist/ink")
    fake.cuts = [3000, *[0] * 20]
    with pytest.raises(BadRequest, match="what has come is kept"):
        fetcher.fetch(found, lambda count: None, threading.Event())
    assert fetcher.present(found) == 3000 and library.index(fetcher.models).find("ink") == []
    fake.cuts.clear()
    another = Fetcher(fetcher.hub, fetcher.models, fetcher.free)  # the program was started again
    assert another.unfinished() == [found] and another.fetch(found, lambda count: None, threading.Event()).is_file()
    assert fake.ranges("ink.safetensors")[-1] == "bytes=3000-" and another.unfinished() == []


def test_of_a_repository_that_has_changed_since_only_what_is_the_same_stays(fetcher, fake, tmp_path):
    """Another state of the same model: its weights have the same names and sizes."""
    found = planned(fetcher, WHOLE)
    last = found.files[-1]
    fake.cuts = [*[10**9] * (len(found.files) - 1), *[0] * 20]
    with pytest.raises(BadRequest, match="what has come is kept"):
        fetcher.fetch(found, lambda count: None, threading.Event())
    changed = next(file.name for file in found.files[:-1] if file.size == last.size)
    data = fake.repositories[WHOLE][changed]
    fake.repositories[WHOLE][changed] = data[:-1] + bytes([data[-1] ^ 1])
    fake.cuts.clear()
    now = planned(fetcher, WHOLE)
    assert now.key == found.key and fetcher.present(now) == fetcher.present(found) - last.size == found.size - 2 * last.size
    target = fetcher.fetch(now, lambda count: None, threading.Event())
    assert all((target / file.name).read_bytes() == fake.repositories[WHOLE][file.name] for file in now.files)


def test_bytes_that_are_not_the_ones_that_were_promised_never_become_a_model(fetcher, fake):
    found = planned(fetcher, "artist/ink")
    fake.lies["ink.safetensors"] = fake.repositories["artist/ink"]["ink.safetensors"][:-1] + b"?"
    counts = []
    with pytest.raises(BadRequest, match="came damaged"):
        fetcher.fetch(found, counts.append, threading.Event())
    assert fetcher.present(found) == sum(counts) == 0 and not fetcher.target(found).exists()
    fake.lies["ink.safetensors"] = b"?" * 50_000
    with pytest.raises(BadRequest, match="came damaged"):
        fetcher.fetch(found, counts.append, threading.Event())


def test_a_small_file_is_checked_by_the_hash_of_git(fetcher, fake):
    found = planned(fetcher, WHOLE)
    fake.lies["unet/config.json"] = b"[]"
    with pytest.raises(BadRequest, match="came damaged"):
        fetcher.fetch(found, lambda count: None, threading.Event())
    assert not fetcher.target(found).exists() and library.index(fetcher.models).find("photo-real") == []


def test_a_disk_that_fills_up_on_the_way_is_said(fetcher):
    def written(count: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BadRequest, match="is full; make room, and it goes on"):
        fetcher.fetch(planned(fetcher, "artist/ink"), written, threading.Event())


def test_whoever_changes_their_mind_stops_it_between_two_chunks(fetcher, fake):
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Stopped):
        fetched(fetcher, "artist/ink", stopping)
    assert not fetcher.target(planned(fetcher, "artist/ink")).exists()


def test_a_damaged_note_about_an_unfinished_fetch_is_passed_over(fetcher):
    for name, text in (("a--b", "{"), ("c--d", "{}"), ("e--f", json.dumps([1]))):
        (fetcher.models / STAGING / name).mkdir(parents=True)
        (fetcher.models / STAGING / name / PLAN).write_text(text)
    assert fetcher.unfinished() == []


# ---------------------------------------------------------------- in the background
def until(condition) -> None:
    ticks = threading.Event()
    while not condition():
        ticks.wait(0.005)


def test_a_fetch_is_watched_stopped_resumed_and_arrives(fetcher, fake):
    arrived = threading.Event()
    downloads = Downloads(fetcher, arrived.set)
    size = downloads.plan("artist/ink").size
    fake.held = threading.Event()
    downloads.begin("artist/ink")
    until(lambda: downloads.view()[0].done == size // 2)
    (one,) = downloads.view()
    assert (one.state, one.total, one.name) == (RUNNING, size, "artist/ink/ink.safetensors")
    downloads.begin("artist/ink")  # twice is once
    downloads.stop(one.key)
    fake.held.set()
    until(lambda: downloads.view()[0].state == STOPPED)
    fake.held = None
    downloads.resume(one.key)
    assert arrived.wait(20)
    until(lambda: downloads.view()[0].state == DONE)
    assert library.index(fetcher.models).card("artist/ink/ink").kind == "lora"
    downloads.discard(one.key)
    assert downloads.view() == [] and (fetcher.models / "artist" / "ink" / "ink.safetensors").is_file()
    downloads.close()


def test_what_an_earlier_program_left_is_there_to_go_on_with_or_to_throw_away(fetcher, fake):
    first = Downloads(fetcher, lambda: None)
    first.plan("artist/ink")
    fake.held = threading.Event()
    first.begin("artist/ink")
    until(lambda: first.view()[0].done)
    threading.Timer(0.01, fake.held.set).start()
    first.close()
    fake.held = None
    second = Downloads(fetcher, lambda: None)
    (one,) = second.view()
    assert one.state == STOPPED and 0 < one.done < one.total
    second.discard(one.key)
    assert second.view() == [] and not (fetcher.models / STAGING / one.key).exists()
    second.close()


def test_one_that_fails_says_why_and_the_next_one_comes_all_the_same(fetcher, fake):
    downloads = Downloads(fetcher, lambda: None)
    downloads.plan("artist/ink"), downloads.plan("artist/many/a.safetensors")
    fake.lies["ink.safetensors"] = b"?" * 50_000
    downloads.begin("artist/ink")
    downloads.begin("artist/many/a.safetensors")
    until(lambda: [one.state for one in downloads.view()] == [FAILED, DONE])
    assert "damaged" in downloads.view()[0].text
    downloads.close()


# ---------------------------------------------------------------- around it
def test_the_command_line_says_what_comes_and_where_it_lies(fetcher):
    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(told):
        assert console.get(fetcher, WHOLE, "", only_plan=True) == 0
    assert "unet/config.json" in said.getvalue() and "in half precision" in told.getvalue() and not fetcher.models.exists()
    with redirect_stdout(said), redirect_stderr(told):
        assert console.get(fetcher, WHOLE, "main", only_plan=False) == 0
    assert said.getvalue().strip().endswith(str(fetcher.models / "artist" / "photo-real"))


def test_a_model_that_is_not_here_is_not_fetched_for_the_asking_but_it_is_said_how(fake):
    assert "models get artist/ink" in unknown_model("artist/ink", ["embedded"])
    assert "models get" not in unknown_model("ink", ["embedded"]) and "models get" not in unknown_model("../ink", ["embedded"])
    assert not fake.asked


def test_models_go_into_the_first_folder_that_is_none_itself(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "model_index.json").write_text("{}")
    (tmp_path / "webui" / "models").mkdir(parents=True)
    for mark in ("webui.py", "launch.py"):
        (tmp_path / "webui" / mark).touch()
    assert folder_of((tmp_path / "one", tmp_path / "webui")) == tmp_path / "webui" / "models"
    assert folder_of((tmp_path / "none",)) == tmp_path / "none"


def test_a_hub_is_described_by_the_usual_variables(tmp_path):
    (tmp_path / "token").write_text("hf_kept\n")
    assert Hub.of({"HF_TOKEN": "hf_said", "HF_HOME": str(tmp_path)}).token == "hf_said"
    kept = Hub.of({"HF_HOME": str(tmp_path), "HF_ENDPOINT": "https://mirror.example/"})
    assert (kept.token, kept.endpoint) == ("hf_kept", "https://mirror.example") and "mirror.example" in kept.hosts
    assert Hub.of({"HF_HOME": str(tmp_path / "none")}).token == "" and COMMIT


def test_a_gguf_file_is_looked_into_before_it_is_fetched(fetcher, fake, tmp_path):
    import torch

    from tests import gguf_files

    names = ["img_in.weight", "double_blocks.0.img_attn.qkv.weight"]
    for name, tensors in (("x.gguf", {"some.weight": torch.zeros(64, 32)}), ("cut.gguf", dict.fromkeys(names, torch.zeros(64, 32)))):
        gguf_files.write(tmp_path / name, tensors, lambda name, tensor: "Q8_0", {"general.architecture": "llama"})
    cut = (tmp_path / "cut.gguf").read_bytes()[:-1000]
    fake.repositories["a/gguf"] = {"x.gguf": (tmp_path / "x.gguf").read_bytes(), "cut.gguf": cut}
    assert "could not be used here" in refusal(fetcher, "a/gguf/x.gguf") and "an interrupted download?" in refusal(fetcher, "a/gguf/cut.gguf")
