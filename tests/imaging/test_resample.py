import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nomina.imaging.grid import Grid
from nomina.imaging.resample import resample_labels, resample_volume
from nomina.imaging.volume import LabelMap, Volume

GRADIENT = np.array([1.5, -2.0, 0.75])


def centres(grid: Grid) -> np.ndarray:
    return (
        np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
        .reshape(-1, 3)
        .astype(float)
    )


def ramp(grid: Grid) -> np.ndarray:
    """Intensity that grows linearly in the world, whatever the grid."""
    return (grid.to_world(centres(grid)) @ GRADIENT).reshape(grid.shape).astype(np.float32)


def grid_inside(
    outer: Grid, angles_deg: tuple[float, float, float], spacing_mm: tuple[float, float, float]
) -> Grid:
    """A small grid of another direction around the middle of `outer`."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles_deg, degrees=True).as_matrix() * spacing_mm
    middle = outer.to_world((np.array(outer.shape)[None] - 1) / 2)[0]
    affine[:3, 3] = middle - affine[:3, :3] @ (1.5, 1.0, 2.0)
    return Grid((4, 3, 5), affine)


@pytest.fixture
def large(oblique_grid: Grid) -> Grid:
    return Grid((40, 30, 20), oblique_grid.affine)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("spacing_mm", [(1.1, 0.6, 0.9), (-1.1, 0.6, 0.9)])
def test_a_linear_ramp_keeps_its_world_values_on_any_grid(
    large: Grid, order: int, spacing_mm: tuple[float, float, float]
) -> None:
    target = grid_inside(large, (12, -50, 70), spacing_mm)
    result = resample_volume(Volume(ramp(large), large, notes=("kept",)), target, order=order)
    # A cubic spline is exact for ramps far from the border only.
    np.testing.assert_allclose(result.array, ramp(target), atol=1e-3 if order == 1 else 0.05)
    assert result.array.dtype == np.float32
    assert result.notes == ("kept",)
    assert result.grid is target


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampling_to_the_same_grid_changes_nothing(large: Grid, order: int) -> None:
    array = np.random.default_rng(0).integers(-1000, 3000, large.shape).astype(np.int16)
    result = resample_volume(Volume(array, large), large, order=order)
    np.testing.assert_allclose(result.array, array, atol=0 if order == 0 else 1e-2)
    assert result.array.dtype == (np.int16 if order == 0 else np.float32)


def test_outside_the_field_of_view_lies_the_minimum(large: Grid) -> None:
    affine = large.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 1000
    array = np.random.default_rng(0).integers(-1000, 3000, large.shape).astype(np.int16)
    result = resample_volume(Volume(array, large), Grid((3, 3, 3), affine))
    assert np.unique(result.array).tolist() == [array.min()]


def test_masks_can_be_resampled_as_volumes(large: Grid) -> None:
    array = np.random.default_rng(0).random(large.shape) > 0.5
    np.testing.assert_array_equal(resample_volume(Volume(array, large), large, order=0).array, array)


def test_an_unknown_order_is_refused(large: Grid) -> None:
    with pytest.raises(ValueError, match="order must be 0, 1 or 3, got 2"):
        resample_volume(Volume(ramp(large), large), large, order=2)


def test_labels_come_from_the_nearest_voxel_centre(large: Grid) -> None:
    values = np.random.default_rng(0).integers(0, 226, large.shape).astype(np.uint8)
    label_map = LabelMap(values, large, names={value: str(value) for value in range(1, 226)}, scheme="spider")
    target = grid_inside(large, (12, -50, 70), (0.9, 0.8, 1.7))
    voxels = large.to_voxels(target.to_world(centres(target)))
    is_clear = (np.abs(voxels - np.rint(voxels)) < 0.499).all(axis=1)
    expected = values[tuple(np.rint(voxels).astype(int).T)]
    result = resample_labels(label_map, target)
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(result.array.ravel()[is_clear], expected[is_clear])
    assert result.array.dtype == np.uint8
    assert result.scheme == "spider"


def test_labels_outside_the_field_of_view_are_background(large: Grid) -> None:
    affine = large.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * 2
    label_map = LabelMap(np.ones(large.shape, dtype=np.uint16), large, names={1: "sacrum"})
    result = resample_labels(label_map, Grid((5, 5, 4), affine)).array
    assert [np.unique(result[:, :, k]).tolist() for k in range(4)] == [[0], [0], [1], [1]]
