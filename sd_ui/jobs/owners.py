"""Whose jobs and pictures are whose: a browser holds a secret cookie, we keep only its hash."""

import hashlib
import re
import secrets

OWNER_COOKIE = "sdui_owner"  # what a browser calls it
COOKIE = re.compile(r"[0-9a-f]{32}")


def new_cookie() -> str:
    """A secret of 128 bits, for one browser."""
    return secrets.token_hex(16)


def is_cookie(text: str) -> bool:
    """Whether this can be one of ours: a browser must not be able to choose a weak one."""
    return COOKIE.fullmatch(text) is not None


def owner_of(cookie: str) -> str:
    """The owner's id. Who reads the database or a log learns no cookie from it."""
    return hashlib.sha256(b"sd_ui owner " + cookie.encode()).hexdigest()[:32]
