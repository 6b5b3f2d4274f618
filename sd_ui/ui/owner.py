"""Who asks: everything that a person made is found by this."""

import gradio as gr

from sd_ui.jobs.owners import OWNER_COOKIE, owner_of


def owner(request: gr.Request) -> str:
    """The same for every tab and every visit of a browser; of a client without cookies, the same for its session."""
    return owner_of(request.cookies.get(OWNER_COOKIE) or f"session {request.session_hash}")
