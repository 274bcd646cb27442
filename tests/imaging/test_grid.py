import itertools

import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid, canonical_axes, reoriented_affine


def test_world_positions_are_the_affine_times_homogeneous_indices(oblique_grid: Grid) -> None:
    voxels = np.array([[0.0, 0.0, 0.0], [1.5, -2.0, 4.25]])
    expected = [(oblique_grid.affine @ [*voxel, 1])[:3] for voxel in voxels]
    np.testing.assert_allclose(oblique_grid.to_world(voxels), expected, atol=1e-12)


def test_to_voxels_undoes_to_world(oblique_grid: Grid) -> None:
    voxels = np.random.default_rng(0).uniform(-50, 50, (100, 3))
    np.testing.assert_allclose(oblique_grid.to_voxels(oblique_grid.to_world(voxels)), voxels, atol=1e-10)


def test_spacing_and_voxel_volume_follow_the_columns(oblique_grid: Grid) -> None:
    assert oblique_grid.spacing_mm == pytest.approx((0.7, 1.3, 2.9))
    assert oblique_grid.voxel_volume_ml == pytest.approx(0.7 * 1.3 * 2.9 / 1000)


def test_orientation_agrees_with_nibabel_for_all_axis_orders(oblique_grid: Grid) -> None:
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = oblique_grid.affine[:3, order] * signs
            assert Grid((2, 2, 2), affine).orientation == "".join(aff2axcodes(affine))


def test_the_affine_of_a_grid_cannot_be_changed_from_outside() -> None:
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 0] = 5
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 5


def test_grids_match_until_a_corner_moves_by_more_than_a_micrometre() -> None:
    grid = Grid((101, 101, 101), np.eye(4))
    for change, matches in ((0.9e-5, True), (1.1e-5, False)):
        affine = np.eye(4)
        affine[0, 0] += change  # 100 voxels further on this is 0.9 and 1.1 micrometres.
        assert grid.matches(Grid(grid.shape, affine)) is matches
    assert not grid.matches(Grid((101, 101, 100), np.eye(4)))


def test_canonical_axes_of_an_exactly_diagonal_scan_use_every_axis_once() -> None:
    affine = np.eye(4)
    affine[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    order, _ = canonical_axes(affine)
    assert sorted(order) == [0, 1, 2]


def test_reoriented_affine_keeps_the_place_of_the_last_voxel() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    result = reoriented_affine(affine, (5, 6, 7), (2, 0, 1), (True, False, True))
    # Voxel (4, 5, 6) becomes (6 - 6, 4, 5 - 5) after transpose (k, i, j) and reversing k and j.
    np.testing.assert_allclose(result @ [0, 4, 0, 1], affine @ [4, 5, 6, 1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shape", "change", "words"),
    [
        ((2, 2), {}, "three axes"),
        ((2, 0, 2), {}, "at least 1 voxel"),
        ((2, 2, 2), {(0, 0): np.nan}, "finite"),
        ((2, 2, 2), {(1, 1): 0.0}, "spacing must be positive"),
        ((2, 2, 2), {(0, 1): 0.1}, "sheared"),
        ((2, 2, 2), {(3, 0): 1.0}, "last row"),
    ],
)
def test_impossible_grids_are_refused(
    shape: tuple[int, int, int], change: dict[tuple[int, int], float], words: str
) -> None:
    affine = np.eye(4)
    for where, value in change.items():
        affine[where] = value
    with pytest.raises(VolumeError, match=words):
        Grid(shape, affine)


def test_two_axes_along_the_same_direction_are_refused() -> None:
    affine = np.eye(4)
    affine[:3, 1] = affine[:3, 0]
    with pytest.raises(VolumeError, match="sheared"):
        Grid((2, 2, 2), affine)


def test_a_grid_prints_its_shape_spacing_and_orientation() -> None:
    assert str(Grid((3, 4, 5), np.diag([-0.5, -1.0, 2.5, 1.0]))) == "(3, 4, 5) @ 0.5×1×2.5 mm LPS"
