"""The ladder of the spine against the vocabulary, which is written apart."""

import pytest

from nomina.anatomy.levels import (
    ALL_LEVELS_UPWARDS,
    LEVELS,
    LEVELS_UPWARDS,
    levels_between,
    levels_in,
    levels_of,
    with_extra_levels,
)
from nomina.anatomy.structures import vocabulary


def test_the_ladder_is_the_order_of_the_vocabulary() -> None:
    named = [name.split()[0] for name, found in vocabulary().items() if found.kind == "vertebra"]
    assert list(ALL_LEVELS_UPWARDS) == named[::-1]
    assert (
        [level for level in named if level not in ("T13", "L6")] == list(LEVELS) == list(LEVELS_UPWARDS)[::-1]
    )


def test_a_name_says_its_levels() -> None:
    assert levels_in("L4-L5 disc") == ["L4", "L5"]
    assert levels_in("T13 vertebra") == ["T13"]


def test_extra_levels_stand_at_the_end_of_their_region() -> None:
    levels = with_extra_levels("L6")
    assert levels[levels.index("L5") + 1] == "L6"
    assert "T13" not in levels
    assert len(levels) == 30


def test_a_part_of_the_ladder_keeps_the_order_asked() -> None:
    assert levels_between("L2", "T12") == ("L2", "L1", "T12")
    assert levels_between("T12", "L2") == ("T12", "L1", "L2")
    assert levels_of("L") == ("L1", "L2", "L3", "L4", "L5")
    with pytest.raises(ValueError, match="not in tuple"):
        levels_between("L6", "L1")
