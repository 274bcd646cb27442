"""Every real scan: exactly the findings that a person who looked at it expects."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import VolumeError
from nomina.imaging.doctor import examine
from nomina.imaging.doctor_anatomy import anatomy_findings
from nomina.imaging.doctor_compare import compare
from nomina.imaging.doctor_intensity import intensity_findings, looks_like_offset_ct, sampled
from nomina.imaging.read import read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write


def codes(path: Path) -> list[str]:
    (examination,) = examine(path)
    return [finding.code for finding in examination.findings]


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked DICOM archives."""
    folder = tmp_path_factory.mktemp("dicom")
    for name in ("dicom2nifti_tests_subset", "dcmqi_tests"):
        with zipfile.ZipFile(shared_data / "dicom" / f"{name}.zip") as archive:
            archive.extractall(folder / name)
    return folder


# The voxels of dicom2nifti's files are replaced by noise in 8 bits, in 2 to 8 slices.
NOISE = ["few-slices", "eight-bit"]
DICOM = {
    "dicom2nifti_tests_subset/failing/gantrytilting/001": ["gantry-tilt"],
    "dicom2nifti_tests_subset/failing/slicecount/001": NOISE,
    "dicom2nifti_tests_subset/failing/sliceorientation/001": ["mixed-pixel-spacing"],
    "dicom2nifti_tests_subset/ge/anatomical/001": NOISE,
    "dicom2nifti_tests_subset/ge/anatomical/001_implicit": NOISE,
    "dicom2nifti_tests_subset/ge/anatomical/001_single_slice": ["single-slice"],
    "dicom2nifti_tests_subset/generic/anatomical/001": NOISE,
    "dicom2nifti_tests_subset/generic/anatomical/001_implicit": NOISE,
    "dicom2nifti_tests_subset/generic/anatomical/002_non_isotropic": [
        "rescale-varies",
        "few-slices",
        "thick-slices",
    ],
    "dicom2nifti_tests_subset/generic/compressed/001": NOISE,
    "dicom2nifti_tests_subset/generic/compressed_j2k/001": NOISE,
    "dicom2nifti_tests_subset/generic/compressed_jpeg/001": NOISE,
    "dicom2nifti_tests_subset/generic/compressed_jpegls/001": NOISE,
    "dicom2nifti_tests_subset/generic/compressed_rle/001": NOISE,
    "dicom2nifti_tests_subset/generic/rgb/001": ["secondary-capture"],
    "dicom2nifti_tests_subset/philips_enhanced/anatomical/001": ["multi-frame"],
    "dicom2nifti_tests_subset/philips_enhanced/anatomical/001_implicit": ["multi-frame"],
    "dicom2nifti_tests_subset/siemens/anatomical/001": NOISE,
    "dicom2nifti_tests_subset/siemens/anatomical/001_implicit": NOISE,
    "dicom2nifti_tests_subset/siemens_multiframe/anatomical/001": ["multi-frame", "eight-bit"],
    "dcmqi_tests/paramaps": ["single-slice"],
    "dcmqi_tests/segmentations/ct-3slice": ["few-slices", "padding"],
    # These four hold zeros and a few ones, as a test of a writer of segmentations.
    "dcmqi_tests/segmentations/23x38x3/image": ["few-slices", "label-map"],
    "dcmqi_tests/segmentations/23x38x3/multiframe": ["multi-frame", "few-slices", "label-map"],
    "dcmqi_tests/segmentations/24x38x3/image": ["few-slices", "label-map"],
    "dcmqi_tests/segmentations/24x38x3/multiframe": ["multi-frame", "few-slices", "label-map"],
}


@pytest.mark.parametrize("case", DICOM)
def test_a_real_dicom_folder_has_exactly_its_faults(unpacked: Path, case: str) -> None:
    (examination,) = examine(unpacked / case)
    assert [finding.code for finding in examination.findings] == DICOM[case]
    try:
        read_volume(unpacked / case)
    except VolumeError:
        assert examination.has_errors
    else:
        assert not examination.has_errors


@pytest.mark.slow
def test_every_unpacked_folder_is_expected(unpacked: Path) -> None:
    folders = {e.name for e in examine(unpacked)}
    expected = {str(unpacked / case) for case in DICOM}
    assert folders == expected | {str(unpacked / "dcmqi_tests" / "segmentations")}  # four SEG objects


FILES = {
    "dicom/lidc_idri_0314_40slices.zip": ["lungs-cut"],  # 40 mm of a chest
    "chest/cip_ct64/ct64_dicom.zip": [],
    "chest/cip_ct64/ct-64.nrrd": [],
    "chest/cip_ct64/crop_ct_2slices.nrrd": ["few-slices"],
    "chest/elastix_lung/baseline_ct.nii.gz": [],
    "chest/elastix_lung/followup_ct.nii.gz": [],
    "chest/lidc_idri_0314/lidc_idri_0314_crop_ct.nii.gz": [],
    "chest/lidc_idri_0314/lidc_idri_0314_crop_lung1_vessel2_SILVER.nii.gz": ["label-map"],
    "chest/cip_ct64/lm-64.nrrd": ["label-map"],
    "chest/cip_ct64/wholeLung-64.nrrd": ["label-map"],
    "chest/cip_ct64/crop_ct_interactiveLobeSegmentation.nrrd": ["label-map"],
    "chest/cip_ct64/crop_ct_partialLungLabelMap.nrrd": ["label-map"],
    "chest/elastix_lung/baseline_lungmask.nii.gz": ["label-map"],
    "chest/elastix_lung/followup_lungmask.nii.gz": ["label-map"],
    "spine_other/totalseg_spine_ct/example_ct.nii.gz": [],
    "spine_other/totalseg_spine_ct/example_ct_sm.nii.gz": ["units-unset"],
    "spine_other/totalseg_spine_ct/example_mr_sm.nii.gz": ["units-unset"],
    "spine_other/totalseg_spine_ct/vertebrae_levels_auto.nii.gz": ["units-unset", "label-map"],
    "spine_other/totalseg_spine_ct/vertebral_body_sacrum_auto.nii.gz": ["units-unset", "label-map"],
    "spine_other/tptbox_samples/sample_ct/sub-ct_label-22_ct.nii.gz": [],
    "spine_other/tptbox_samples/sample_mri/sub-mri_label-6_T2w.nii.gz": [],
    "spine_other/tptbox_samples/sample_mri/sub-mri_seg-vert_label-6_msk.nii.gz": ["label-map"],
}


LARGE = ("dicom/lidc", "chest/lidc", "chest/cip_ct64/crop_ct_i", "chest/cip_ct64/crop_ct_p")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name.startswith(LARGE) else ()) for name in FILES],
)
def test_a_real_file_has_exactly_its_faults(shared_data: Path, name: str) -> None:
    assert codes(shared_data / name) == FILES[name]


def spider(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "spider_t2space" / "images").iterdir())


@pytest.mark.slow
def test_every_spider_scan_lacks_its_origin_and_has_8_bits_and_nothing_worse(shared_data: Path) -> None:
    """They were stacked again from 8-bit pictures, as their README says."""
    for path in spider(shared_data):
        assert set(codes(path)) - {"saturated"} == {"no-origin", "eight-bit"}, path.name


@pytest.mark.slow
def test_spider_scans_turned_front_to_back_are_found_or_left_undecided(shared_data: Path) -> None:
    found = []
    for path in spider(shared_data):
        volume = read_volume(path)
        turned = Volume(np.flip(volume.array, 1), volume.grid)
        found.append([finding.code for finding in anatomy_findings(turned)])
    assert [codes for codes in found if codes not in ([], ["front-back-mirrored"])] == []
    assert found.count(["front-back-mirrored"]) >= 18


def test_one_spider_scan_turned_front_to_back_is_found(shared_data: Path) -> None:
    volume = read_volume(shared_data / "spider_t2space" / "images" / "78_t2_SPACE.mha")
    assert list(anatomy_findings(volume)) == []
    (finding,) = anatomy_findings(Volume(np.flip(volume.array, 1), volume.grid))
    assert finding.code == "front-back-mirrored"


@pytest.mark.parametrize(
    ("axis", "code"), [(0, "left-right-mirrored"), (1, "front-back-mirrored"), (2, None)]
)
def test_a_real_chest_turned_about_is_found(shared_data: Path, axis: int, code: str | None) -> None:
    volume = read_volume(shared_data / "chest" / "lidc_idri_0314" / "lidc_idri_0314_crop_ct.nii.gz")
    turned = Volume(np.flip(volume.array, axis), volume.grid)
    assert [finding.code for finding in anatomy_findings(turned)] == ([code] if code else [])


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("spider_t2space/images/78_t2_SPACE.mha", "spider_t2space/masks/78_t2_SPACE.mha"),
        (
            "spine_other/totalseg_spine_ct/example_ct.nii.gz",
            "spine_other/totalseg_spine_ct/vertebrae_levels_auto.nii.gz",
        ),
        ("chest/cip_ct64/ct-64.nrrd", "chest/cip_ct64/lm-64.nrrd"),
        ("chest/elastix_lung/baseline_ct.nii.gz", "chest/elastix_lung/baseline_lungmask.nii.gz"),
    ],
)
def test_real_masks_lie_on_their_scans(shared_data: Path, scan: str, mask: str) -> None:
    assert [
        f.code for f in compare(shared_data / scan, shared_data / mask).findings if f.severity != "note"
    ] == []


def moved(shared_data: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """What is said of a SPIDER scan and its mask, whose canonical array was changed."""
    spider = shared_data / "spider_t2space"
    mask = read_volume(spider / "masks" / "5_t2_SPACE.mha").canonical()
    array = np.ascontiguousarray(change(mask.array))
    names = {int(value): f"structure {value}" for value in np.unique(array) if value}
    write(LabelMap(array, mask.grid, names=names), folder / "mask.nii.gz")
    findings = compare(spider / "images" / "5_t2_SPACE.mha", folder / "mask.nii.gz").findings
    return [finding.code for finding in findings if finding.code != "stored-otherwise"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda array: array, []),
        (lambda array: np.roll(array, 20, 2), ["labels-shifted"]),
        (lambda array: np.roll(array, 15, 1), ["labels-shifted"]),
        (lambda array: np.flip(array, 0), ["labels-mirrored"]),
        (lambda array: np.flip(array, 1), ["labels-mirrored"]),
        (lambda array: np.flip(array, 2), ["labels-mirrored"]),
        (lambda array: np.where(array > 200, array, 0), ["fit-unchecked"]),
    ],
    ids=["right", "9 mm up", "7 mm back", "left-right", "front-back", "up-down", "discs alone"],
)
def test_a_real_mask_that_was_moved_is_found(
    shared_data: Path,
    tmp_path: Path,
    change: Callable[[np.ndarray], np.ndarray],
    expected: list[str],
) -> None:
    assert moved(shared_data, tmp_path, change) == expected


@pytest.mark.slow
def test_every_spider_mask_lies_on_its_scan(shared_data: Path) -> None:
    for path in spider(shared_data):
        findings = compare(path, shared_data / "spider_t2space" / "masks" / path.name).findings
        assert [finding.code for finding in findings] == [], path.name


@pytest.mark.parametrize("offset", [1000, 1024])
@pytest.mark.parametrize(
    "name",
    [
        "chest/elastix_lung/baseline_ct.nii.gz",
        "spine_other/tptbox_samples/sample_ct/sub-ct_label-22_ct.nii.gz",
    ],
)
def test_a_real_ct_without_its_offset_is_found(shared_data: Path, name: str, offset: int) -> None:
    volume = read_volume(shared_data / name)
    found = list(intensity_findings(replace(volume, array=volume.array + offset)))
    assert [finding.code for finding in found] == ["ct-offset-missing"]
    assert "1000 or 1024" in found[0].sentence


@pytest.mark.parametrize("top", range(1600, 5000, 400))
@pytest.mark.parametrize("case", ["98", "52"])
def test_an_mr_scaled_like_a_ct_is_not_taken_for_one(shared_data: Path, case: str, top: int) -> None:
    volume = read_volume(shared_data / "spider_t2space" / "images" / f"{case}_t2_SPACE.mha")
    sample = sampled(volume.array).astype(float)
    assert not looks_like_offset_ct(sample / sample.max() * top)


def test_the_masks_of_two_breaths_are_told_apart(shared_data: Path) -> None:
    folder = shared_data / "chest" / "elastix_lung"
    findings = compare(folder / "baseline_ct.nii.gz", folder / "followup_lungmask.nii.gz").findings
    assert [finding.code for finding in findings] == ["shape-differs", "places-differ"]
