"""Starts SD UI: python app.py [--port 7860 ...]. A Hugging Face Space runs this file too."""

import sys

from sd_ui.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["serve", *sys.argv[1:]]))
