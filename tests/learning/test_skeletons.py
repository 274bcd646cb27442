"""Tubed skeletons: where they lie, and that they hold the line together."""

import numpy as np
from scipy import ndimage

from nomina.learning.skeletons import skeleton, tubed_skeleton


def test_the_skeleton_of_a_bar_is_its_axis() -> None:
    mask = np.zeros((15, 9, 9), dtype=bool)
    mask[1:14, 2:7, 2:7] = True
    found = skeleton(mask)
    # Face erosion of a 5 × 5 × 13 bar by two leaves the line between its end pieces.
    assert found[3:12, 4, 4].all()
    middle = found[7]
    assert middle[4, 4]
    assert not middle[[3, 4, 4, 5], [4, 3, 5, 4]].any()


def test_a_tube_around_the_line_stays_within_the_mask() -> None:
    grid = np.indices((40, 21, 21))
    mask = (grid[1] - 10) ** 2 + (grid[2] - 10) ** 2 <= 8**2
    tube = tubed_skeleton(mask)
    assert tube[5:35, 8:13, 8:13].all()
    assert not (tube & ~mask).any()
    assert tube.sum() < mask.sum()
    assert ndimage.label(tube[5:35])[1] == 1


def test_a_thin_vessel_is_its_own_skeleton() -> None:
    line = np.zeros((12, 12, 12), dtype=bool)
    line[np.arange(12), np.arange(12), np.arange(12)] = True
    np.testing.assert_array_equal(tubed_skeleton(line), line)
    np.testing.assert_array_equal(skeleton(line), line)


def test_nothing_has_no_skeleton_and_the_mask_is_left_alone() -> None:
    empty = np.zeros((4, 4, 4), dtype=bool)
    assert not tubed_skeleton(empty).any()
    full = np.ones((5, 5, 5), dtype=bool)
    assert skeleton(full)[2, 2, 2]
    assert full.all()
