"""A card of a model that can do everything, for tests without files."""

from pathlib import Path

from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.request import EMBEDDED, MODES

BEST = Defaults(width=128, height=128)
EMBEDDED_CARD = ModelCard(EMBEDDED, "checkpoint", "tiny", Path("embedded"), "folder", 13_000_000, MODES, "Embedded", defaults=BEST)
