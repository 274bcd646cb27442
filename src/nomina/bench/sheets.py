"""Which table belongs to which kind of network."""

from nomina.bench.sheet import Sheet
from nomina.bench.spine_sheet import SPINE_SHEET
from nomina.bench.vessel_sheet import VESSEL_SHEET
from nomina.learning.recipe import BlockRecipe, Recipe


def sheet_of(recipe: Recipe | BlockRecipe) -> Sheet:
    """The table of a grid whose runs have such recipes."""
    return VESSEL_SHEET if isinstance(recipe, BlockRecipe) else SPINE_SHEET
