"""From `python app.py` to the first answer and to the first picture, and the memory at its peak: the real program, over HTTP."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.measure import Row

ROOT = Path(__file__).parents[1]
PATIENCE = 180


@dataclass(frozen=True)
class Start:
    """Seconds since the interpreter was started; cpu: of the whole program until then; memory: resident, at its peak, in bytes."""

    answered: float
    answered_cpu: float
    drawn: float
    drawn_cpu: float
    memory: int


def once() -> Start:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        began = time.perf_counter()
        program = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--outputs-dir", folder, "--models-dir", folder],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        try:
            watched = psutil.Process(program.pid)
            wait_for(f"http://127.0.0.1:{port}/", began)
            answered, answered_cpu = time.perf_counter() - began, cpu(watched)
            first_picture(f"http://127.0.0.1:{port}/")
            drawn, drawn_cpu = time.perf_counter() - began, cpu(watched)
            return Start(answered, answered_cpu, drawn, drawn_cpu, peak(watched))
        finally:
            program.terminate()
            program.wait(60)


def wait_for(url: str, began: float) -> None:
    while time.perf_counter() - began < PATIENCE:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer within {PATIENCE} s")


def first_picture(url: str) -> Any:
    """As a script asks for it: with the page's own endpoint, nothing but a prompt."""
    from gradio_client import Client

    return Client(url, verbose=False).predict(prompt="a large shiny red sphere on a checkered floor, at sunset", api_name="/txt2img")


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def peak(process: psutil.Process) -> int:
    """Linux tells the peak; elsewhere it is what is used now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return process.memory_info().rss


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rows(rounds: int) -> list[Row]:
    starts = [once() for _ in range(rounds)]

    def median(name: str) -> float:
        return statistics.median(getattr(start, name) for start in starts)

    return [
        Row("start of the program to the first HTTP 200", f"{median('answered_cpu'):.1f} CPU s ({median('answered'):.1f} s)"),
        Row("start of the program to the first picture (embedded model, 20 steps)", f"{median('drawn_cpu'):.1f} CPU s ({median('drawn'):.1f} s)"),
        Row("memory at its peak, first picture included", f"{median('memory') / 2**20:.0f} MiB"),
    ]
