"""How an event of the page alone is declared: no overlay over what it changes, and no endpoint for scripts."""

from typing import Any

HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
QUIET = HIDDEN | {"queue": False}  # answered at once
EACH = QUIET | {"trigger_mode": "multiple"}  # a second press counts while the first is on its way
LAST = QUIET | {"trigger_mode": "always_last"}  # the newest value wins; Gradio's default drops events while one is on its way
