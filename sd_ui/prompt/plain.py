"""A prompt for a model that reads plain text: what of our language it is told, and what cannot be asked of it."""

from sd_ui.prompt import attention, composition, networks, schedule
from sd_ui.prompt.comments import stripped


def told(text: str, emphasis: str) -> str:
    """What such a model reads: without comments; without brackets where emphasis ignores them, else every character as it stands."""
    said = stripped(text)
    return "".join(piece.text for piece in attention.parse(said, emphasis)) if emphasis == "Ignore" else said


def refused(text: str, emphasis: str, negative: bool = False) -> str:
    """What of a prompt cannot be done, in words; "" where all can."""
    said = stripped(text)
    if not negative and (tags := networks.extract(said).loras):
        return f"the network tag {said[tags[0].start : tags[0].end]} asks for a LoRA, which this model cannot wear here"
    if groups := schedule.groups(said):
        first = groups[0]
        return f"{said[first.start : first.end]} changes during the run (prompt editing), and this model reads its prompt once"
    if emphasis in ("None", "Ignore"):
        return ""
    if number := next((mark for mark in attention.marks(said) if mark.factor is not None), None):
        shown = said[max(0, number.start - 20) : number.end]
        return f"{shown!r} is a weight, which this model does not know: say it in words, or choose the emphasis Ignore or None"
    return ""


def notes(text: str, emphasis: str, negative: bool = False) -> tuple[str, ...]:
    """What is read as plain text, although it means something elsewhere."""
    said, found = stripped(text), list[str]()
    if emphasis not in ("None", "Ignore") and any(mark.kind in "()[]" for mark in attention.marks(said)):
        found.append("Brackets are text for this model: they give no weight.")
    if not negative and composition.AND.search(said):
        found.append("AND is a word for this model: the prompt is one text.")
    if attention.BREAKS.search(said):
        found.append("BREAK is a word for this model.")
    return tuple(found)
