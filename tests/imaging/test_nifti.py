import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.nifti import read_nifti


def image_on(grid: Grid, dtype: Any = np.int16, *, kind: Any = nib.Nifti1Image) -> Any:
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(dtype)
    image = kind(array, grid.affine)
    image.set_sform(grid.affine, 1)
    image.set_qform(grid.affine, 1)
    image.header.set_xyzt_units("mm")
    return image


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", ">u4", "<f4", ">f8"])
def test_voxels_and_affine_agree_with_nibabel(
    tmp_path: Path, oblique_grid: Grid, kind: Any, suffix: str, dtype: str
) -> None:
    image = image_on(oblique_grid, dtype, kind=kind)
    nib.save(
        kind(image.dataobj, image.affine, image.header.as_byteswapped(dtype[0] if dtype[0] in "<>" else "<")),
        tmp_path / f"a{suffix}",
    )
    volume = read_nifti(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.array, np.asarray(nib.load(tmp_path / f"a{suffix}").dataobj))
    np.testing.assert_allclose(volume.grid.affine, nib.load(tmp_path / f"a{suffix}").affine, atol=1e-6)
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
    assert volume.array.flags.writeable
    assert (volume.modality, volume.notes) == (None, ())


def scaled(path: Path, grid: Grid, slope: float, intercept: float) -> np.ndarray:
    """Read a file that holds 0, 1, 2 … with the given scaling in its header."""
    image = image_on(grid)
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([slope, intercept], dtype="<f4").tobytes()
    path.write_bytes(data)
    return read_nifti(path).array


def test_slope_and_intercept_are_applied(tmp_path: Path, oblique_grid: Grid) -> None:
    array = scaled(tmp_path / "a.nii", oblique_grid, 0.5, -3.25)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array.ravel(), np.arange(array.size) * 0.5 - 3.25)
    np.testing.assert_array_equal(array, nib.load(tmp_path / "a.nii").get_fdata())


@pytest.mark.parametrize("slope", [0.0, 1.0, np.nan])
def test_integers_stay_integers_without_scaling(tmp_path: Path, oblique_grid: Grid, slope: float) -> None:
    array = scaled(tmp_path / "a.nii", oblique_grid, slope, 0.0)
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array.ravel(), np.arange(array.size))


def test_a_whole_intercept_keeps_integers(tmp_path: Path, oblique_grid: Grid) -> None:
    array = scaled(tmp_path / "a.nii", oblique_grid, 1.0, -1024.0)
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array.ravel(), np.arange(array.size) - 1024)


def test_the_sform_is_taken_where_both_are_set_and_the_qform_alone_otherwise(
    tmp_path: Path, oblique_grid: Grid
) -> None:
    image = image_on(oblique_grid)
    for name, sform_code, qform_code in (("s", 2, 0), ("q", 0, 1), ("both", 4, 1)):
        image.header["sform_code"], image.header["qform_code"] = sform_code, qform_code
        (tmp_path / f"{name}.nii").write_bytes(image.to_bytes())
        np.testing.assert_allclose(
            read_nifti(tmp_path / f"{name}.nii").grid.affine, oblique_grid.affine, atol=1e-4
        )


def test_a_qform_that_disagrees_with_the_sform_is_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    moved = oblique_grid.affine.copy()
    moved[0, 3] += 0.05
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(VolumeError, match=r"up to 0\.0\d+ mm apart.*set_qform"):
        read_nifti(tmp_path / "a.nii")


def test_an_ignored_qform_may_say_anything(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    image.set_qform(np.diag([*oblique_grid.spacing_mm, 1.0]), 0)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").grid.affine, oblique_grid.affine, atol=1e-5)


@pytest.mark.parametrize("angle_deg", [179.99, 180.0, 180.02, 90.0, 1.0])
def test_quaternion_rounding_does_not_count_as_disagreement(tmp_path: Path, angle_deg: float) -> None:
    affine = np.eye(4)
    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    affine[:3, :3] = Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix() * 0.5
    image = image_on(Grid((512, 4, 300), affine), np.uint8)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").grid.affine, affine, atol=1e-6)


def test_no_orientation_at_all_is_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    data = bytearray(image_on(oblique_grid).to_bytes())
    data[252:256] = bytes(4)
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match="neither qform nor sform"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001)])
def test_other_length_units_become_millimetres_with_a_note(
    tmp_path: Path, oblique_grid: Grid, unit: str, factor: float
) -> None:
    image = image_on(oblique_grid)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")
    expected = oblique_grid.affine.copy()
    expected[:3] *= factor
    np.testing.assert_allclose(volume.grid.affine, expected, rtol=1e-5, atol=1e-9)
    assert "to millimetres" in volume.notes[0]


def test_a_missing_unit_is_noted(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    image.header["xyzt_units"] = 0
    nib.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").notes == (
        "The header names no length unit; millimetres were assumed.",
    )


def test_an_unknown_unit_code_is_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    data = bytearray(image.to_bytes())
    data[123] = 7
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match="invalid length unit"):
        read_nifti(tmp_path / "a.nii")


def test_a_trailing_axis_of_one_is_dropped_with_a_note(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    array = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(array[..., None], None, image.header), tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.array, array)
    assert "fourth axis" in volume.notes[0]


@pytest.mark.parametrize(
    ("shape", "words"),
    [((4, 5), "stack"), ((4, 5, 6, 2), r"\(4, 5, 6, 2\); split it"), ((4, 5, 6, 1, 3), "split it")],
)
def test_other_than_three_axes_are_refused(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    nib.save(nib.Nifti1Image(np.zeros(shape, dtype=np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(VolumeError, match=words):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("dtype", "words"),
    [([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours"), (np.complex64, "complex numbers")],
)
def test_colours_and_complex_numbers_are_refused(tmp_path: Path, dtype: Any, words: str) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=dtype), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(VolumeError, match=words):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan, np.inf])
def test_impossible_spacing_is_refused(tmp_path: Path, oblique_grid: Grid, spacing: float) -> None:
    data = bytearray(image_on(oblique_grid).to_bytes())
    data[84:88] = np.array(spacing, dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match="spacing must be positive"):
        read_nifti(tmp_path / "a.nii")


def test_two_different_spacings_are_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    image = image_on(oblique_grid)
    image.header["qform_code"] = 0
    image.header["pixdim"][3] = 3.1
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    with pytest.raises(VolumeError, match="two voxel spacings"):
        read_nifti(tmp_path / "a.nii")


def test_a_sheared_sform_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.25
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.uint8), affine), tmp_path / "a.nii")
    with pytest.raises(VolumeError, match="sheared"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, oblique_grid: Grid, share: float) -> None:
    data = image_on(Grid((40, 30, 20), oblique_grid.affine)).to_bytes()
    packed = gzip.compress(data)
    (tmp_path / "a.nii").write_bytes(data[: int(len(data) * share)])
    (tmp_path / "a.nii.gz").write_bytes(packed[: max(int(len(packed) * share), 3)])
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(data[: int(len(data) * share)]))
    for name in ("a.nii", "a.nii.gz", "b.nii.gz"):
        with pytest.raises(VolumeError, match=r"truncated|not a NIfTI"):
            read_nifti(tmp_path / name)


def test_a_changed_byte_in_compressed_data_is_noticed(tmp_path: Path, oblique_grid: Grid) -> None:
    packed = bytearray(gzip.compress(image_on(oblique_grid).to_bytes()))
    packed[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(VolumeError, match="damaged"):
        read_nifti(tmp_path / "a.nii.gz")


def test_a_wrong_gz_suffix_is_read_with_a_note(tmp_path: Path, oblique_grid: Grid) -> None:
    data = image_on(oblique_grid).to_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(data)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(data))
    assert "not gzip" in read_nifti(tmp_path / "plain.nii.gz").notes[0]
    assert "is gzip" in read_nifti(tmp_path / "packed.nii").notes[0]


@pytest.mark.parametrize("position", [40, 70, 344])
def test_a_damaged_header_is_refused(tmp_path: Path, oblique_grid: Grid, position: int) -> None:
    data = bytearray(image_on(oblique_grid).to_bytes())
    data[position : position + 4] = b"\xff\x7f\xff\x7f"
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match="export the scan again"):
        read_nifti(tmp_path / "a.nii")


def test_a_qform_without_handedness_is_right_handed_as_the_standard_says(tmp_path: Path) -> None:
    grid = Grid((7, 6, 5), np.diag([2.0, 3.0, 4.0, 1.0]))
    image = image_on(grid)
    image.header["sform_code"] = 0
    data = bytearray(image.to_bytes())
    data[76:80] = bytes(4)  # pixdim[0], "qfac"
    (tmp_path / "a.nii").write_bytes(data)
    volume = read_nifti(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.grid.affine, grid.affine)
    assert volume.notes == ("The qform names no handedness; right-handed axes were assumed.",)


def test_a_qform_with_an_impossible_handedness_is_refused(tmp_path: Path, oblique_grid: Grid) -> None:
    data = bytearray(image_on(oblique_grid).to_bytes())
    data[76:80] = np.array(0.5, dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match="qform is not a rotation"):
        read_nifti(tmp_path / "a.nii")


def test_a_long_header_extension_is_passed_over(tmp_path: Path) -> None:
    """TotalSegmentator writes kilobytes of XML there."""
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nib.Nifti1Image(array, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 9000))
    nib.save(image, tmp_path / "extended.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "extended.nii.gz").array, array)


@pytest.mark.parametrize("offset", [1.0, 100.0, 351.0])
def test_voxels_inside_the_header_are_refused(tmp_path: Path, oblique_grid: Grid, offset: float) -> None:
    data = bytearray(image_on(oblique_grid).to_bytes())
    data[108:112] = np.array([offset], dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match=f"puts the voxels at byte {offset:g}, expected 352"):
        read_nifti(tmp_path / "a.nii")
