"""Voxels keep their values and places: written and read, made canonical and back, for all 48 axis orders."""

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nomina.errors import GridMismatchError
from nomina.imaging.doctor_compare import grid_differences
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.read import read_label_array, read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import WRITE_SUFFIXES, write

ORDERS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
PLACE_TOLERANCE_MM = 2e-4  # NIfTI stores the affine as float32.


def oriented(order: tuple[int, ...], signs: tuple[int, ...], angles_deg: tuple[float, ...]) -> Grid:
    """Axis n runs along world axis order[n] or against it, before the rotation; all sizes differ."""
    affine = np.eye(4)
    directions = np.zeros((3, 3))
    for voxel, (world, sign) in enumerate(zip(order, signs, strict=True)):
        directions[world, voxel] = sign
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ directions * (0.47, 0.9, 4.4)
    affine[:3, 3] = (-101.25, 37.5, -512.125)
    return Grid((5, 4, 3), affine)


def numbered(grid: Grid) -> Volume:
    return Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape) - 20, grid)


def by_place(volume: Volume) -> dict[int, np.ndarray]:
    """World position of every value; values are unique."""
    voxels = np.argwhere(np.ones(volume.array.shape, dtype=bool))
    places = volume.grid.to_world(voxels.astype(float))
    return dict(zip(volume.array.ravel().tolist(), places, strict=True))


def assert_same_places(found: Volume, expected: Volume, tolerance_mm: float = PLACE_TOLERANCE_MM) -> None:
    ours, theirs = by_place(found), by_place(expected)
    assert ours.keys() == theirs.keys()
    gaps = [np.abs(ours[value] - theirs[value]).max() for value in theirs]
    assert max(gaps) < tolerance_mm


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
@pytest.mark.parametrize("angles_deg", [(0.0, 0.0, 0.0), (17.0, -11.0, 23.0)], ids=["straight", "oblique"])
def test_every_axis_order_survives_writing_and_reading(
    tmp_path: Path, suffix: str, angles_deg: tuple[float, ...]
) -> None:
    for order, signs in ORDERS:
        volume = numbered(oriented(order, signs, angles_deg))
        write(volume, tmp_path / f"a{suffix}")
        result = read_volume(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(result.array, volume.array)
        assert result.grid.orientation == volume.grid.orientation
        assert list(grid_differences(volume.grid, result.grid)) == []
        assert_same_places(result, volume)
        assert result.notes == ()


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WRITE_SUFFIXES, 2)))
def test_a_file_converted_twice_is_the_first_again(tmp_path: Path, first: str, second: str) -> None:
    for order, signs in ORDERS:
        volume = numbered(oriented(order, signs, (17.0, -11.0, 23.0)))
        write(volume, tmp_path / f"a{first}")
        write(read_volume(tmp_path / f"a{first}"), tmp_path / f"b{second}")
        write(read_volume(tmp_path / f"b{second}"), tmp_path / f"c{first}")
        result = read_volume(tmp_path / f"c{first}")
        np.testing.assert_array_equal(result.array, volume.array)
        assert_same_places(result, volume)


@pytest.mark.parametrize("source", [".mhd", ".nhdr", "DICOM folder", "DICOM zip"])
def test_what_nomina_reads_and_does_not_write_keeps_its_places_in_every_file_it_writes(
    tmp_path: Path, dicom_writer: Callable[..., list[Path]], source: str
) -> None:
    for n, (order, signs) in enumerate(ORDERS):
        volume = numbered(oriented(order, signs, (17.0, -11.0, 23.0)))
        folder = tmp_path / f"a{n}"
        folder.mkdir()
        path = folder
        if source.startswith("."):
            path = folder / f"a{source}"
            sitk.WriteImage(to_sitk(volume.array, volume.grid), str(path))
        else:
            slices = dicom_writer(folder, volume.array + 1024, volume.grid)
            if source == "DICOM zip":
                path = folder / "a.zip"
                with zipfile.ZipFile(path, "w") as archive:
                    for file in slices:
                        archive.write(file, file.name)
        first = read_volume(path)
        # A stack of slices may come back from its other end.
        assert_same_places(first, volume)
        for suffix in WRITE_SUFFIXES:
            write(first, tmp_path / f"b{suffix}")
            result = read_volume(tmp_path / f"b{suffix}")
            np.testing.assert_array_equal(result.array, first.array)
            assert_same_places(result, volume)


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_a_result_made_on_canonical_axes_lies_on_its_scan(tmp_path: Path, suffix: str) -> None:
    """The way of `nomina segment`: read, canonical, threshold, back, write."""
    for order, signs in ORDERS:
        scan = numbered(oriented(order, signs, (17.0, -11.0, 23.0)))
        write(scan, tmp_path / f"scan{suffix}")
        volume = read_volume(tmp_path / f"scan{suffix}")
        canonical = volume.canonical()
        mask = LabelMap((canonical.array > 10).astype(np.uint8), canonical.grid, names={1: "sacrum"})
        write(mask.reoriented_like(volume.grid), tmp_path / f"mask{suffix}")
        labels, grid = read_label_array(tmp_path / f"mask{suffix}")
        np.testing.assert_array_equal(labels, scan.array > 10)
        assert list(grid_differences(volume.grid, grid)) == []


@pytest.mark.parametrize("angles_deg", [(0.0, 0.0, 45.0), (45.0, 0.0, 0.0), (45.0, 45.0, 45.0)])
def test_axes_half_way_between_two_directions_come_back(angles_deg: tuple[float, ...]) -> None:
    for order, signs in ORDERS:
        volume = numbered(oriented(order, signs, angles_deg))
        canonical = volume.canonical()
        assert canonical.grid.orientation == "RAS"
        np.testing.assert_array_equal(canonical.reoriented_like(volume.grid).array, volume.array)


angles = st.tuples(*[st.floats(-180, 180, allow_nan=False)] * 3)
sizes = st.tuples(*[st.integers(2, 6)] * 3)
spacings = st.tuples(*[st.floats(0.05, 20)] * 3)
origins = st.tuples(*[st.floats(-2000, 2000)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix()
    affine[:3, :3] = rotation * draw(spacings) * draw(st.sampled_from([(1, 1, 1), (1, 1, -1)]))
    affine[:3, 3] = draw(origins)
    return Grid(draw(sizes), affine)


@given(grids())
@settings(max_examples=150, deadline=None)
def test_canonical_keeps_every_place_and_reoriented_like_undoes_it(grid: Grid) -> None:
    volume = numbered(grid)
    canonical = volume.canonical()
    assert canonical.grid.orientation == "RAS"
    assert_same_places(canonical, volume, 1e-8)
    back = canonical.reoriented_like(grid)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.grid.matches(grid)
    again = back.canonical()
    np.testing.assert_array_equal(again.array, canonical.array)
    np.testing.assert_allclose(again.grid.affine, canonical.grid.affine)


@given(grids(), st.sampled_from(ORDERS))
@settings(max_examples=150, deadline=None)
def test_reoriented_like_reaches_every_order_of_the_same_axes(
    grid: Grid, turn: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    order, signs = turn
    flips = tuple(slice(None, None, sign) for sign in signs)
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, order] * signs
    first = np.array(
        [0 if sign > 0 else grid.shape[axis] - 1 for axis, sign in zip(order, signs, strict=True)]
    )
    corner = np.zeros(3)
    corner[list(order)] = first
    affine[:3, 3] = grid.to_world(corner[None])[0]
    volume = numbered(grid)
    turned = Volume(volume.array.transpose(order)[flips], Grid(tuple(grid.shape[n] for n in order), affine))
    assert_same_places(turned, volume, 1e-8)
    np.testing.assert_array_equal(turned.reoriented_like(grid).array, volume.array)
    np.testing.assert_array_equal(volume.reoriented_like(turned.grid).array, turned.array)


@given(grids(), st.integers(0, 2), st.floats(0.01, 5))
@settings(max_examples=60, deadline=None)
def test_reoriented_like_refuses_a_grid_elsewhere(grid: Grid, axis: int, shift_mm: float) -> None:
    affine = grid.affine.copy()
    affine[axis, 3] += shift_mm
    with pytest.raises(GridMismatchError):
        numbered(grid).reoriented_like(Grid(grid.shape, affine))


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
@given(grid=grids())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_grid_survives_writing_and_reading(tmp_path: Path, suffix: str, grid: Grid) -> None:
    volume = numbered(grid)
    write(volume, tmp_path / f"a{suffix}")
    result = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(result.array, volume.array)
    assert_same_places(result, volume, 1e-3)


@given(grids(), st.lists(st.tuples(*[st.floats(-100, 100)] * 3), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_world_and_voxels_are_inverse(grid: Grid, voxels: list[tuple[float, float, float]]) -> None:
    points = np.array(voxels)
    np.testing.assert_allclose(grid.to_voxels(grid.to_world(points)), points, atol=1e-6)
