"""The families that have a Predict of their own, by name."""

from sd_ui.engine.families import flux, sd, sd3, sdxl
from sd_ui.engine.family import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (sd.SD1, sd.SD2, sdxl.SDXL, sdxl.REFINER, sd3.SD3, flux.FLUX)}
