"""Named pieces grow into their fringe."""

import numpy as np
from scipy import ndimage

from nomina.inference.growing import grown


def test_a_class_grows_along_its_fringe_and_no_further() -> None:
    classes, fringe = np.zeros((5, 5, 20), dtype=np.uint8), np.zeros((5, 5, 20), dtype=bool)
    classes[2, 2, 0:3] = 2
    fringe[2, 2, 3:9] = fringe[3, 3, 9] = fringe[2, 2, 12:20] = True
    result = grown(classes, fringe)
    assert result[2, 2].tolist() == [2] * 9 + [0] * 11
    assert result[3, 3, 9] == 2
    assert (result != 0).sum() == 10


def test_where_two_classes_meet_the_nearer_takes_the_fringe() -> None:
    classes, fringe = np.zeros((3, 3, 12), dtype=np.uint8), np.zeros((3, 3, 12), dtype=bool)
    classes[1, 1, 0], classes[1, 1, 11] = 1, 2
    fringe[1, 1] = True
    assert grown(classes, fringe)[1, 1].tolist() == [1] * 6 + [2] * 6


def test_a_voxel_takes_the_class_of_most_neighbours() -> None:
    classes, fringe = np.zeros((3, 3, 3), dtype=np.uint8), np.zeros((3, 3, 3), dtype=bool)
    classes[0, 0, :2], classes[2] = 1, 2
    fringe[1, 1, 1] = True
    assert grown(classes, fringe)[1, 1, 1] == 2


def test_what_is_covered_is_what_scipy_propagates() -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(3, size=(14, 15, 16), p=[0.98, 0.01, 0.01]).astype(np.uint8)
    fringe = rng.random(classes.shape) < 0.12
    covered = ndimage.binary_propagation(
        classes > 0, structure=np.ones((3, 3, 3)), mask=fringe | (classes > 0)
    )
    result = grown(classes, fringe)
    np.testing.assert_array_equal(result > 0, covered)
    np.testing.assert_array_equal(result[classes > 0], classes[classes > 0])


def test_nothing_grows_from_nothing() -> None:
    assert not grown(np.zeros((4, 4, 4), dtype=np.uint8), np.ones((4, 4, 4), dtype=bool)).any()
