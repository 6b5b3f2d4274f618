"""Everything that must hold, from nothing but Python: makes a virtual environment, installs, finds a Chromium, runs ruff, mypy and pytest.

python3 tests/run.py [--venv FOLDER] [arguments for pytest]. Standard library only. With CI set, a missing browser is a failure.
"""

from __future__ import annotations  # so that an older Python, too, gets as far as being told

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import chromium

ROOT = Path(__file__).resolve().parents[1]
CHECKS = (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pytest"])  # pytest last: its summary is what one looks for


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  this file is what tells
        return say(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the virtual environment, made where it is missing (default: .venv)")
    options, for_pytest = parser.parse_known_args()
    browser = chromium.find() or install_chromium()
    if browser is None and "CI" in os.environ:
        return say(f"The browser tests cannot run: {chromium.MISSING}.")
    print(f"Browser tests: {browser or 'skipped, ' + chromium.MISSING}", flush=True)
    environment = os.environ | ({chromium.VARIABLE: browser} if browser else {})
    python = installed(options.venv)
    remove_stubs()
    failed = [
        " ".join(check)
        for check in CHECKS
        if run([python, "-m", *check, *(for_pytest if check == ["pytest"] else [])], environment) != 0
    ]  # fmt: skip
    return say(f"Failed: {', '.join(failed)}.") if failed else 0


def installed(folder: Path) -> Path:
    """The Python of a virtual environment that has everything of requirements-dev.txt."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        must([sys.executable, "-m", "venv", folder], "On Debian and Ubuntu: apt-get install python3-venv")
    print("Installing requirements-dev.txt; the first time this takes minutes.", flush=True)
    must([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", ROOT / "requirements-dev.txt"], "See what pip says above.")
    return python


def remove_stubs() -> None:
    """Gradio writes a .pyi beside each component of ours when it is imported; mypy would believe it instead of the source."""
    for stub in (ROOT / "sd_ui").rglob("*.pyi"):
        stub.unlink()


def install_chromium() -> str | None:
    """By Debian's package, where we may install; None elsewhere."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if run(["apt-get", "-qq", "update"], quiet) == 0:
        run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"], quiet)
    return chromium.find()


def must(command: list[object], advice: str) -> None:
    if run(command, os.environ) != 0:
        raise SystemExit(f"{command[0]} failed. {advice}")


def run(command: list[object], environment: Mapping[str, str]) -> int:
    print("$", *command, flush=True)
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode


def say(what: str) -> int:
    print(what, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
