import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    SegmentationStorage,
    generate_uid,
)

from nomina.errors import DicomError
from nomina.imaging.dicom_series import is_dicom_file, read_series
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_volume

Writer = Callable[..., list[Path]]


@pytest.fixture
def ct_grid(oblique_grid: Grid) -> Grid:
    """The oblique grid with right-handed axes, as the frames of a scanner are."""
    affine = oblique_grid.affine.copy()
    affine[:3, 2] *= -1
    return Grid((7, 6, 9), affine)


@pytest.fixture
def stored(ct_grid: Grid) -> np.ndarray:
    return np.arange(np.prod(ct_grid.shape)).reshape(ct_grid.shape)


def test_voxels_places_and_hounsfield_units_come_back(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    dicom_writer(tmp_path, stored, ct_grid)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.grid.affine, ct_grid.affine, atol=1e-9)
    assert (volume.modality, volume.sequence, volume.notes) == ("CT", None, ())


def test_slices_are_ordered_by_position_not_by_instance_number_or_name(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    numbers = np.random.default_rng(0).permutation(9)
    paths = dicom_writer(tmp_path / "a", stored, ct_grid, InstanceNumber=lambda k: int(numbers[k]))
    renamed = [path.rename(tmp_path / "a" / f"IM{n}") for path, n in zip(paths, numbers, strict=True)]
    assert all(is_dicom_file(path) for path in renamed)
    np.testing.assert_array_equal(read_volume(tmp_path / "a").array, stored - 1024)


def test_simpleitk_sees_the_same_world(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path, stored, ct_grid)
    image = sitk.ReadImage([str(path) for path in paths])
    volume = read_series(tmp_path)
    for voxel in ((0, 0, 0), (6, 5, 8), (2, 5, 1)):
        world = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(volume.grid.to_world(np.array([voxel], dtype=float))[0], world, atol=1e-6)
        assert image.GetPixel(*voxel) == volume.array[voxel]


def test_each_slice_has_its_own_rescale(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    dicom_writer(tmp_path, stored, ct_grid, RescaleSlope=lambda k: 0.5 + k, RescaleIntercept=lambda k: -k)
    volume = read_series(tmp_path)
    slices = np.arange(9)
    np.testing.assert_allclose(volume.array, stored * (0.5 + slices) - slices)
    assert volume.array.dtype == np.float32


def test_a_zip_is_read_like_its_folder(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path / "series", stored, ct_grid)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("study/readme.txt", "hello")
        for path in paths:
            archive.write(path, f"study/series/{path.name}")
    volume = read_volume(tmp_path / "a.zip")
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert volume.notes == ("Skipped 1 member(s) of the zip that are not DICOM.",)


@pytest.mark.parametrize("missing", [1, 4, 7])
def test_a_missing_slice_is_located(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer, missing: int
) -> None:
    dicom_writer(tmp_path, stored, ct_grid)[missing].unlink()
    with pytest.raises(
        DicomError, match=rf"5\.8 mm between slices {missing} and {missing + 1} of 8 .* 2\.9 mm"
    ):
        read_series(tmp_path)


def test_a_missing_slice_among_three_is_located(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    for path in dicom_writer(tmp_path, stored, ct_grid)[4:]:
        path.unlink()
    (tmp_path / "0898.dcm").unlink()
    with pytest.raises(DicomError, match=r"5\.8 mm between slices 2 and 3 of 3 .* elsewhere 2\.9 mm"):
        read_series(tmp_path)


def test_rounded_positions_are_not_missing_slices(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    affine = np.diag([0.7, 0.7, 0.625, 1.0])
    dicom_writer(
        tmp_path,
        stored,
        Grid(ct_grid.shape, affine),
        ImagePositionPatient=lambda k: [0, 0, round(0.625 * k, 1)],
    )
    assert read_series(tmp_path).grid.spacing_mm[2] == pytest.approx(0.625)


def test_spacing_that_grows_along_the_stack_is_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    dicom_writer(
        tmp_path,
        stored,
        Grid(ct_grid.shape, np.diag([1.0, 1, 5, 1])),
        ImagePositionPatient=lambda k: [0, 0, 5 * k + 0.025 * k * k],
    )
    with pytest.raises(DicomError, match="unevenly spaced"):
        read_series(tmp_path)


def test_repeated_positions_are_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path, stored, ct_grid)
    for path in paths[:3]:
        shutil.copy(path, tmp_path / f"copy-{path.name}")
    with pytest.raises(DicomError, match="3 slices repeat the position"):
        read_series(tmp_path)


def test_gantry_tilt_is_measured_and_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    tilt = np.tan(np.radians(10))
    dicom_writer(
        tmp_path,
        stored,
        Grid(ct_grid.shape, np.diag([1.0, 1.0, 5.0, 1.0])),
        ImagePositionPatient=lambda k: [0, 5 * k * tilt, 5 * k],
    )
    with pytest.raises(DicomError, match=r"gantry tilt of about 10\.0 degrees"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (
            {"PixelSpacing": lambda k: [1, 1 + (k == 3)]},
            "1 of 9 slices differ from the first in pixel spacing",
        ),
        (
            {"ImageOrientationPatient": lambda k: [1, 0, 0, 0, 1, 0] if k else [0, 1, 0, 0, 0, -1]},
            "in orientation",
        ),
        ({"PixelSpacing": [0, 1]}, "impossible geometry"),
        ({"PixelSpacing": [1, -1]}, "impossible geometry"),
        ({"RescaleSlope": 0}, "rescale slope 0"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 2, 0]}, "perpendicular unit vectors"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular unit vectors"),
        ({"ImagePositionPatient": None}, "does not say where its image lies"),
        ({"PixelSpacing": None}, "does not say where its image lies"),
        ({"SamplesPerPixel": 3}, "in colour"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaics"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "look-up table"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "only localizer"),
        ({"NumberOfFrames": 4}, "has 4 frames but says where 1"),
    ],
)
def test_series_that_make_no_volume_are_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer, tags: dict[str, Any], words: str
) -> None:
    after = {key: tags.pop(key) for key in ("SamplesPerPixel", "NumberOfFrames") if key in tags}
    for path in dicom_writer(tmp_path, stored, ct_grid, **tags):
        dataset = pydicom.dcmread(path)
        for keyword, value in after.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    with pytest.raises(DicomError, match=words):
        read_series(tmp_path)


def test_slices_of_different_size_are_refused(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    dicom_writer(tmp_path, np.zeros((7, 6, 9)), ct_grid)
    other = dicom_writer(tmp_path / "other", np.zeros((6, 6, 9)), ct_grid)[4]
    dataset = pydicom.dcmread(other)
    dataset.SeriesInstanceUID = pydicom.dcmread(tmp_path / "0900.dcm").SeriesInstanceUID
    dataset.save_as(tmp_path / "0896.dcm")
    with pytest.raises(DicomError, match="1 of 9 slices differ from the first in size"):
        read_series(tmp_path)


def test_several_series_are_listed_and_one_can_be_chosen(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    for name, shift in (("one", 0), ("two", 5)):
        for path in dicom_writer(tmp_path / name, stored + shift, ct_grid, SeriesNumber=shift):
            path.rename(tmp_path / f"{name}-{path.name}")
    uid = pydicom.dcmread(tmp_path / "two-0900.dcm").SeriesInstanceUID
    with pytest.raises(DicomError, match=r"2 series are mixed") as caught:
        read_series(tmp_path)
    assert f"\n  {uid} (number 5, CT, 9 files)" in str(caught.value)
    assert "`nomina segment ... --series UID`" in str(caught.value)
    np.testing.assert_array_equal(read_volume(tmp_path, series_uid=uid).array, stored + 5 - 1024)
    np.testing.assert_array_equal(read_series(tmp_path, series_uid=uid).array, stored + 5 - 1024)
    with pytest.raises(DicomError, match=r"series 1\.2\.3 is not here; choose one of:"):
        read_series(tmp_path, series_uid="1.2.3")


def reinterpret(paths: list[Path], photometric: str) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PhotometricInterpretation = photometric
        dataset.save_as(path)


def test_images_stored_inverted_come_out_with_air_dark(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    """MONOCHROME1 shows its lowest value as white; only the tag differs between the two folders."""
    tags = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}
    dicom_writer(tmp_path / "plain", stored, ct_grid, **tags)
    inverted = dicom_writer(tmp_path / "inverted", 1000 - stored, ct_grid, **tags)
    reinterpret(inverted, "MONOCHROME1")
    volume = read_series(tmp_path / "inverted")
    expected = read_series(tmp_path / "plain").array
    np.testing.assert_array_equal(volume.array - volume.array.min(), expected - expected.min())
    assert volume.array.dtype == expected.dtype
    (note,) = volume.notes
    assert "MONOCHROME1" in note
    assert f"{1000 - stored.max()} + 1000 - value" in note


def test_hounsfield_units_stay_whatever_the_display_says(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    reinterpret(dicom_writer(tmp_path, stored, ct_grid), "MONOCHROME1")
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, stored - 1024)
    (note,) = volume.notes
    assert "MONOCHROME1" in note
    assert "stay as they are" in note


def test_slices_of_both_kinds_are_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    reinterpret(dicom_writer(tmp_path, stored, ct_grid)[:2], "MONOCHROME1")
    with pytest.raises(DicomError, match=r"2 of 9 files are MONOCHROME1") as caught:
        read_series(tmp_path)
    assert caught.value.code == "mixed-photometric"


def test_localizers_other_objects_and_foreign_files_are_left_out_with_notes(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    folder = tmp_path / "all"
    dicom_writer(folder, stored, ct_grid)
    scouts = dicom_writer(
        tmp_path / "scout", stored[:, :, :2], ct_grid, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    report = dicom_writer(
        tmp_path / "report", stored[:, :, :1], ct_grid, SOPClassUID=ComprehensiveSRStorage, Modality="SR"
    )
    mask = dicom_writer(
        tmp_path / "seg", stored[:, :, :1], ct_grid, SOPClassUID=SegmentationStorage, Modality="SEG"
    )
    for number, path in enumerate([*scouts, *report, *mask]):
        shutil.copy(path, folder / f"extra{number}.dcm")
    (folder / "notes.txt").write_text("hello")
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert volume.notes == (
        "Skipped 1 DICOM object(s) of modality SEG.",
        "Skipped 1 DICOM object(s) of modality SR.",
        "Skipped 1 file(s) that are not DICOM.",
        "Skipped 2 localizer image(s).",
    )


def test_a_folder_of_segmentations_is_not_a_scan(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    dicom_writer(tmp_path, np.zeros((7, 6, 2)), ct_grid, SOPClassUID=SegmentationStorage, Modality="SEG")
    with pytest.raises(DicomError, match="2 of modality SEG"):
        read_series(tmp_path)


def test_a_single_slice_is_refused(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    path = dicom_writer(tmp_path, np.zeros((7, 6, 1)), ct_grid)[0]
    for source in (tmp_path, path):
        with pytest.raises(DicomError, match="a single slice is not a volume"):
            read_volume(source)


def test_spacing_that_the_header_states_otherwise_is_noted(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    dicom_writer(tmp_path, stored, ct_grid, SpacingBetweenSlices=1.45)
    assert read_series(tmp_path).notes == (
        "Slices lie 2.9 mm apart by their positions, which were used; the header says 1.45 mm.",
    )


def test_nothing_that_names_the_patient_is_in_notes_or_errors(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path, stored, ct_grid, SeriesDescription="Doe Jane P-4711")
    (tmp_path / "x.txt").write_text("x")
    texts = [*read_series(tmp_path).notes]
    paths[4].unlink()
    with pytest.raises(DicomError) as caught:
        read_series(tmp_path)
    texts.append(str(caught.value))
    for secret in ("Doe", "4711", "1987"):
        assert not any(secret in text for text in texts)


def test_damaged_files_are_named(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    path = dicom_writer(tmp_path, stored, ct_grid)[4]
    data = path.read_bytes()
    for size in (140, 200, len(data) - 90, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(DicomError, match=r"0896\.dcm"):
            read_series(tmp_path)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "RescaleSlope", "ImagePositionPatient"])
def test_values_that_are_no_numbers_are_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer, keyword: str
) -> None:
    path = dicom_writer(tmp_path, stored, ct_grid)[4]
    data = path.read_bytes()
    tag = pydicom.tag.Tag(keyword)
    start = data.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + b"DS") + 8
    path.write_bytes(data[:start] + b"x" + data[start + 1 :])
    with pytest.raises(DicomError, match=r"0896\.dcm"):
        read_series(tmp_path)


def test_files_without_a_preamble_are_read(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    for path in dicom_writer(tmp_path, stored, ct_grid, SpecificCharacterSet="ISO_IR 100"):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_series(tmp_path).array, stored - 1024)


def test_mr_series_carry_modality_and_weighting(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, dicom_writer: Writer
) -> None:
    dicom_writer(
        tmp_path,
        stored,
        ct_grid,
        Modality="MR",
        SeriesDescription="t2_tse_sag",
        RescaleSlope=None,
        RescaleIntercept=None,
    )
    volume = read_series(tmp_path)
    assert (volume.modality, volume.sequence) == ("MR", "T2")
    assert volume.array.dtype == np.uint16
    np.testing.assert_array_equal(volume.array, stored)


def test_compressed_slices_are_decoded_and_cut_ones_refused(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, ct_grid.shape)
    paths = dicom_writer(tmp_path, stored, ct_grid)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_series(tmp_path).array, stored - 1024)
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    with pytest.raises(DicomError, match=r"0898\.dcm"):
        read_series(tmp_path)


def enhanced(path: Path, stored: np.ndarray, grid: Grid, order: np.ndarray) -> None:
    """An enhanced MR file whose frames are stored in a given order, each with its own rescale."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    directions = lps[:3, :3] / grid.spacing_mm

    def group(**sequences: dict[str, Any]) -> pydicom.Dataset:
        result = pydicom.Dataset()
        for name, values in sequences.items():
            item = pydicom.Dataset()
            for keyword, value in values.items():
                setattr(item, keyword, value)
            setattr(result, name, [item])
        return result

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "MR"
    dataset.AcquisitionContrast = "T1"
    dataset.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence={"ImageOrientationPatient": [*directions[:, 0], *directions[:, 1]]},
            PixelMeasuresSequence={"PixelSpacing": [grid.spacing_mm[1], grid.spacing_mm[0]]},
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence={"ImagePositionPatient": list(lps[:3, 3] + k * lps[:3, 2])},
            PixelValueTransformationSequence={"RescaleSlope": 2.0 + int(k), "RescaleIntercept": 0.5},
        )
        for k in order
    ]
    frames = np.ascontiguousarray(stored.transpose(2, 1, 0)[order].astype(np.uint16))
    dataset.set_pixel_data(frames, "MONOCHROME2", 16)
    dataset.NumberOfFrames = len(order)
    dataset.save_as(path, enforce_file_format=True)


def test_enhanced_multi_frame_files_are_read_by_position(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray
) -> None:
    order = np.random.default_rng(0).permutation(9)
    enhanced(tmp_path / "multi.dcm", stored, ct_grid, order)
    volume = read_volume(tmp_path / "multi.dcm")
    np.testing.assert_allclose(volume.array, stored * (2.0 + np.arange(9)) + 0.5)
    np.testing.assert_allclose(volume.grid.affine, ct_grid.affine, atol=1e-9)
    assert (volume.modality, volume.sequence) == ("MR", "T1")


def test_an_enhanced_file_with_two_frames_at_one_place_is_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray
) -> None:
    enhanced(tmp_path / "multi.dcm", stored, ct_grid, np.array([0, 1, 2, 2, 3]))
    with pytest.raises(DicomError, match="1 slices repeat"):
        read_volume(tmp_path / "multi.dcm")


def as_lossless_jpeg(path: Path) -> None:
    """Compress an enhanced file as no decoder of pydicom can read it."""
    dataset = pydicom.dcmread(path)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(dataset.pixel_array))
    packed = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    dataset.BitsStored, dataset.HighBit = packed.BitsStored, packed.HighBit
    dataset["PixelData"] = packed["PixelData"]
    dataset.save_as(path)


def test_lossless_jpeg_in_one_file_is_read_where_all_frames_have_one_rescale(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray
) -> None:
    path = tmp_path / "multi.dcm"
    enhanced(path, stored, ct_grid, np.arange(9))
    as_lossless_jpeg(path)
    with pytest.raises(DicomError, match="9 different rescales"):
        read_volume(path)
    dataset = pydicom.dcmread(path)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelValueTransformationSequence[0].RescaleSlope = 2.5
    dataset.save_as(path)
    np.testing.assert_array_equal(read_volume(path).array, stored * 2.5 + 0.5)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_file_with_more_pixels_than_its_header_says_is_refused(
    tmp_path: Path, ct_grid: Grid, stored: np.ndarray, keyword: str
) -> None:
    """Half the rows would leave twice the frames, the first half of which would pass for the scan."""
    enhanced(tmp_path / "multi.dcm", stored, ct_grid, np.arange(9))
    dataset = pydicom.dcmread(tmp_path / "multi.dcm")
    dataset[keyword].value //= 2
    dataset.save_as(tmp_path / "multi.dcm")
    with pytest.raises(DicomError, match="its header says 9 of"):
        read_volume(tmp_path / "multi.dcm")


@pytest.fixture(scope="session")
def conversion_cases(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked test files of dicom2nifti."""
    folder = tmp_path_factory.mktemp("dicom2nifti")
    with zipfile.ZipFile(shared_data / "dicom" / "dicom2nifti_tests_subset.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize(
    "case",
    [
        "ge/anatomical/001",
        "ge/anatomical/001_implicit",
        "generic/anatomical/001",
        "generic/anatomical/001_implicit",
        "generic/anatomical/002_non_isotropic",
        "generic/compressed/001",
        "generic/compressed_j2k/001",
        "generic/compressed_jpeg/001",
        "generic/compressed_jpegls/001",
        "generic/compressed_rle/001",
        "siemens/anatomical/001",
        "siemens/anatomical/001_implicit",
        "failing/slicecount/001",
    ],
)
def test_real_series_agree_with_simpleitk(conversion_cases: Path, case: str) -> None:
    folder = conversion_cases / case
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    volume = read_series(folder)
    np.testing.assert_allclose(volume.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0), rtol=1e-6)
    for voxel in ((0, 0, 0), tuple(size - 1 for size in volume.grid.shape)):
        world = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(volume.grid.to_world(np.array([voxel], dtype=float))[0], world, atol=0.01)
    assert volume.modality == "MR"


@pytest.mark.parametrize(
    "case",
    [
        "philips_enhanced/anatomical/001",
        "philips_enhanced/anatomical/001_implicit",
        "siemens_multiframe/anatomical/001",
    ],
)
def test_real_multi_frame_files_have_their_frames_in_place(conversion_cases: Path, case: str) -> None:
    path = next((conversion_cases / case).iterdir())
    volume = read_volume(path)
    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float) * (-1, -1, 1)
        i, j, k = volume.grid.to_voxels(position[None])[0]
        assert (i, j, k) == pytest.approx((0, 0, round(k)), abs=0.05)
        values = group.get("PixelValueTransformationSequence")
        slope = float(values[0].RescaleSlope) if values else 1.0
        np.testing.assert_allclose(
            volume.array[:, :, round(k)].T, dataset.pixel_array[number] * slope, rtol=1e-6
        )


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("failing/gantrytilting/001", "gantry tilt of about 14"),
        ("failing/sliceorientation/001", "more than one stack"),
        ("generic/rgb/001", "in colour"),
        ("ge/anatomical/001_single_slice", "a single slice is not a volume"),
    ],
)
def test_real_series_that_make_no_volume_are_refused(conversion_cases: Path, case: str, words: str) -> None:
    with pytest.raises(DicomError, match=words):
        read_volume(conversion_cases / case)


def test_a_zip_of_many_series_lists_them(shared_data: Path) -> None:
    with pytest.raises(DicomError, match="14 series are mixed"):
        read_volume(shared_data / "dicom" / "dicom2nifti_tests_subset.zip")


def test_a_real_ct_zip_agrees_with_simpleitk(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom" / "lidc_idri_0314_40slices.zip") as archive:
        archive.extractall(tmp_path)
    folder = next(path.parent for path in tmp_path.rglob("*.dcm"))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    volume = read_volume(shared_data / "dicom" / "lidc_idri_0314_40slices.zip")
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    assert volume.grid.spacing_mm == pytest.approx((0.78125, 0.78125, 1.0))
    world = np.array(image.TransformIndexToPhysicalPoint((511, 511, 39))) * (-1, -1, 1)
    np.testing.assert_allclose(volume.grid.to_world(np.array([[511.0, 511.0, 39.0]]))[0], world, atol=1e-3)


def test_a_real_ct_is_the_same_from_dicom_and_from_nrrd(shared_data: Path) -> None:
    dicom = read_volume(shared_data / "chest" / "cip_ct64" / "ct64_dicom.zip")
    nrrd = read_volume(shared_data / "chest" / "cip_ct64" / "ct-64.nrrd")
    np.testing.assert_array_equal(dicom.array, nrrd.array)
    np.testing.assert_allclose(dicom.grid.affine[:3, :3], nrrd.grid.affine[:3, :3], atol=1e-4)
