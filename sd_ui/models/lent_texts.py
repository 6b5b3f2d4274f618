"""Text encoders that lie in files of their own, as ComfyUI and Forge keep them: which of them a checkpoint that lacks some is given."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sd_ui.models import flow_files
from sd_ui.models.finding import VAE
from sd_ui.models.flow_files import CLIP_G, CLIP_L, T5
from sd_ui.spec.cards import TEXT, ModelCard

FILES = {  # what the usual ones are called
    CLIP_L: ("the text encoder CLIP-L", "clip_l.safetensors"),
    CLIP_G: ("the text encoder CLIP-G", "clip_g.safetensors"),
    T5: ("the text encoder T5", "t5xxl_fp16.safetensors"),
}
FOLDER = "text_encoders"


def completed(card: ModelCard, cards: Mapping[str, ModelCard]) -> ModelCard:
    """The card with the files of its text encoders; one that has none for a part which it needs cannot be used, and says what would serve."""
    parts = [part for part in card.lacks if part != VAE]
    if not parts or card.fault:
        return card
    found = {part: file for part in parts if (file := _first(part, cards.values()))}
    missing = [part for part in parts if part not in found and part not in _optional(card)]
    if missing:
        return replace(card, fault=why(missing), modes=())
    return replace(card, texts=tuple((part, other.path) for part, other in found.items()))


def why(missing: list[str]) -> str:
    names, files = zip(*(FILES[part] for part in missing), strict=True)
    return f"it comes without {' and '.join(names)}: put {' and '.join(files)} into a folder of models, such as {FOLDER}"


def _optional(card: ModelCard) -> tuple[str, ...]:
    return next((one.optional for one in flow_files.PUBLISHED if one.family == card.family), ())


def _first(part: str, cards: Iterable[ModelCard]) -> ModelCard | None:
    """Of several the one with the most bytes: the least rounded."""
    fitting = [card for card in cards if card.kind == TEXT and card.family == part and not card.fault]
    return max(fitting, key=lambda card: (card.size, card.name), default=None)
