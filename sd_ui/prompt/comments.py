"""Comments: from a # to the end of its line. They are for people, the model never sees them."""

import re

COMMENT = re.compile(r"#[^\n]*(?:\n|\Z)")


def stripped(text: str) -> str:
    """Each comment becomes the end of its line, as in AUTOMATIC1111's `processing_scripts/comments.py`."""
    return COMMENT.sub("\n", text) if "#" in text else text


def masked(text: str) -> str:
    """Of the same length, with spaces where comments are: what is left stands where it stood."""
    return COMMENT.sub(lambda found: " " * len(found[0]), text) if "#" in text else text
