"""The command line: what it prints, where it writes, and how it ends."""

import io
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sd_ui.cli import main, parser
from sd_ui.draw import Bar, draw
from sd_ui.imaging import record
from sd_ui.jobs.database import Database
from sd_ui.jobs.measurements import Measurements
from sd_ui.jobs.queue import Job
from sd_ui.settings import Settings
from sd_ui.spec.delivery import Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.events import Drawn, Loading, Stepped
from sd_ui.spec.fields import FIELDS
from sd_ui.spec.made import Made
from sd_ui.spec.measured import Measured, Seconds
from sd_ui.spec.request import GenerationRequest, Inpaint
from tests.loras import write

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class FlatEngine:
    """Draws grey pictures, and keeps what it was asked for."""

    def __init__(self, breaks=False):
        self.breaks, self.asked = breaks, []

    def opened(self, settings, models, blobs):
        return self

    def generate(self, request, delivery):
        self.asked.append(request)
        yield Loading("flat")
        for index in range(request.count):
            yield Stepped(1, 1)
            if self.breaks:
                raise RuntimeError("out of memory")
            rgb = bytes([100 + index]) * (3 * request.width * request.height)
            yield Drawn(index, request.seed_of(index), request.width, request.height, rgb, Made(app="0"), ("grey, sorry",))


def drawn(engine=None, mode="txt2img", settings=None, output=Path("out"), **values):
    return draw(settings or Settings(), mode, values, output, open_engine=(engine or FlatEngine()).opened)


def run(*argv, environ=None):
    return main(list(argv), environ or {})


# ---------------------------------------------------------------- generate
def test_pictures_are_written_with_what_made_them():
    result = drawn(prompt="a cube", seed="7", batch_count="2", steps="3")
    assert [path.name for path in result.files] == ["drawn-7.png", "drawn-8.png"] and result.notes == ("grey, sorry",)
    for path, written in zip(result.files, result.written, strict=True):
        assert record.read(path.read_bytes()).record == written.record
    told = result.as_json()
    assert [row["seed"] for row in told["files"]] == [7, 8] and told["files"][0]["record"]["request"]["prompt"] == "a cube"
    json.dumps(told)


def test_a_picture_never_replaces_another():
    names = [drawn(seed=3).files[0].name for _ in range(3)]
    assert names == ["drawn-3.png", "drawn-3-2.png", "drawn-3-3.png"]


def test_without_a_folder_they_lie_with_those_of_the_page():
    (path,) = drawn(output=None, seed=1).files
    assert path.parent.parent == Path("outputs") and path.is_file()


@pytest.mark.parametrize(("format", "ending"), [("jpeg", "jpg"), ("webp", "webp")])
def test_other_formats_are_on_request(format, ending):
    (path,) = drawn(settings=Settings(format=format), seed=1).files
    assert path.suffix == f".{ending}" and record.read(path.read_bytes()).record is not None


def test_a_text_without_room_in_a_jpeg_is_said():
    said = drawn(settings=Settings(format="jpeg"), prompt="purple " * 4_500, negative_prompt="purple " * 4_500).notes
    assert [note for note in said if "JPEG" in note or "EXIF" in note], said


def test_pictures_are_given_as_files(elsewhere):
    Image.new("RGB", (64, 64), "red").save("init.png")
    Image.new("L", (64, 64), 255).save("mask.png")
    engine = FlatEngine()
    drawn(engine, "inpaint", init="init.png", mask="mask.png", strength="0.5", prompt="x")
    source = engine.asked[0].source
    assert isinstance(source, Inpaint) and source.strength == 0.5 and source.mask != source.image


def test_what_was_changed_on_the_way_in_is_said():
    assert drawn(width="513", seed=1).notes[0].startswith("Width 513 became 512")


def test_a_failure_of_the_engine_comes_through_and_writes_nothing(elsewhere):
    with pytest.raises(RuntimeError, match="out of memory"):
        drawn(FlatEngine(breaks=True), seed=1)
    assert list((elsewhere / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--steps", "0"], "steps: '0' is out of range (1 to 150)"),
        (["--steps", "1e6"], "steps:"),
        (["--cfg-scale", "nan"], "cfg_scale:"),
        (["--seed", "-2"], "seed:"),
        (["--width", "1000000000"], "width:"),
        (["--sampler", "Eular"], "did you mean Euler"),
        (["--model", "../../x"], "model: '../../x' is not known"),
        (["--model", "a\x01b"], "model:"),
        (["--vae", "none.pt"], "vae:"),
        (["--mode", "img2img"], "init: is missing; give a picture"),
        (["--mode", "img2img", "--init", "none.png"], "init: 'none.png' cannot be read"),
        (["--mode", "img2img", "--init", "text.png"], "init:"),
        (["--mode", "img2img", "--init", "."], "init: '.' cannot be read"),
        (["--quality", "0"], "quality: 0 is out of range"),
        (["--max-steps", "10", "--steps", "11"], "steps: 11 is more than this server allows"),
        (["--device", "toaster"], "device: 'toaster' is not allowed"),
        (["--output", "text.png"], "output: 'text.png' cannot be made"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(elsewhere, capsys, argv, says):
    (elsewhere / "text.png").write_text("I am no picture")
    assert run("generate", "--prompt", "x", *argv) == 2
    out, err = capsys.readouterr()
    assert says in err and out == "" and "Traceback" not in err


def test_every_field_is_a_flag():
    generate = parser()._subparsers._group_actions[0].choices["generate"]
    flags = {flag for action in generate._actions for flag in action.option_strings}
    assert {"--" + name.replace("_", "-") for name in FIELDS} <= flags
    assert all(action.help for action in generate._actions)


def test_a_progress_bar_is_for_those_who_watch():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for out, said in ((Terminal(), True), (io.StringIO(), False)):
        bar = Bar(out)
        bar.show(Loading("a model"))
        bar.show(Stepped(3, 4, picture=2, count=5, remaining=6.4))
        bar.clear()
        assert ("[##################......] picture 2/5, step 3/4, 6 s left" in out.getvalue()) == said


def test_the_embedded_model_draws_from_the_command_line(elsewhere):
    words = ["generate", "--prompt", "cube", "--seed", "1", "--steps", "2", "--width", "64", "--height", "64", "--output", "out", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "sd_ui", *words],
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    (told,) = json.loads(ended.stdout)["files"]
    with Image.open(told["file"]) as picture:
        assert picture.size == (64, 64) and len(set(picture.get_flattened_data())) > 10
    assert told["record"]["made"]["steps_run"] == 2 and told["record"]["request"]["seed"] == 1


# ---------------------------------------------------------------- the others
def test_models_are_listed_with_what_they_can_do(elsewhere, capsys):
    (elsewhere / "models").mkdir()
    (elsewhere / "models" / "broken.safetensors").write_bytes(b"\x80\x04pickle")
    assert run("models", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["embedded"]["modes"] == ["txt2img", "img2img", "inpaint", "depth2img"] and rows["broken"]["fault"]
    assert run("models") == 0
    assert "broken  (checkpoint, 0 MB): cannot be used: " in capsys.readouterr().out


def test_info_reads_a_picture_back(capsys):
    (path,) = drawn(prompt="a cube", seed=7).files
    assert run("info", str(path)) == 0
    out = capsys.readouterr().out
    assert out.startswith("a cube\nSteps: ") and '"seed": 7' in out
    assert run("info", str(path), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["record"]["seed"] == 7 and "Seed: 7" in told["infotext"]


def test_info_reads_recipes_of_other_programs(elsewhere, capsys):
    text = PngInfo()
    text.add_text("invokeai_metadata", json.dumps({"positive_prompt": "a mill++", "steps": 9, "seed": 4, "scheduler": "euler", "seamless_x": True}))
    Image.new("RGB", (8, 8)).save("mill.png", pnginfo=text)
    assert run("info", "mill.png") == 0
    out = capsys.readouterr().out
    assert "InvokeAI, for txt2img\nPrompt: a (mill:1.21)\n" in out and out.endswith("seamless_x: true\n")
    assert run("info", "mill.png", "--json") == 0
    told = json.loads(capsys.readouterr().out)["recipe"]
    assert told["program"] == "InvokeAI" and told["values"]["steps"] == 9 and told["others"] == {"seamless_x": "true"}


def test_info_about_a_picture_that_says_nothing(elsewhere, capsys):
    Image.new("RGB", (8, 8)).save("plain.png")
    assert run("info", "plain.png") == 0
    assert "says nothing" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["none.png", "text.txt"])
def test_info_about_no_picture_ends_with_2(elsewhere, capsys, name):
    (elsewhere / "text.txt").write_text("hello")
    assert run("info", name) == 2 and "file: " in capsys.readouterr().err


def test_a_wrong_setting_ends_with_2_wherever_it_comes_from(capsys):
    assert run("models", environ={"SDUI_PORT": "0"}) == 2
    assert "port: '0' is not allowed (from SDUI_PORT)" in capsys.readouterr().err


def test_loras_are_listed_with_the_tag_that_asks_for_them(elsewhere, capsys):
    import torch

    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": torch.zeros(4, 768), f"{layer}.lora_up.weight": torch.zeros(320, 4)}
    write(elsewhere / "models" / "Lora" / "ink.safetensors", tensors, **{"modelspec.trigger_phrase": "ink wash"})
    assert run("models") == 0
    assert "ink  (LoRA, sd1, 0 MB): <lora:ink:1> with words such as ink wash" in capsys.readouterr().out
    assert run("models", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out) if row["kind"] == "lora"}
    assert rows.keys() == {"dawn", "ink"}  # the first one is in the box
    row = rows["ink"]
    assert (row["method"], row["rank"], row["triggers"], row["fault"]) == ("LoRA", 4, ["ink wash"], "")


def test_a_folder_of_models_that_is_not_there_is_said(elsewhere, capsys):
    assert run("models") == 0 and not capsys.readouterr().err, "the usual one need not be there"
    assert run("models", "--models-dir", "typo") == 0
    assert capsys.readouterr().err == "models_dir: 'typo' is not a folder, so no models come from there\n"
    assert run("doctor", "--wildcards-dir", "typo", "--styles-file", "typo.csv") == 0
    said = capsys.readouterr().err
    assert "wildcards_dir: 'typo' is not a folder" in said and "styles_file: 'typo.csv' is not there" in said


@pytest.mark.parametrize("argv", [[], ["paint"], ["serve", "--prot", "1"], ["generate", "--mode", "video"], ["generate", "--promt", "x"]])
def test_a_flag_that_does_not_exist_is_refused(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        run(*argv)
    assert ended.value.code == 2 and capsys.readouterr().err


def test_help_is_there_for_every_command(capsys):
    for command in ("serve", "generate", "models", "info", "doctor"):
        with pytest.raises(SystemExit) as ended:
            run(command, "--help")
        assert ended.value.code == 0 and len(capsys.readouterr().out) > 100


def test_the_help_of_generate_says_what_is_allowed_and_what_is_usual(capsys):
    with pytest.raises(SystemExit):
        run("generate", "--help")
    said = " ".join(capsys.readouterr().out.split())
    for words in ("1 to 150. Default: the model's own.", "Allowed: 0 to 1. Default: 0.75.", "Default: Crop and resize.", "Allowed: -1 for a random"):
        assert words in said


def test_input_pictures_fail_in_words_too(elsewhere):
    Path("half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(BadRequest) as error:
        drawn(mode="img2img", init="half.png")
    assert error.value.field == "init"


def test_a_dry_run_says_what_would_be_and_leaves_nothing(elsewhere, capsys):
    assert run("generate", "--prompt", "a red cube", "--width", "512", "--height", "512", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "Nothing has been measured here yet" in said and "warn: " in said and "(width)" in said
    assert run("generate", "--steps", "0", "--dry-run", "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert told["refused"] and told["lines"][0]["field"] == "steps"
    assert run("generate", "--mode", "img2img", "--init", "missing.png", "--dry-run") == 2
    assert "refuse: " in capsys.readouterr().out
    assert not [path for path in elsewhere.rglob("*") if path.suffix in (".png", ".db")]


def test_a_dry_run_knows_what_a_server_measured(elsewhere, capsys):
    with closing(Database(Path("outputs/sd_ui.db"))) as database:
        job = Job("1", 1, "a", GenerationRequest("a cat", width=128, height=128), Delivery(preview="off"), "done", "", "")
        measured = Measured("CPU", "float32", calls=20, seconds=Seconds(sampling=4.0, decoding=0.5, whole=5.0))
        Measurements(database, lambda name: ("sd1", 8_717_772)).add(job, measured)
        assert run("generate", "--prompt", "a cat", "--dry-run", "--json") == 0  # while the server has the folder
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == 1 and told["basis"] == "own" and 3 < told["seconds"] < 8
