"""The whole program, killed in the middle of a picture and started again: the same picture, by the real engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sd_ui.imaging import record

ROOT = Path(__file__).parents[1]
SEEDS = (11, 12)
WITHOUT_PAGE = """
import sys
import time
from pathlib import Path
from sd_ui.services import open_services
from sd_ui.settings import read
from sd_ui.spec.events import Stepped

services = open_services(read(["--outputs-dir", sys.argv[1], "--models-dir", sys.argv[1]], {}))
jobs = services.queue.jobs("me")
if not jobs:
    for seed in sys.argv[2:]:
        values = {"prompt": "a large red cube on a white floor", "seed": seed, "steps": 20, "batch_count": 2, "sampler": "Euler a"}
        jobs.append(services.intake.submit("txt2img", values, "me")[0])
    print("submitted", flush=True)
services.worker.start()
while services.worker.state.phase == "starting":
    time.sleep(0.02)
assert services.worker.state.phase == "ready", services.worker.state.text
for job in jobs:
    for event in services.bus.watch(job.id):
        if isinstance(event, Stepped):
            print("step", event.picture, event.index, flush=True)
    print("ended", services.queue.get(job.id).state, flush=True)
services.close()
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def program(outputs: Path, *seeds: int) -> "subprocess.Popen[str]":
    told = [sys.executable, "-c", WITHOUT_PAGE, str(outputs), *map(str, seeds)]
    return subprocess.Popen(told, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def killed_when(outputs: Path, words: str) -> None:
    with program(outputs, *SEEDS) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(words):
                process.kill()
                return
    raise AssertionError(f"it ended before it said {words!r}")


def to_the_end(outputs: Path) -> list[str]:
    with program(outputs, *SEEDS) as process:
        assert process.stdout is not None
        said = [line.strip() for line in process.stdout]
    assert process.returncode == 0
    return said


def pictures(outputs: Path) -> dict[str, str]:
    """File name -> sha256 of the pixels."""
    found = {}
    for path in sorted(outputs.glob("????-??-??/*.png")):
        with Image.open(path) as image:
            found[path.name] = record.pixels_hash(image)
    return found


def test_a_job_that_was_killed_in_the_middle_gives_the_same_pictures_after_a_restart(tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    killed_when(killed, "step 2 7")  # in the second picture of the first job
    assert list(pictures(killed)) == ["000001-11.png"]
    said = to_the_end(killed)
    assert "submitted" not in said and not any(line.startswith("step 1 ") for line in said[: said.index("ended done")])  # the first picture was kept
    to_the_end(undisturbed)
    assert pictures(killed) == pictures(undisturbed)
    assert list(pictures(killed)) == ["000001-11.png", "000001-12.png", "000002-12.png", "000002-13.png"]
    assert pictures(killed)["000001-12.png"] == pictures(killed)["000002-12.png"]  # picture i of a batch is the picture of seed + i
