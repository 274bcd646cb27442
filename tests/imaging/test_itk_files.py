import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.metaimage import read_metaimage
from nomina.imaging.nrrd import read_nrrd
from nomina.imaging.volume import Volume

READERS: dict[str, Callable[[Path], Volume]] = {
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
}


def numbered(grid: Grid, dtype: str = "i2") -> np.ndarray:
    return (np.arange(np.prod(grid.shape)) * 7 % 120).reshape(grid.shape).astype(dtype)


def edit(path: Path, pattern: bytes, replacement: bytes) -> None:
    data, count = re.subn(pattern, replacement, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(data)


@pytest.fixture
def mha(tmp_path: Path, oblique_grid: Grid) -> Path:
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(tmp_path / "a.mha"))
    return tmp_path / "a.mha"


@pytest.fixture
def nrrd(tmp_path: Path, oblique_grid: Grid) -> Path:
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(tmp_path / "a.nrrd"))
    return tmp_path / "a.nrrd"


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_voxels_and_places_agree_with_simpleitk(
    tmp_path: Path, oblique_grid: Grid, suffix: str, is_compressed: bool, dtype: str
) -> None:
    array = numbered(oblique_grid, dtype)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(to_sitk(array, oblique_grid), str(path), is_compressed)
    image = sitk.ReadImage(str(path))
    volume = READERS[suffix](path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == np.dtype(dtype)
    for voxel in ((0, 0, 0), (6, 5, 4), (1, 4, 2)):
        world = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(volume.grid.to_world(np.array([voxel], dtype=float))[0], world, atol=1e-9)
        assert image.GetPixel(*voxel) == volume.array[voxel]
    assert (volume.modality, volume.notes) == (None, ())


def test_big_endian_voxels_are_read(mha: Path, oblique_grid: Grid) -> None:
    header = mha.read_bytes()[: -numbered(oblique_grid).nbytes]
    mha.write_bytes(header + numbered(oblique_grid).ravel("F").astype(">i2").tobytes())
    edit(mha, rb"BinaryDataByteOrderMSB = False", b"BinaryDataByteOrderMSB = True")
    np.testing.assert_array_equal(read_metaimage(mha).array, numbered(oblique_grid))


@pytest.mark.parametrize("header_size", [b"5", b"-1"])
def test_the_header_of_a_separate_data_file_is_skipped(
    tmp_path: Path, oblique_grid: Grid, header_size: bytes
) -> None:
    path = tmp_path / "a.mhd"
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(path))
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"12345" + raw.read_bytes())
    edit(path, rb"ElementDataFile", b"HeaderSize = " + header_size + b"\nElementDataFile")
    np.testing.assert_array_equal(read_metaimage(path).array, numbered(oblique_grid))


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_without_its_data_file_is_refused(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(tmp_path / f"a{suffix}"))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(VolumeError, match=r"a\.raw"):
        READERS[suffix](tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("num_lost", [1, 100])
def test_truncated_files_are_refused(
    tmp_path: Path, oblique_grid: Grid, suffix: str, is_compressed: bool, num_lost: int
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(path), is_compressed)
    data_file = next((other for other in sorted(tmp_path.iterdir()) if other != path), path)
    data_file.write_bytes(data_file.read_bytes()[:-num_lost])
    with pytest.raises(VolumeError, match="truncated"):
        READERS[suffix](path)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_damaged_compressed_voxels_are_refused(tmp_path: Path, oblique_grid: Grid, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(path), True)
    for position in (-30, -6, -2):
        data = bytearray(path.read_bytes())
        data[position] ^= 0x5A
        (tmp_path / f"b{suffix}").write_bytes(data)
        with pytest.raises(VolumeError, match="damaged"):
            READERS[suffix](tmp_path / f"b{suffix}")


def test_compressed_voxels_cut_short_with_a_matching_header_are_refused(
    tmp_path: Path, oblique_grid: Grid
) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(to_sitk(numbered(oblique_grid), oblique_grid), str(path), True)
    edit(path, rb"CompressedDataSize = \d+", b"CompressedDataSize = 40")
    with pytest.raises(VolumeError, match="truncated or damaged"):
        read_metaimage(path)


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (rb"ElementSpacing = \S+", b"ElementSpacing = 0", "spacing must be positive"),
        (rb"ElementSpacing = \S+", b"ElementSpacing = -1", "spacing must be positive"),
        (rb"ElementSpacing = \S+", b"ElementSpacing = nan", "spacing must be positive"),
        (rb"ElementSpacing = [^\n]*\n", b"", "no ElementSpacing"),
        (rb"ElementSpacing = \S+", b"ElementSpacing = one", "not a list of numbers"),
        (rb"TransformMatrix = [^\n]*", b"TransformMatrix = 1 0 0 0.6 0.8 0 0 0 1", "sheared"),
        (rb"TransformMatrix = [^\n]*", b"TransformMatrix = 2 0 0 0 1 0 0 0 1", "columns of length 1"),
        (rb"TransformMatrix = [^\n]*", b"TransformMatrix = 1 0 0 1 0 0 0 0 1", "sheared"),
        (rb"DimSize = [^\n]*", b"DimSize = 7 6", "impossible shape"),
        (rb"DimSize = [^\n]*", b"DimSize = 7 6 0", "impossible shape"),
        (rb"ElementType = \S+", b"ElementType = MET_STRING", "MET_STRING"),
        (rb"ElementType", b"ElementNumberOfChannels = 3\nElementType", "3 components"),
        (rb"BinaryData = True", b"BinaryData = False", "written as text"),
        (rb"ElementDataFile = LOCAL", b"ElementDataFile = LIST", "several files"),
        (rb"ObjectType", b"\x00garbage\n", "not a MetaImage"),
    ],
)
def test_bad_metaimage_headers_are_refused(mha: Path, pattern: bytes, replacement: bytes, words: str) -> None:
    edit(mha, pattern, replacement)
    with pytest.raises(VolumeError, match=words):
        read_metaimage(mha)


def test_an_intensity_scale_of_a_metaimage_is_not_applied_and_said(mha: Path) -> None:
    """ITK and what is built on it do not apply it either."""
    stored = read_metaimage(mha).array
    added = b"ElementToIntensityFunctionSlope = 1.0\nElementToIntensityFunctionOffset = -1024\nElementType"
    mha.write_bytes(mha.read_bytes().replace(b"ElementType", added, 1))
    volume = read_metaimage(mha)
    np.testing.assert_array_equal(volume.array, stored)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(mha))).transpose())
    assert volume.notes == (
        "The header's ElementToIntensityFunctionOffset -1024 was not applied, as in ITK.",
    )


def test_a_metaimage_without_direction_is_read_with_a_note(mha: Path) -> None:
    edit(mha, rb"TransformMatrix = [^\n]*\n", b"")
    volume = read_metaimage(mha)
    assert volume.grid.orientation == "LPS"
    assert "no direction" in volume.notes[0]


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (
            rb"space directions: [^\n]*",
            b"space directions: (0,0,0) (0,1,0) (0,0,1)",
            "spacing must be positive",
        ),
        (rb"space directions: [^\n]*", b"space directions: (1,0.5,0) (0,1,0) (0,0,1)", "sheared"),
        (rb"space: left-posterior-superior", b"space: scanner-xyz", "scanner-xyz"),
        (rb"space: [^\n]*", b"space dimension: 3", "how the axes lie"),
        (rb"space origin", b'space units: "m" "m" "m"\nspace origin', "lengths are in m, expected mm"),
        (rb"NRRD", b"DRRN", "not an NRRD"),
        (rb"sizes: [^\n]*", b"sizes: 7 6", "header cannot be read"),
        (rb"type: short", b"type: block", "of type .block."),
    ],
)
def test_bad_nrrd_headers_are_refused(nrrd: Path, pattern: bytes, replacement: bytes, words: str) -> None:
    edit(nrrd, pattern, replacement)
    with pytest.raises(VolumeError, match=words):
        read_nrrd(nrrd)


@pytest.mark.parametrize(
    ("space", "signs"), [("right-anterior-superior", (1, 1, 1)), ("LAS", (-1, 1, 1)), ("LPS", (-1, -1, 1))]
)
def test_every_patient_space_of_nrrd_becomes_ras(nrrd: Path, space: str, signs: tuple[int, int, int]) -> None:
    stored = (
        np.array(
            [
                float(n)
                for n in re.findall(
                    rb"[-\d.e]+", nrrd.read_bytes().split(b"space directions:")[1].split(b"\n")[0]
                )
            ]
        )
        .reshape(3, 3)
        .T
    )
    edit(nrrd, rb"left-posterior-superior", space.encode())
    np.testing.assert_allclose(read_nrrd(nrrd).grid.affine[:3, :3], np.diag(signs) @ stored, atol=1e-12)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_four_axes_two_axes_and_colours_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for image in (
        sitk.GetImageFromArray(np.zeros((2, 4, 5, 6)), isVector=False),
        sitk.GetImageFromArray(np.zeros((4, 5))),
        sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), dtype=np.uint8), isVector=True),
    ):
        sitk.WriteImage(image, str(path))
        with pytest.raises(VolumeError, match=r"expected|how the axes lie"):
            READERS[suffix](path)


def test_a_trailing_axis_of_one_is_dropped_with_a_note(tmp_path: Path) -> None:
    array = np.arange(120, dtype=np.int16).reshape(1, 4, 5, 6)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / "a.mha"))
    volume = read_metaimage(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array, array[0].transpose(2, 1, 0))
    assert "fourth axis" in volume.notes[0]
