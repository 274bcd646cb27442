from dataclasses import replace

import numpy as np
import pytest

from nomina.assessment.metrics.identification import identified_vertebrae
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

NAMES = {1: "L5 vertebra", 2: "L4 vertebra", 3: "L3 vertebra", 203: "L3-L4 disc", 101: "part"}


def stack(shift: int = 0, spacing_mm: float = 2.0) -> LabelMap:
    """Three vertebrae 30 mm apart, moved up by `shift` voxels."""
    array = np.zeros((3, 6, 60), dtype=np.uint8)
    for n in (1, 2, 3):
        array[:, :, 15 * n - 8 + shift : 15 * n + 1 + shift] = n
    return LabelMap(array, Grid(array.shape, np.diag([4.0, 2.0, spacing_mm, 1.0])), NAMES)


@pytest.mark.parametrize(("shift", "expected"), [(0, True), (7, True), (-7, True), (8, False)])
def test_a_vertebra_is_identified_while_its_own_place_is_the_nearest(shift: int, expected: bool) -> None:
    # Half of the distance between two vertebrae is 15 mm: 7.5 voxels.
    assert identified_vertebrae(stack(shift), stack())["L4 vertebra"] is expected


@pytest.mark.parametrize(("spacing_mm", "expected"), [(2.8, True), (2.9, False)])
def test_twenty_mm_are_the_limit_where_no_other_is_near(spacing_mm: float, expected: bool) -> None:
    alone = [replace(m, array=np.where(m.array == 3, 3, 0).astype(np.uint8)) for m in (stack(7), stack())]
    alone = [replace(m, grid=Grid(m.grid.shape, np.diag([4.0, 2.0, spacing_mm, 1.0]))) for m in alone]
    assert identified_vertebrae(*alone) == {"L3 vertebra": expected}


@pytest.mark.parametrize(("spacing_mm", "expected"), [(6.0, True), (7.0, False)])
def test_of_a_vertebra_found_in_part_the_centre_of_that_part_counts(
    spacing_mm: float, expected: bool
) -> None:
    grid = Grid((3, 6, 60), np.diag([4.0, 2.0, spacing_mm, 1.0]))
    array = np.where(stack().array == 3, 3, 0).astype(np.uint8)
    # Of nine planes the upper three: their middle is three planes above that of all.
    top = np.where(np.arange(60) >= 43, array, 0).astype(np.uint8)
    found, given = (LabelMap(part, grid, NAMES) for part in (top, array))
    assert identified_vertebrae(found, given) == {"L3 vertebra": expected}


def test_a_shift_by_one_level_identifies_nothing_but_names_of_vertebrae_count_only() -> None:
    given = stack()
    up = replace(given, array=np.where(given.array > 0, given.array % 3 + 1, 0).astype(np.uint8))
    assert identified_vertebrae(up, given) == dict.fromkeys(
        ("L5 vertebra", "L4 vertebra", "L3 vertebra"), False
    )


def test_missing_and_ignored_vertebrae() -> None:
    given = stack()
    without = replace(given, array=np.where(given.array == 2, 0, given.array))
    assert identified_vertebrae(without, given) == {
        "L5 vertebra": True,
        "L4 vertebra": False,
        "L3 vertebra": True,
    }
    partly = replace(given, ignored=frozenset({1}))
    assert set(identified_vertebrae(given, partly)) == {"L4 vertebra", "L3 vertebra"}
    assert identified_vertebrae(given, replace(given, array=np.zeros_like(given.array))) == {}
