"""Memory does not creep: after fifty swaps among four models a process has as much as after the first four."""

import os
import subprocess
import sys

from tests.checkpoints import tiny_folder

SWAPS, NAMES = 50, "abcd"
WIDE = {"block_out_channels": [64, 128]}  # some 10 MB each: losing one of ten would be seen


def test_fifty_swaps_among_four_models_end_with_the_memory_of_the_first_four(tmp_path):
    for seed, name in enumerate(NAMES):
        tiny_folder(tmp_path / name, seed=seed, **WIDE)
    command = [sys.executable, "-m", "tests.engine.creep", str(tmp_path), str(SWAPS), NAMES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    first, *_, last = map(int, done.stdout.split())
    assert last < 1.05 * first
