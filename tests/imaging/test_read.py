from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nomina.errors import DicomError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.read import find_volumes, read_label_array, read_volume
from nomina.imaging.volume import Volume
from nomina.imaging.write import write


@pytest.fixture
def scan(tmp_path: Path, oblique_grid: Grid) -> Path:
    array = np.random.default_rng(0).normal(size=oblique_grid.shape).astype(np.float32)
    write(Volume(array, oblique_grid), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("name", ["A.NII.GZ", "a.b.Nii.gz"])
def test_suffixes_are_read_in_any_case(scan: Path, name: str) -> None:
    usual = read_volume(scan)
    renamed = read_volume(scan.rename(scan.with_name(name)))
    np.testing.assert_array_equal(renamed.array, usual.array)
    assert renamed.grid.matches(usual.grid)


def test_a_path_may_be_text(scan: Path) -> None:
    np.testing.assert_array_equal(read_volume(str(scan)).array, read_volume(scan).array)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("missing.nii.gz", None, "no such file"),
        ("missing", None, "no such file"),
        ("empty.mha", b"", "is empty"),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + b"0" * 500, "not a volume that nomina reads; expected .nii.gz"),
        ("text.nii", b"hello " * 200, "not a NIfTI"),
        ("text.nii.gz", b"hello " * 200, "not a NIfTI"),
        ("text.mha", b"hello " * 200, "not a MetaImage"),
        ("text.nrrd", b"hello " * 200, "not an NRRD"),
        ("text.zip", b"hello " * 200, "damaged"),
        ("noise.nii", bytes(range(256)) * 8, "not a NIfTI"),
    ],
)
def test_what_is_not_a_volume_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(VolumeError, match=words) as caught:
        read_volume(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DicomError, match="no DICOM"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_a_single_slice_is_refused(tmp_path: Path, suffix: str) -> None:
    write(Volume(np.zeros((8, 9, 1), dtype=np.uint8), Grid((8, 9, 1), np.eye(4))), tmp_path / f"a{suffix}")
    with pytest.raises(VolumeError, match="single slice"):
        read_volume(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_nan_and_infinity_are_refused_with_the_file_name(tmp_path: Path, suffix: str, bad: float) -> None:
    array = np.zeros((4, 5, 6), dtype=np.float32)
    array[1, 2, 3] = bad
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    with pytest.raises(VolumeError, match=f"a{suffix}: 1 voxels are NaN or infinite"):
        read_volume(path)


def test_an_unreadable_file_is_a_volume_error(
    tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VolumeError, match=r"scan\.nii\.gz cannot be read: Permission denied"):
        read_volume(scan)


@pytest.mark.parametrize(("stored", "expected"), [("u1", "u1"), ("i2", "i2"), ("f4", "i4"), ("f8", "i4")])
def test_label_values_are_integers(tmp_path: Path, oblique_grid: Grid, stored: str, expected: str) -> None:
    array = np.zeros(oblique_grid.shape, dtype=stored)
    array[1, 2, 3] = 201
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(tmp_path / "a.mha"))
    values, grid = read_label_array(tmp_path / "a.mha")
    assert values.dtype == np.dtype(expected)
    assert grid.shape == values.shape == oblique_grid.shape
    assert np.argwhere(values == 201).tolist() == [[1, 2, 3]]


def test_fractional_labels_are_refused_and_counted(scan: Path) -> None:
    with pytest.raises(VolumeError, match="210 voxels are not whole numbers"):
        read_label_array(scan)


def test_labels_too_large_for_labels_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), 1e12)), str(tmp_path / "a.mha"))
    with pytest.raises(VolumeError, match="too large for labels"):
        read_label_array(tmp_path / "a.mha")


def test_folders_become_their_volumes_in_order(tmp_path: Path) -> None:
    for name in (
        "b.nii.gz",
        "a.MHA",
        "c.nrrd",
        "notes.txt",
        ".hidden.nii",
        "series/1",
        "series/2",
        "series/d.zip",
        "deep/er/1",
        "deep/er/e.mhd",
        "deep/er/still/f.mhd",
        "deep/er/still/f.zraw",
        "empty/x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM" if name[-1].isdigit() else b"x")
    (tmp_path / "deep/er/back").symlink_to(tmp_path)
    found = find_volumes([tmp_path / "c.nrrd", tmp_path])
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == [
        "c.nrrd", "a.MHA", "b.nii.gz", "c.nrrd", "deep/er", "deep/er/e.mhd", "deep/er/still/f.mhd", "series",
        "series/d.zip",
    ]  # fmt: skip
    assert [path.name for path in found.others] == ["x.txt", "notes.txt"]


def test_a_folder_of_dicom_files_is_one_volume(tmp_path: Path) -> None:
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "IM0002").write_bytes(b"\0" * 128 + b"DICM")
    assert find_volumes([tmp_path]).paths == (tmp_path,)


def test_inputs_that_cannot_be_read_are_kept_so_that_reading_names_them(tmp_path: Path) -> None:
    paths = (tmp_path, tmp_path / "missing.nii")
    assert find_volumes(paths).paths == paths


def test_real_spider_files_agree_with_simpleitk(shared_data: Path) -> None:
    name = "5_t2_SPACE.mha"
    image = sitk.ReadImage(str(shared_data / "spider_t2space" / "images" / name))
    volume = read_volume(shared_data / "spider_t2space" / "images" / name)
    labels, grid = read_label_array(shared_data / "spider_t2space" / "masks" / name)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    assert grid.matches(volume.grid)
    assert volume.grid.orientation == "RAS"
    # Vertebra 1 is the lowest one; the canal runs behind the bodies.
    canonical = Volume(labels, grid).canonical()
    lowest, above = (np.argwhere(canonical.array == value).mean(axis=0) for value in (1, 3))
    assert lowest[2] < above[2]


@pytest.mark.parametrize(
    "name",
    [
        "chest/elastix_lung/baseline_lungmask.nii.gz",
        "chest/lidc_idri_0314/lidc_idri_0314_crop_lung1_vessel2_SILVER.nii.gz",
        "chest/cip_ct64/ct-64.nrrd",
        "spine_other/tptbox_samples/sample_mri/sub-mri_label-6_T2w.nii.gz",
        "spine_other/totalseg_spine_ct/example_mr_sm.nii.gz",
    ],
)
def test_real_files_agree_with_simpleitk(shared_data: Path, name: str) -> None:
    image = sitk.ReadImage(str(shared_data / name))
    volume = read_volume(shared_data / name)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    for voxel in ((0, 0, 0), tuple(size - 1 for size in volume.grid.shape)):
        world = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(volume.grid.to_world(np.array([voxel], dtype=float))[0], world, atol=1e-3)
