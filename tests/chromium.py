"""Where the browser for the browser tests is. Standard library only: tests/run.py asks before anything is installed."""

from __future__ import annotations  # so that an older Python, too, gets as far as being told

import os
import shutil
from pathlib import Path

VARIABLE = "SD_UI_CHROMIUM"  # a browser of one's own choice
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
MISSING = f"no Chromium, Chrome or Edge was found: install one, or set {VARIABLE} to its path"


def find() -> str | None:
    """The path of a browser that playwright can drive; None where there is none."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return chosen
    commands = (shutil.which(command) for command in COMMANDS)
    return next(filter(None, commands), None) or next((place for place in PLACES if Path(place).is_file()), None)
