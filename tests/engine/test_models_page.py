"""docs/models.md promises what the code does, and what the oracle has checked."""

from docs.make_models import TARGET, page
from sd_ui.engine.families.table import FAMILIES
from sd_ui.models import flow_files, published, stock
from sd_ui.models.finding import MODES
from sd_ui.spec.request import GenerationRequest
from tests.engine import test_oracle, test_oracle_flux, test_oracle_sd2, test_oracle_sd3, test_oracle_sdxl, test_stock, test_stock_families

XL = [(mode.removeprefix("refiner, ").split(",")[0], facts) for mode, (_, facts, _, _) in test_oracle_sdxl.MODES.items()]
FLOWS = {"sd3": (test_oracle_sd3.MODES, 16), "flux": (test_oracle_flux.MODES, 64)}
ORACLES = {
    "sd1": {(mode.split(",")[0], channels) for mode, (_, channels, _, _) in test_oracle.SOURCES.items()},
    "sd2": {(mode.split(",")[0], channels) for mode, (_, channels, _, _) in test_oracle_sd2.SOURCES.items()},
    "sdxl": {(mode, facts.get("in_channels", 4)) for mode, facts in XL if not facts.get("refiner")},
    "sdxl-refiner": {(mode, 4) for mode, facts in XL if facts.get("refiner")},
    **{
        family: {(GenerationRequest(source=source).mode, facts.get("in_channels", usual)) for source, facts, _, _ in modes.values()}
        for family, (modes, usual) in FLOWS.items()
    },
}


def test_the_page_of_models_is_up_to_date():
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python docs/make_models.py"


def test_every_native_mode_of_every_family_is_compared_with_diffusers_own_pipeline():
    assert FAMILIES.keys() == MODES.keys() == {one.family for one in (*published.PUBLISHED, *flow_files.PUBLISHED)}
    for family, known in MODES.items():
        assert ORACLES[family] == {(mode, channels) for channels, modes in known.items() for mode in modes}, family


def test_every_stock_mode_of_every_family_is_compared_with_its_pipeline():
    table = {(family.name, mode) for family in stock.FAMILIES.values() for mode in family.modes}
    assert {*test_stock.MODES, *test_stock_families.MODES} == table
