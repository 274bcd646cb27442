from collections.abc import Callable

import numpy as np
import pytest

from nomina.assessment.metrics.topology import (
    centreline_overlap,
    islands_voxels,
    num_touching_places,
    tree_detection,
)
from nomina.assessment.vessel_tree import vessel_graph
from nomina.errors import GridMismatchError

Tubes = Callable[..., np.ndarray]
MM = (1.0, 1.0, 1.0)
EMPTY = np.zeros((30, 30, 30), dtype=bool)


@pytest.fixture(scope="module")
def tube(tubes: Tubes) -> np.ndarray:
    """26 mm long, radius 3 mm, along k."""
    return tubes(30.0, MM, ((12, 15, 2), (12, 15, 28), 3.0))


def test_the_same_tree_overlaps_wholly(tube: np.ndarray) -> None:
    overlap = centreline_overlap(tube, tube, spacing_mm=MM)
    assert (overlap.recall, overlap.precision, overlap.cldice) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("shift", "cldice"), [(2, 1.0), (4, 0.0)])
def test_cldice_forgives_a_shift_within_the_radius_and_nothing_beyond(
    tube: np.ndarray, shift: int, cldice: float
) -> None:
    moved = np.roll(tube, shift, axis=0)
    assert centreline_overlap(moved, tube, spacing_mm=MM).cldice == pytest.approx(cldice, abs=0.15)


def test_recall_and_precision_see_the_two_kinds_of_fault(tube: np.ndarray) -> None:
    half = tube.copy()
    half[:, :, 15:] = False
    short = centreline_overlap(half, tube, spacing_mm=MM)
    assert short.recall == pytest.approx(0.5, abs=0.06)
    assert short.precision == 1.0
    assert short.cldice == pytest.approx(2 / 3, abs=0.05)
    long = centreline_overlap(tube, half, spacing_mm=MM)
    assert (long.recall, long.precision) == (short.precision, short.recall)


def test_cldice_with_empty_masks(tube: np.ndarray) -> None:
    assert np.isnan(centreline_overlap(EMPTY, EMPTY, spacing_mm=MM).cldice)
    assert centreline_overlap(EMPTY, tube, spacing_mm=MM).cldice == 0.0
    assert centreline_overlap(tube, EMPTY, spacing_mm=MM).cldice == 0.0


def test_trees_that_do_not_meet_share_nothing(tube: np.ndarray) -> None:
    apart = centreline_overlap(np.roll(tube, 10, axis=0), tube, spacing_mm=MM)
    assert (apart.recall, apart.precision, apart.cldice) == (0.0, 0.0, 0.0)


def test_length_detected_is_in_mm_on_an_anisotropic_grid(tubes: Tubes) -> None:
    spacing_mm = (0.8, 0.8, 2.0)
    # 20 mm along k and 20 mm along i: by voxels the second would count two and a half times.
    first = ((4, 8, 4), (4, 8, 24), 2.0)
    second = ((4, 20, 15), (24, 20, 15), 2.0)
    reference = tubes(30.0, spacing_mm, first, second)
    found = tree_detection(tubes(30.0, spacing_mm, first), reference, spacing_mm=spacing_mm)
    assert found.length_detected == pytest.approx(0.5, abs=0.06)
    assert (found.num_branches, found.num_detected_branches) == (2, 1)
    assert found.branches_detected == 0.5


@pytest.mark.parametrize(("share", "num_detected"), [(0.75, 0), (0.9, 1)])
def test_a_branch_is_detected_from_eighty_percent_of_its_length(
    tube: np.ndarray, share: float, num_detected: int
) -> None:
    flat = tube.copy()
    flat[:, :, :2], flat[:, :, 28:] = False, False
    prediction = flat.copy()
    prediction[:, :, int(2 + 26 * share) :] = False
    found = tree_detection(prediction, vessel_graph(flat, spacing_mm=MM), spacing_mm=MM)
    assert found.num_detected_branches == num_detected
    assert found.length_detected == pytest.approx(share, abs=0.06)


def test_an_empty_reference_has_nothing_to_detect(tube: np.ndarray) -> None:
    found = tree_detection(tube, EMPTY, spacing_mm=MM)
    assert np.isnan(found.length_detected)
    assert np.isnan(found.branches_detected)


def test_a_lone_voxel_has_no_length_and_is_no_branch() -> None:
    voxel = EMPTY.copy()
    voxel[5, 5, 5] = True
    found = tree_detection(voxel, voxel, spacing_mm=MM)
    assert (found.length_mm, found.num_branches, found.num_detected_branches) == (0.0, 0, 0)
    assert np.isnan(found.branches_detected)


def test_islands_are_all_pieces_but_the_largest() -> None:
    mask = EMPTY.copy()
    mask[0:5, 0, 0] = True
    mask[5, 1, 1] = True  # touches the first across a corner
    mask[10:13, 10, 10] = True
    mask[20, 20, 20] = True
    assert islands_voxels(mask) == (3, 1)
    assert islands_voxels(EMPTY) == ()


def test_trees_touch_at_as_many_places_as_they_cross() -> None:
    artery, vein = EMPTY.copy(), EMPTY.copy()
    artery[5, 5, :] = True
    vein[6, 6, 0] = True  # a corner
    vein[5, 5:9, 10] = True  # shares voxel (5, 5, 10)
    vein[8, 8, 20:25] = True  # near, does not touch
    assert num_touching_places(artery, vein) == 2
    assert num_touching_places(vein, artery) == 2
    assert num_touching_places(artery, EMPTY) == 0


@pytest.mark.usefixtures("unchecked")
def test_masks_of_different_shapes_are_refused(tube: np.ndarray) -> None:
    with pytest.raises(GridMismatchError, match="bring both to one grid"):
        centreline_overlap(tube, tube[1:], spacing_mm=MM)
    with pytest.raises(GridMismatchError):
        num_touching_places(tube, tube[1:])
