"""Faults planted into small DICOM series: each gives its own finding and no other."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import MPEG2MPML, ComprehensiveSRStorage, MRImageStorage, SecondaryCaptureImageStorage

from nomina.imaging.doctor import examine
from nomina.imaging.grid import Grid

Writer = Callable[..., list[Path]]
Found = list[tuple[str, str]]
SHAPE = (36, 32, 12)


@pytest.fixture
def ct_grid() -> Grid:
    """As a scanner stores axial slices: i to the left, j to the back, k up."""
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    affine[:3, 3] = (35.5, 31.25, -200)
    return Grid(SHAPE, affine)


def stored_ct() -> np.ndarray:
    """HU + 1024 as stored: a body of soft tissue with a bone, in air."""
    i, j, k = np.ogrid[:36, :32, :12]
    hounsfield = np.full(SHAPE, -1000.0)
    hounsfield[((i - 18) / 15) ** 2 + ((j - 16) / 12) ** 2 + 0 * k < 1] = 40
    hounsfield[((i - 18) / 4) ** 2 + ((j - 20) / 4) ** 2 + 0 * k < 1] = 700
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    return np.rint(np.clip(hounsfield + noise + 1024, 0, None))


def stored_mr() -> np.ndarray:
    """A body of bright tissue, 0 to about 1300."""
    return np.rint(np.clip(stored_ct() - 300, 0, None) * 0.9)


MR = {"SOPClassUID": MRImageStorage, "Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}


def found(path: Path) -> Found:
    (examination,) = examine(path)
    return [(finding.code, finding.severity) for finding in examination.findings]


@pytest.mark.parametrize(("values", "tags"), [(stored_ct, {}), (stored_mr, MR)], ids=["CT", "MR"])
def test_a_sound_series_gives_no_finding(
    tmp_path: Path,
    ct_grid: Grid,
    dicom_writer: Writer,
    values: Callable[[], np.ndarray],
    tags: dict[str, Any],
) -> None:
    dicom_writer(tmp_path / "s", values(), ct_grid, InstanceNumber=lambda k: 12 - k, **tags)
    (examination,) = examine(tmp_path)
    assert examination.findings == ()
    assert f"LPS, {tags.get('Modality', 'CT')}, values" in examination.summary


TAGS: dict[str, tuple[dict[str, Any], Found]] = {
    "no position": ({"ImagePositionPatient": None}, [("no-position", "error")]),
    "zero spacing": ({"PixelSpacing": [0, 2]}, [("bad-geometry", "error")]),
    "mixed spacing": ({"PixelSpacing": lambda k: [2, 2 + (k > 5)]}, [("mixed-pixel-spacing", "error")]),
    "mixed orientation": (
        {"ImageOrientationPatient": lambda k: [1, 0, 0, 0, 1, 0] if k else [0, 1, 0, 0, 0, -1]},
        [("mixed-orientation", "error")],
    ),
    "one position": ({"ImagePositionPatient": [0, 0, 0]}, [("repeated-positions", "error")]),
    "gantry tilt": (
        {"ImagePositionPatient": lambda k: [0, 0.8 * k, 3 * k]},
        [("gantry-tilt", "error")],
    ),
    "uneven": (
        {"ImagePositionPatient": lambda k: [0, 0, 3 * k + 0.015 * k * k]},
        [("uneven-slices", "error")],
    ),
    "detector spacing only": (
        {"PixelSpacing": None, "ImagerPixelSpacing": [0.4, 0.4]},
        [("imager-spacing-only", "error")],
    ),
    "two pixel spacings": ({"ImagerPixelSpacing": [0.4, 0.4]}, [("spacing-conflict", "warning")]),
    "slice distance": ({"SpacingBetweenSlices": 1.5}, [("slice-spacing-conflict", "warning")]),
    "rescale varies": ({"RescaleSlope": lambda k: 1 + 0.001 * k}, [("rescale-varies", "warning")]),
    "rescale missing": (
        {"RescaleSlope": None, "RescaleIntercept": None},
        [("rescale-missing", "error")],
    ),
    "rescale zero": ({"RescaleIntercept": 0}, [("ct-offset-missing", "error")]),
    "wrong rescale": (
        {"RescaleIntercept": 5000},
        [("not-hounsfield", "error")],
    ),
    "CT called MR": ({"Modality": "MR"}, [("modality-contradicts-content", "error")]),
    "shuffled numbers": (
        {"InstanceNumber": lambda k: (k * 5) % 12},
        [("instance-order", "note")],
    ),
    "localizers only": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        [("only-localizers", "error")],
    ),
    "mosaic": ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, [("mosaic", "error")]),
    "look-up table": ({"ModalityLUTSequence": [pydicom.Dataset()]}, [("modality-lut", "error")]),
}


@pytest.mark.parametrize("name", TAGS)
def test_a_planted_tag_is_found_and_nothing_else(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer, name: str
) -> None:
    tags, expected = TAGS[name]
    dicom_writer(tmp_path / "s", stored_ct(), ct_grid, **tags)
    assert found(tmp_path) == expected


def test_an_mr_called_ct_is_not_in_hounsfield_units(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    dicom_writer(tmp_path / "s", stored_mr(), ct_grid, RescaleIntercept=0)
    assert found(tmp_path) == [("not-hounsfield", "error")]


def test_a_ct_in_8_bits_has_lost_its_units(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    dicom_writer(tmp_path / "s", np.rint(stored_ct() / 8), ct_grid, RescaleIntercept=0)
    (examination,) = examine(tmp_path)
    assert [finding.code for finding in examination.findings] == ["not-hounsfield"]
    assert "8 bits" in examination.findings[0].sentence


def test_a_varying_rescale_of_a_pet_is_a_note(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    dicom_writer(
        tmp_path / "s", stored_mr(), ct_grid, Modality="PT", RescaleSlope=lambda k: 1 + k, RescaleIntercept=0
    )
    assert found(tmp_path) == [("rescale-varies", "note")]


@pytest.mark.parametrize("k", [3, 7])
def test_a_missing_slice_is_found(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer, k: int) -> None:
    dicom_writer(tmp_path / "s", stored_ct(), ct_grid)[k].unlink()
    assert found(tmp_path) == [("missing-slices", "error")]
    assert f"6 mm between slices {k} and {k + 1} of 11" in examine(tmp_path)[0].findings[0].sentence


def test_a_doubled_slice_is_found(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    paths = dicom_writer(tmp_path / "s", stored_ct(), ct_grid)
    shutil.copy(paths[3], tmp_path / "s" / "copy.dcm")
    assert found(tmp_path) == [("repeated-positions", "error")]


@pytest.mark.parametrize("tag", ["EchoTime", "TemporalPositionIdentifier", "AcquisitionTime"])
def test_several_volumes_in_one_series_are_told_apart_by_their_tag(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer, tag: str
) -> None:
    for number in (1, 2, 3):
        value = f"10000{number}" if tag == "AcquisitionTime" else number
        for path in dicom_writer(
            tmp_path / "s", stored_mr(), ct_grid, **MR, **{tag: value}, SeriesInstanceUID="1.2.3"
        ):
            path.rename(path.with_name(f"{number}-{path.name}"))
    assert found(tmp_path) == [("several-volumes", "error")]
    sentence = examine(tmp_path)[0].findings[0].sentence
    assert f"3 volumes of 12 slices each, told apart by {tag} " in sentence


def test_a_single_slice_is_found(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    for path in dicom_writer(tmp_path / "s", stored_ct(), ct_grid)[1:]:
        path.unlink()
    assert found(tmp_path) == found(next((tmp_path / "s").iterdir())) == [("single-slice", "error")]


def test_a_damaged_file_is_named_and_the_others_are_examined(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    path = dicom_writer(tmp_path / "s", stored_ct(), ct_grid)[0]
    path.write_bytes(path.read_bytes()[:300])
    (examination,) = examine(tmp_path)
    assert [finding.code for finding in examination.findings] == ["damaged-file"]
    assert path.name in examination.findings[0].sentence
    assert examination.summary.startswith("(36, 32, 11)")


def test_truncated_pixels_and_unknown_compression_cannot_be_decoded(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    path = dicom_writer(tmp_path / "a", stored_ct(), ct_grid)[5]
    path.write_bytes(path.read_bytes()[:-200])
    for path in dicom_writer(tmp_path / "b", stored_ct(), ct_grid):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
        dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" * 8])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
    assert found(tmp_path / "a") == found(tmp_path / "b") == [("undecodable", "error")]


def test_mixed_series_are_an_error_and_each_is_examined(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    for name in ("one", "two"):
        for path in dicom_writer(tmp_path / name, stored_ct(), ct_grid):
            path.rename(tmp_path / f"{name}{path.name}")
        (tmp_path / name).rmdir()
    min(tmp_path.glob("two*")).unlink()
    first, second = examine(tmp_path)
    assert [finding.code for finding in first.findings] == ["mixed-series"]
    assert second.findings == ()
    for number, examination in enumerate((first, second), start=1):
        assert examination.name.startswith(f"{tmp_path}, series {number} of 2 (")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, ("localizers", "note")),
        ({"SOPClassUID": ComprehensiveSRStorage, "Modality": "SR"}, ("other-objects", "note")),
        (
            {"SOPClassUID": SecondaryCaptureImageStorage, "ImagePositionPatient": None},
            ("secondary-capture", "error"),
        ),
    ],
)
def test_what_else_lies_in_the_folder_is_told(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer, tags: dict[str, Any], expected: tuple[str, str]
) -> None:
    dicom_writer(tmp_path / "s", stored_ct(), ct_grid)
    (extra, *_) = dicom_writer(tmp_path / "x", stored_ct(), ct_grid, **tags)
    extra.rename(tmp_path / "s" / "extra.dcm")
    assert found(tmp_path / "s") == [expected]
    assert examine(tmp_path / "s")[0].summary.startswith("(36, 32, 12)")


def test_a_zip_is_examined_like_its_folder(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    paths = dicom_writer(tmp_path / "s", stored_ct(), ct_grid, RescaleIntercept=0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
        archive.writestr("readme.txt", "hello")
    assert found(tmp_path / "a.zip") == [("foreign-files", "note"), ("ct-offset-missing", "error")]
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:500])
    assert found(tmp_path / "a.zip") == [("damaged-file", "error")]


def test_a_picture_in_a_zip_is_named_as_in_the_zip(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    (path, *_) = dicom_writer(tmp_path / "s", stored_ct(), ct_grid, SOPClassUID=SecondaryCaptureImageStorage,
                              ImagePositionPatient=None)  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "study/IM_7")
    text = str(examine(tmp_path / "a.zip"))
    assert "study/IM_7" in text
    assert "00000.dcm" not in text


def test_mixed_series_carry_the_uid_that_takes_one(
    tmp_path: Path, ct_grid: Grid, dicom_writer: Writer
) -> None:
    dicom_writer(tmp_path / "s", stored_ct(), ct_grid, SeriesInstanceUID="1.2.3")
    for path in dicom_writer(tmp_path / "x", stored_ct(), ct_grid, SeriesInstanceUID="1.2.4"):
        path.rename(tmp_path / "s" / f"x{path.name}")
    assert [examination.name.split(", ")[1] for examination in examine(tmp_path / "s")] == [
        "series 1 of 2 (1.2.3)",
        "series 2 of 2 (1.2.4)",
    ]


def test_every_gap_is_counted(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    paths = dicom_writer(tmp_path / "s", stored_ct(), ct_grid)
    for k in (6, 8, 10):
        paths[k].unlink()
    assert "at 3 places, the worst 6 mm between slices 6 and 7 of 9" in str(examine(tmp_path))


def test_nothing_that_names_the_patient_is_said(tmp_path: Path, ct_grid: Grid, dicom_writer: Writer) -> None:
    dicom_writer(tmp_path / "a", stored_ct(), ct_grid, SeriesDescription="Doe Jane P-4711", Modality="MR")
    dicom_writer(tmp_path / "b", stored_ct(), ct_grid, SeriesDescription="Doe Jane", InstanceNumber=1)[
        2
    ].unlink()
    text = str(examine(tmp_path))
    assert not [secret for secret in ("Doe", "4711", "1987") if secret in text]
