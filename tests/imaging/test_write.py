import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nomina.errors import OutputError
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_label_array, read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import WRITE_SUFFIXES, write

ReadOnly = Callable[[Path], AbstractContextManager[None]]


def corners(grid: Grid) -> np.ndarray:
    return np.array(list(itertools.product(*[(0.0, size - 1.0) for size in grid.shape])))


def numbered(grid: Grid) -> Volume:
    return Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape) - 50, grid)


def grids(grid: Grid) -> list[Grid]:
    """The grid and its mirror image: right- and left-handed."""
    mirrored = grid.affine.copy()
    mirrored[:3, 2] *= -1
    return [grid, Grid(grid.shape, mirrored)]


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_a_volume_comes_back_with_its_voxels_and_places(
    tmp_path: Path, oblique_grid: Grid, suffix: str
) -> None:
    for grid in grids(oblique_grid):
        volume = numbered(grid)
        write(volume, tmp_path / f"a{suffix}")
        result = read_volume(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(result.array, volume.array)
        assert result.array.dtype == np.int16
        np.testing.assert_allclose(
            result.grid.to_world(corners(grid)), grid.to_world(corners(grid)), atol=1e-4
        )
        assert result.notes == ()


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_simpleitk_sees_the_same_world_in_lps(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    for grid in grids(oblique_grid):
        volume = numbered(grid)
        write(volume, tmp_path / f"a{suffix}")
        image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
        for voxel in corners(grid).astype(int).tolist():
            world = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
            np.testing.assert_allclose(world, grid.to_world(np.array([voxel], dtype=float))[0], atol=1e-4)
            assert image.GetPixel(*voxel) == volume.array[tuple(voxel)]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nibabel_sees_both_forms_units_and_the_same_world(
    tmp_path: Path, oblique_grid: Grid, suffix: str
) -> None:
    for grid in grids(oblique_grid):
        write(numbered(grid), tmp_path / f"a{suffix}")
        image = nib.load(tmp_path / f"a{suffix}")
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.header["descrip"].tobytes().rstrip(b"\0") == b"nomina"
        for affine in (image.get_sform(), image.get_qform()):
            world = corners(grid) @ affine[:3, :3].T + affine[:3, 3]
            np.testing.assert_allclose(world, grid.to_world(corners(grid)), atol=1e-4)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)]
)
@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_label_maps_use_the_smallest_unsigned_type(
    tmp_path: Path, oblique_grid: Grid, suffix: str, highest: int, dtype: type
) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.int64)
    array[1, 2, 3] = highest
    write(LabelMap(array, oblique_grid, names={highest: "sacrum"}), tmp_path / f"a{suffix}")
    values, grid = read_label_array(tmp_path / f"a{suffix}")
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, array)
    np.testing.assert_allclose(grid.to_world(corners(grid)), oblique_grid.to_world(corners(grid)), atol=1e-4)


def test_nifti_label_maps_say_that_they_are_labels(tmp_path: Path, oblique_grid: Grid) -> None:
    label_map = LabelMap(np.ones(oblique_grid.shape, dtype=np.uint8), oblique_grid, names={1: "sacrum"})
    write(label_map, tmp_path / "labels.nii.gz")
    write(numbered(oblique_grid), tmp_path / "volume.nii.gz")
    assert int(nib.load(tmp_path / "labels.nii.gz").header["intent_code"]) == 1002
    assert int(nib.load(tmp_path / "volume.nii.gz").header["intent_code"]) == 0


def test_a_slightly_sheared_grid_is_written_without_a_false_qform(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 9e-4  # a quarter of a millimetre over 300 voxels
    grid = Grid((2, 300, 2), affine)
    write(Volume(np.zeros(grid.shape, dtype=np.uint8), grid), tmp_path / "a.nii")
    assert int(nib.load(tmp_path / "a.nii").header["qform_code"]) == 0
    assert read_volume(tmp_path / "a.nii").grid.matches(grid)


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    for name in ("a", "b"):
        write(numbered(oblique_grid), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (bool, np.uint8),
        (np.float16, np.float32),
        (np.float64, np.float64),
        (np.int64, np.uint16),
        (np.uint16, np.uint16),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".mha"])
def test_uncommon_types_are_stored_in_common_ones(
    tmp_path: Path, oblique_grid: Grid, suffix: str, dtype: type, expected: type
) -> None:
    numbers = np.arange(np.prod(oblique_grid.shape)).reshape(oblique_grid.shape) * 3 % 601
    array: np.ndarray = numbers.astype(dtype)
    write(Volume(array, oblique_grid), tmp_path / f"a{suffix}")
    result = read_volume(tmp_path / f"a{suffix}").array
    assert result.dtype == expected
    np.testing.assert_array_equal(result, array)


def test_a_view_in_any_memory_order_is_written_right(tmp_path: Path, oblique_grid: Grid) -> None:
    canonical = numbered(oblique_grid).canonical()
    for suffix in WRITE_SUFFIXES:
        write(canonical, tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, canonical.array)


def test_negative_labels_are_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    array = np.full(oblique_grid.shape, -1, dtype=np.int16)
    with pytest.raises(OutputError, match="got -1 to -1"):
        write(LabelMap(array, oblique_grid, names={-1: "sacrum"}), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_integers_beyond_32_bits_are_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    array = np.full(oblique_grid.shape, 2**40)
    with pytest.raises(OutputError, match="exceed 32-bit"):
        write(Volume(array, oblique_grid), tmp_path / "a.mha")


@pytest.mark.parametrize("name", ["a", "a.dcm", "a.nii.zip", "a.gz"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path, oblique_grid: Grid, name: str) -> None:
    with pytest.raises(OutputError, match=r"\.nii, \.nii\.gz, \.mha, \.nrrd"):
        write(numbered(oblique_grid), tmp_path / name)


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_a_missing_folder_is_not_created(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    with pytest.raises(OutputError, match="create it first"):
        write(numbered(oblique_grid), tmp_path / "nowhere" / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_an_unwritable_folder_is_an_output_error(
    tmp_path: Path, oblique_grid: Grid, suffix: str, read_only: ReadOnly
) -> None:
    with read_only(tmp_path), pytest.raises(OutputError, match="permissions"):
        write(numbered(oblique_grid), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
def test_only_the_asked_file_appears(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    write(numbered(oblique_grid), tmp_path / f"A.B{suffix.upper()}")
    assert [path.name for path in tmp_path.iterdir()] == [f"A.B{suffix.upper()}"]


def test_an_axis_too_long_for_nifti_names_another_format(tmp_path: Path) -> None:
    grid = Grid((2, 2, 40000), np.eye(4))
    with pytest.raises(OutputError, match=r"write \.nrrd instead"):
        write(Volume(np.zeros(grid.shape, dtype=np.uint8), grid), tmp_path / "a.nii.gz")
