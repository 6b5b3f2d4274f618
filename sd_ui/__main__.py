"""python -m sd_ui"""

from sd_ui.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
