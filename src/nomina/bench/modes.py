"""Names of what a trained network can be told at test time, which of them a reference reaches, and stamps.

`spine_modes` and `vessel_modes` say what each is and serve it.
"""

from typing import Literal, get_args

from nomina.learning.recipe import BlockRecipe, Recipe
from nomina.networks.plain import PlainConfig

SpineMode = Literal[
    "none",
    "constant",
    "predicted",
    "self",
    "header",
    "user",
    "oracle",
    "shuffled",
    "shifted",
    "class_shifted",
    "best_shift",
]
VesselMode = Literal["named", "swapped"]
Mode = Literal[SpineMode, VesselMode]

SPINE_MODES: tuple[Mode, ...] = tuple(mode for mode in get_args(SpineMode) if mode != "none")
"""Modes of a network of slices that hears words, in the order of every table."""

VESSEL_MODES: tuple[Mode, ...] = get_args(VesselMode)
"""Modes of a network of blocks, in the order of every table."""

ALL_MODES: tuple[Mode, ...] = ("none", *SPINE_MODES, *VESSEL_MODES)

USUAL_MODES: tuple[Mode, ...] = ("none", "predicted", "named")
"""How a network is used in earnest; the first that a control has is what others are compared with."""

LETTERS: dict[Mode, str] = {
    "constant": "A",
    "predicted": "B",
    "self": "C",
    "header": "D",
    "user": "E",
    "oracle": "X",
}
"""Letters of the modes in the literature on ATM-Net."""

HONEST_MODES: tuple[Mode, ...] = ("none", "constant", "predicted", "self", "header", "named")
"""Modes that no reference can reach, and that say nothing wrong on purpose."""

STAMPS: dict[Mode, str] = {
    "user": "declared by a simulated user",
    "oracle": "ORACLE: upper bound",
    "shuffled": "wrong on purpose",
    "shifted": "wrong on purpose",
    "class_shifted": "wrong on purpose",
    "best_shift": "ORACLE: upper bound",
    "swapped": "wrong on purpose",
}
"""What must stand beside every number of a mode that is not honest."""


def modes_of(recipe: Recipe | BlockRecipe) -> tuple[Mode, ...]:
    """Every mode that the network of a recipe can be measured in."""
    if isinstance(recipe, BlockRecipe):
        return VESSEL_MODES
    if isinstance(recipe.network, PlainConfig):
        return ("none", "best_shift")
    return SPINE_MODES
