"""What there is in the small world that the model draws, and how it looks. Colours are RGB in 0..1 before tone mapping."""

from collections.abc import Mapping
from dataclasses import dataclass

RGB = tuple[float, float, float]

SHAPES = ("sphere", "cube", "cylinder", "cone")
MATERIALS = ("matte", "shiny", "metallic")
COLOURS: Mapping[str, RGB] = {
    "red": (0.85, 0.06, 0.05),
    "orange": (0.95, 0.42, 0.04),
    "yellow": (0.95, 0.85, 0.08),
    "green": (0.08, 0.60, 0.12),
    "blue": (0.06, 0.16, 0.85),
    "purple": (0.42, 0.08, 0.65),
    "pink": (0.95, 0.38, 0.62),
    "white": (0.92, 0.92, 0.92),
    "black": (0.03, 0.03, 0.035),
    "gray": (0.38, 0.38, 0.40),
}
CHECKERED = "checkered"
FLOORS: Mapping[str, RGB] = {
    "gray": (0.42, 0.42, 0.42),
    "white": (0.85, 0.85, 0.85),
    "green": (0.22, 0.50, 0.16),
    "brown": (0.42, 0.25, 0.13),
    "blue": (0.12, 0.30, 0.58),
    CHECKERED: (0.75, 0.75, 0.75),
}


@dataclass(frozen=True)
class Sky:
    """Each sky brings its own light. elevation: of the sun (or moon) above the horizon, in degrees."""

    zenith: RGB
    horizon: RGB
    sun: RGB
    ambient: RGB
    elevation: float


SKIES: Mapping[str, Sky] = {  # by what a caption says of them
    "under a clear blue sky": Sky((0.16, 0.36, 0.85), (0.70, 0.84, 0.98), (1.0, 0.97, 0.90), (0.34, 0.38, 0.45), 50),
    "at sunset": Sky((0.28, 0.16, 0.42), (0.99, 0.52, 0.18), (1.0, 0.74, 0.50), (0.38, 0.32, 0.34), 24),
    "at night": Sky((0.01, 0.015, 0.06), (0.06, 0.09, 0.22), (0.60, 0.66, 0.86), (0.22, 0.24, 0.32), 45),
    "under a cloudy sky": Sky((0.52, 0.55, 0.60), (0.80, 0.81, 0.83), (0.50, 0.50, 0.50), (0.50, 0.50, 0.52), 65),
}
SYNONYMS: Mapping[str, tuple[str, ...]] = {  # said now and then, so that people's words are understood
    "large": ("big", "huge"),
    "small": ("little", "tiny"),
    "metallic": ("metal",),
    "shiny": ("glossy",),
    "gray": ("grey",),
    "sphere": ("ball",),
    "cube": ("box",),
}
