"""The order of vertebrae and discs along the spine, by name."""

from typing import Literal

from nomina.anatomy.levels import LEVELS_UPWARDS, levels_in

SpineKind = Literal["vertebra", "disc"]

_RANKS = {level: rank - LEVELS_UPWARDS.index("L5") + 1 for rank, level in enumerate(LEVELS_UPWARDS)}


def spine_kind(structure: str) -> SpineKind | None:
    """Whether a structure is a vertebra or a disc; None for anything else."""
    if structure.endswith(" vertebra"):
        return "vertebra"
    if structure.endswith(" disc"):
        return "disc"
    return None


def spine_rank(structure: str) -> int | None:
    """Rank of a vertebra or disc from the bottom in a standard spine: the SPIDER number.

    "L5 vertebra" and "L5-S1 disc" are 1, "L4 vertebra" and "L4-L5 disc" 2, "S1 vertebra" 0.

    Returns:
        None for anything else, and for levels that a standard spine does not have (T13, L6).
    """
    kind = spine_kind(structure)
    if kind is None:
        return None
    ranks = [_RANKS.get(level) for level in levels_in(structure)]
    if kind == "vertebra":
        return ranks[0] if len(ranks) == 1 else None
    if len(ranks) != 2 or ranks[0] is None or ranks[1] is None or ranks[0] != ranks[1] + 1:
        return None
    return ranks[0]


def level_shift(reference: str, predicted: str) -> int | None:
    """By how many levels a name is too high (+, towards the head) or too low (−).

    Returns:
        None when the two are of different kinds or have no place in a standard spine.
    """
    reference_rank, predicted_rank = spine_rank(reference), spine_rank(predicted)
    if reference_rank is None or predicted_rank is None or spine_kind(reference) != spine_kind(predicted):
        return None
    return predicted_rank - reference_rank
