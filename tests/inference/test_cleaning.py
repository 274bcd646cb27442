"""Islands go, separate parts of a vertebra stay."""

import numpy as np

from nomina.inference.cleaning import MAX_GAP_MM, without_islands

SPACING_MM = (4.0, 1.0, 1.0)


def vertebra() -> np.ndarray:
    """A body (class 3) and, across a canal of 20 mm, its spinous process with a tenth of the volume."""
    classes = np.zeros((4, 90, 120), dtype=np.uint8)
    classes[:, 50:80, 20:45] = 3
    classes[:, 20:30, 22:30] = 3
    return classes


def test_a_spinous_process_apart_from_its_body_stays() -> None:
    classes = vertebra()
    np.testing.assert_array_equal(without_islands(classes, SPACING_MM), classes)


def test_specks_are_removed_whatever_their_class() -> None:
    classes = vertebra()
    speckled = classes.copy()
    speckled[1, 5:8, 100:104] = 3
    np.testing.assert_array_equal(without_islands(speckled, SPACING_MM), classes)


def test_a_large_piece_far_away_is_an_island() -> None:
    classes = vertebra()
    far = classes.copy()
    far[:, 60:75, 45 + int(MAX_GAP_MM) + 1 : 45 + int(MAX_GAP_MM) + 11] = 3
    np.testing.assert_array_equal(without_islands(far, SPACING_MM), classes)
    near = classes.copy()
    near[:, 60:75, 45 + int(MAX_GAP_MM) - 5 : 45 + int(MAX_GAP_MM) + 5] = 3
    np.testing.assert_array_equal(without_islands(near, SPACING_MM), near)


def test_the_input_is_not_changed() -> None:
    classes = vertebra()
    classes[1, 5, 100] = 3
    before = classes.copy()
    without_islands(classes, SPACING_MM)
    np.testing.assert_array_equal(classes, before)


def test_a_class_that_fills_its_box_is_kept() -> None:
    classes = np.zeros((3, 10, 12), dtype=np.uint8)
    classes[:, 2:6, 3:9] = 2
    np.testing.assert_array_equal(without_islands(classes, SPACING_MM), classes)


def test_a_row_of_specks_does_not_fail() -> None:
    classes = np.zeros((3, 9, 5), dtype=np.uint8)
    classes[1, 1:8:2, 2] = 4
    np.testing.assert_array_equal(without_islands(classes, SPACING_MM), classes)


def test_a_part_that_hangs_on_by_a_corner_is_no_island() -> None:
    classes = vertebra()
    classes[3, 80:83, 45:48] = 3
    np.testing.assert_array_equal(without_islands(classes, SPACING_MM), classes)
