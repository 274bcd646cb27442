"""Tubes on a grid: exact distances, known volumes, no gaps."""

from itertools import pairwise

import cc3d
import numpy as np
import pytest

from nomina.imaging.grid import Grid
from nomina.phantoms.lung_labels import resolved_radius_mm
from nomina.phantoms.lung_raster import near_tubes, tree_mask, tube_shares
from nomina.phantoms.lung_tree import VesselTree


def make_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-3.0, 5.0, 11.0)
    return Grid(shape, affine)


def make_tree(points: np.ndarray, radius_mm: float) -> VesselTree:
    count = len(points)
    none = np.zeros(count, dtype=int)
    return VesselTree(points, np.arange(count) - 1, np.full(count, radius_mm), none, none)


def rod_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - start - along[:, None] * axis, axis=1)


def all_points(grid: Grid) -> np.ndarray:
    return grid.to_world(np.argwhere(np.ones(grid.shape, dtype=bool)).astype(float))


def test_a_voxel_is_vessel_exactly_when_its_centre_lies_inside() -> None:
    grid = make_grid((24, 20, 22), (1.0, 1.3, 0.8))
    rng = np.random.default_rng(1)
    low, high = grid.to_world(np.array([[3.0, 3, 3], [20, 16, 18]]))
    points = rng.uniform(low, high, (7, 3))
    tree = make_tree(points, 2.1)
    centres = all_points(grid)
    distance = np.min([rod_distance(centres, a, b) for a, b in pairwise(points)], axis=0)
    mask = tree_mask(tree, tree.edges, grid)
    np.testing.assert_array_equal(mask.ravel(), distance <= 2.1)


def test_distances_within_reach_are_exact_and_complete() -> None:
    grid = make_grid((14, 14, 14), (1.0, 1.0, 1.0))
    start, end = grid.to_world(np.array([[4.2, 5.1, 6.0], [9.0, 7.7, 7.5]]))
    (voxels,) = near_tubes(start[None], end[None], np.array([1.7]), grid, reach_mm=1.0)
    distance = rod_distance(all_points(grid), start, end) - 1.7
    np.testing.assert_array_equal(np.sort(voxels.index), np.flatnonzero(distance <= 1.0))
    np.testing.assert_allclose(voxels.distance_mm, distance[voxels.index], atol=1e-9)
    assert (voxels.radius_mm == 1.7).all()


@pytest.mark.parametrize("radius_mm", [2.0, 4.0])
def test_the_volume_of_a_rod_is_the_analytic_one(radius_mm: float) -> None:
    grid = make_grid((60, 40, 40), (0.5, 0.5, 0.5))
    points = grid.to_world(np.array([[14.3, 18.1, 19.7], [44.1, 22.4, 17.2]]))
    tree = make_tree(points, radius_mm)
    length = np.linalg.norm(points[1] - points[0])
    expected = np.pi * radius_mm**2 * length + 4 / 3 * np.pi * radius_mm**3
    assert tree_mask(tree, tree.edges, grid).sum() * 0.125 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("radius_mm", [0.4, 0.6, 1.0, 2.0])
def test_shares_of_thin_tubes_add_up_to_their_volume(radius_mm: float) -> None:
    grid = make_grid((60, 24, 24), (1.0, 1.0, 1.0))
    rng = np.random.default_rng(2)
    volumes = []
    for _ in range(12):
        # Along the whole grid, so that its ends do not count.
        y, z = rng.uniform(9, 14, (2, 2))
        points = grid.to_world(np.array([[-20, y[0], z[0]], [80, y[1], z[1]]]))
        shares = tube_shares(points[:1], points[1:], np.array([radius_mm]), grid)
        stretch = np.linalg.norm(points[1] - points[0]) / 100
        volumes.append(shares[10:50].sum() / (40 * stretch))
    assert np.mean(volumes) == pytest.approx(np.pi * radius_mm**2, rel=0.06)


def test_tubes_of_the_resolved_radius_never_break() -> None:
    grid = make_grid((40, 40, 40), (1.0, 1.0, 1.0))
    rng = np.random.default_rng(3)
    radius = resolved_radius_mm(grid)
    assert radius == pytest.approx(np.sqrt(3) / 2)
    for _ in range(40):
        points = grid.to_world(rng.uniform(4, 36, (2, 3)))
        tree = make_tree(points, radius)
        assert (
            cc3d.connected_components(tree_mask(tree, tree.edges, grid), connectivity=26, return_N=True)[1]
            == 1
        )


def test_tubes_outside_the_grid_leave_no_trace() -> None:
    grid = make_grid((10, 10, 10), (1.0, 1.0, 1.0))
    points = grid.to_world(np.array([[-40.0, -40, -40], [-20, -30, -30]]))
    tree = make_tree(points, 3.0)
    assert not tree_mask(tree, tree.edges, grid).any()
