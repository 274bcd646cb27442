import itertools
from collections.abc import Iterator

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nomina.errors import GridMismatchError, SchemeError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume

ANGLES = [(0, 0, 0), (25, 0, 0), (-17, 33, 8), (40, -30, 35), (0, 0, 45)]


def numbered(grid: Grid) -> Volume:
    """A volume in which every voxel has its own value."""
    return Volume(np.arange(np.prod(grid.shape)).reshape(grid.shape), grid)


def volumes_in_all_orders(angles_deg: tuple[int, int, int]) -> Iterator[Volume]:
    """48 volumes: every order and direction of the axes, half of them with negative determinant."""
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = rotation[:, order] * signs * (0.5, 1.25, 3.0)
            affine[:3, 3] = (-120.5, 33.25, 8.0)
            yield numbered(Grid((3, 4, 5), affine))


def world_by_value(volume: Volume) -> np.ndarray:
    """World position of the voxel with value 0, 1, 2 …"""
    voxels = np.argwhere(np.ones(volume.grid.shape, dtype=bool)).astype(np.float64)
    order = np.argsort(volume.array[tuple(voxels.astype(int).T)])
    return volume.grid.to_world(voxels[order])


@pytest.mark.parametrize("angles_deg", ANGLES)
def test_canonical_leaves_every_voxel_where_it_was(angles_deg: tuple[int, int, int]) -> None:
    for volume in volumes_in_all_orders(angles_deg):
        canonical = volume.canonical()
        np.testing.assert_allclose(world_by_value(canonical), world_by_value(volume), atol=1e-9)


@pytest.mark.parametrize("angles_deg", ANGLES)
def test_canonical_axes_point_right_anterior_superior(angles_deg: tuple[int, int, int]) -> None:
    for volume in volumes_in_all_orders(angles_deg):
        canonical = volume.canonical()
        assert canonical.grid.orientation == "RAS"
        assert (np.diag(canonical.grid.affine)[:3] > 0).all()


@pytest.mark.parametrize("angles_deg", ANGLES)
def test_every_voxel_of_a_box_stays_where_it_was(angles_deg: tuple[int, int, int]) -> None:
    for volume in volumes_in_all_orders(angles_deg):
        part = volume.cropped((slice(1, 3), slice(None), slice(2, 4)))
        assert part.grid.shape == (2, 4, 2)
        voxels = np.argwhere(np.ones(part.grid.shape, dtype=bool))
        values = part.array[tuple(voxels.T)]
        np.testing.assert_allclose(part.grid.to_world(voxels), world_by_value(volume)[values], atol=1e-9)


def test_a_box_keeps_what_else_is_known(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.uint8)
    box = (slice(0, 2), slice(0, 2), slice(0, 2))
    label_map = LabelMap(
        array, oblique_grid, names={1: "L5 vertebra"}, scheme="spider", ignored=frozenset({101})
    )
    part = label_map.cropped(box)
    assert (part.names, part.scheme, part.ignored) == ({1: "L5 vertebra"}, "spider", frozenset({101}))
    volume = Volume(array, oblique_grid, modality="MR", sequence="T2", notes=("read so",)).cropped(box)
    assert (volume.modality, volume.sequence, volume.notes) == ("MR", "T2", ("read so",))


def test_the_whole_box_is_the_whole_scan(oblique_grid: Grid) -> None:
    assert oblique_grid.cropped((slice(None),) * 3).matches(oblique_grid)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((slice(2, 2), slice(None), slice(None)), "at least 1 voxel"),
        ((slice(None), slice(0, 4, 2), slice(None)), "every voxel between its ends"),
        ((slice(0, 2), slice(0, 2)), "3 ranges"),
    ],
)
def test_a_box_that_is_none_is_refused(oblique_grid: Grid, box: tuple[slice, ...], says: str) -> None:
    with pytest.raises(VolumeError, match=says):
        oblique_grid.cropped(box)


@pytest.mark.parametrize("angles_deg", ANGLES)
def test_reoriented_like_undoes_canonical_exactly(angles_deg: tuple[int, int, int]) -> None:
    for volume in volumes_in_all_orders(angles_deg):
        restored = volume.canonical().reoriented_like(volume.grid)
        np.testing.assert_array_equal(restored.array, volume.array)
        np.testing.assert_array_equal(restored.grid.affine, volume.grid.affine)


@pytest.mark.parametrize("angles_deg", ANGLES[:-1])
def test_canonical_agrees_with_nibabel(angles_deg: tuple[int, int, int]) -> None:
    for volume in volumes_in_all_orders(angles_deg):
        expected = nib.as_closest_canonical(
            nib.Nifti1Image(volume.array.astype(np.int32), volume.grid.affine)
        )
        canonical = volume.canonical()
        np.testing.assert_array_equal(canonical.array, np.asarray(expected.dataobj))
        np.testing.assert_allclose(canonical.grid.affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize("angles_deg", ANGLES[:-1])
def test_any_order_can_be_brought_to_any_other(angles_deg: tuple[int, int, int]) -> None:
    # The shape belongs to the axes here, so that all 48 lie over the same field of view.
    base = numbered(Grid((3, 4, 5), next(volumes_in_all_orders(angles_deg)).grid.affine)).canonical()
    for order in itertools.permutations(range(3)):
        for steps in itertools.product((1, -1), repeat=3):
            array = base.array.transpose(order)[tuple(slice(None, None, step) for step in steps)]
            affine = np.eye(4)
            affine[:3, :3] = base.grid.affine[:3, order] * steps
            first = [
                base.array.shape[axis] - 1 if step < 0 else 0 for axis, step in zip(order, steps, strict=True)
            ]
            corner = np.zeros(3)
            corner[list(order)] = first
            affine[:3, 3] = base.grid.to_world(corner[None])[0]
            other = Volume(array, Grid(array.shape, affine))
            np.testing.assert_array_equal(base.reoriented_like(other.grid).array, other.array)


def test_canonical_keeps_names_and_notes(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.uint8)
    label_map = LabelMap(
        array, oblique_grid, names={1: "L5 vertebra"}, scheme="spider", ignored=frozenset({101})
    )
    canonical = label_map.canonical()
    assert canonical.names == label_map.names
    assert (canonical.scheme, canonical.ignored) == ("spider", frozenset({101}))
    volume = Volume(array, oblique_grid, modality="MR", sequence="T2", notes=("read so",)).canonical()
    assert (volume.modality, volume.sequence, volume.notes) == ("MR", "T2", ("read so",))


def test_reoriented_like_refuses_another_place_spacing_or_shape(oblique_grid: Grid) -> None:
    volume = numbered(oblique_grid)
    moved = oblique_grid.affine.copy()
    moved[0, 3] += 1
    stretched = oblique_grid.affine.copy()
    stretched[:3, 0] *= 1.1
    for shape, affine in (
        (oblique_grid.shape, moved),
        (oblique_grid.shape, stretched),
        ((7, 6, 4), oblique_grid.affine),
    ):
        with pytest.raises(GridMismatchError, match="resample"):
            volume.reoriented_like(Grid(shape, affine))


def test_an_array_must_fit_its_grid(oblique_grid: Grid) -> None:
    with pytest.raises(GridMismatchError, match="does not fit"):
        Volume(np.zeros((7, 6, 4)), oblique_grid)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_and_counted(oblique_grid: Grid, bad: float) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.float32)
    array[0, 0, :2] = bad
    with pytest.raises(VolumeError, match="2 voxels are NaN or infinite"):
        Volume(array, oblique_grid)


@pytest.mark.usefixtures("unchecked")
def test_complex_voxels_are_refused(oblique_grid: Grid) -> None:
    with pytest.raises(VolumeError, match="complex"):
        Volume(np.zeros(oblique_grid.shape, dtype=np.complex64), oblique_grid)


def test_label_values_without_a_name_are_refused(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.int16)
    array[0, 0, 0], array[0, 0, 1] = 7, 9
    with pytest.raises(SchemeError, match=r"\[9\] have no name in scheme 'spider'"):
        LabelMap(array, oblique_grid, names={7: "C1 vertebra"}, scheme="spider")
    assert LabelMap(array, oblique_grid, names={7: "C1 vertebra"}, ignored=frozenset({9})).present() == (
        "C1 vertebra",
    )


def test_masks_are_taken_by_name(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.uint8)
    array[1, 2, 3] = 4
    label_map = LabelMap(array, oblique_grid, names={4: "sacrum", 5: "coccyx"})
    assert np.argwhere(label_map.mask("sacrum")).tolist() == [[1, 2, 3]]
    assert label_map.value_of("coccyx") == 5
    assert label_map.present() == ("sacrum",)
    with pytest.raises(SchemeError, match="no label is named 'liver'"):
        label_map.mask("liver")


def test_a_scan_given_as_a_label_map_is_called_a_scan_and_not_listed_value_by_value() -> None:
    grid = Grid((10, 20, 30), np.eye(4))
    array = np.arange(6000, dtype=np.int16).reshape(grid.shape)
    with pytest.raises(SchemeError, match=r"5999 label values have no name .*looks like a scan") as caught:
        LabelMap(array, grid, names={}, scheme="spider")
    assert len(str(caught.value)) < 400
