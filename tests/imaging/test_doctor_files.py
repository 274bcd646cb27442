"""Faults planted into small NIfTI, MetaImage and NRRD files: each gives its own finding and no other."""

import gzip
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nomina.errors import VolumeError
from nomina.imaging.doctor import examine
from nomina.imaging.doctor_header import header_findings
from nomina.imaging.doctor_intensity import intensity_findings
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.read import read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

Plant = Callable[[Path], Path]
SHAPE = (20, 40, 36)


def grid(*, tilt_deg: float = 4.0, spacing_mm: tuple[float, float, float] = (3.0, 2.0, 2.5)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", tilt_deg, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = (-31.25, 17.5, 203.125)
    return Grid(SHAPE, affine)


def mr_values() -> np.ndarray:
    """Smooth tissue and noise, 0 to about 1800, air at the rim."""
    rng = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(rng.normal(size=SHAPE), 3)
    values = 700 + 500 * tissue / tissue.std() / 2.5
    values[:2] = values[-2:] = 0
    return np.clip(values + rng.normal(0, 20, SHAPE), 0, None).astype(np.int16)


def ct_values() -> np.ndarray:
    """A body of soft tissue with a bone in air, in HU."""
    rng = np.random.default_rng(0)
    i, j, k = np.ogrid[:20, :40, :36]
    values = np.full(SHAPE, -1000.0)
    values[((i - 10) / 9) ** 2 + ((j - 20) / 17) ** 2 + 0 * k < 1] = 40
    values[((i - 10) / 3) ** 2 + ((j - 12) / 4) ** 2 + 0 * k < 1] = 700
    return np.rint(values + rng.normal(0, 15, SHAPE)).astype(np.int16)


def codes(path: Path) -> list[tuple[str, str]]:
    (examination,) = examine(path)
    assert all(finding.sentence.endswith(".") for finding in examination.findings)
    assert all(finding.remedy.endswith(".") for finding in examination.findings)
    return [(finding.code, finding.severity) for finding in examination.findings]


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    write(Volume(mr_values(), grid()), tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("values", [mr_values, ct_values])
def test_a_sound_scan_gives_no_finding(tmp_path: Path, suffix: str, values: Callable[[], np.ndarray]) -> None:
    write(Volume(values(), grid()), tmp_path / f"a{suffix}")
    (examination,) = examine(tmp_path / f"a{suffix}")
    assert examination.findings == ()
    assert examination.summary.startswith("(20, 40, 36) @ 3×2×2.5 mm RAS, values ")


def header(path: Path, **fields: Any) -> Path:
    """The NIfTI file with header fields set to other values, nothing else touched."""
    image = nib.load(path)
    for name, value in fields.items():
        image.header[name] = value
    data = path.read_bytes()
    path.write_bytes(image.header.binaryblock + data[348:])
    return path


def other_qform(path: Path) -> Path:
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0] *= -1
    image.set_qform(affine, 1)
    return header(
        path, **{name: image.header[name] for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x")}
    )


def sheared(path: Path) -> Path:
    row = nib.load(path).header["srow_y"]
    return header(path, srow_y=row + np.array([0, 0, 0.6, 0], dtype=np.float32), qform_code=0)


def saved(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(array, grid().affine if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def replaced(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    return saved(path, change(mr_values()))


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array[3, 4, 5], array[3, 4, 6] = np.nan, np.inf
    return array


def scaled_affine(factor: float) -> np.ndarray:
    affine = grid().affine.copy()
    affine[:3] *= factor
    return affine


def packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def cut(path: Path, num_bytes: int) -> Path:
    path.write_bytes(path.read_bytes()[:-num_bytes])
    return path


def renamed(path: Path, suffix: str, name: str) -> Path:
    write(Volume(mr_values(), grid()), path.with_suffix(suffix))
    return path.with_suffix(suffix).rename(path.parent / name)


def labels(path: Path) -> Path:
    i, j, k = np.ogrid[:20, :40, :36]
    array = (((i - 10) / 8) ** 2 + ((j - 20) / 15) ** 2 < 1) * (1 + k // 12)
    write(LabelMap(array.astype(np.uint8), grid(), names={n: f"L{n} vertebra" for n in (1, 2, 3)}), path)
    return path


def blanked(array: np.ndarray) -> np.ndarray:
    array[7] = 0
    return array


def eight_bit(array: np.ndarray) -> np.ndarray:
    return (array / array.max() * 250).astype(np.uint8)


def wrapped(array: np.ndarray) -> np.ndarray:
    return (ndimage.gaussian_filter(array.astype(float), 1) / 2).astype(np.int64).astype(np.uint8)


def normalised(array: np.ndarray) -> np.ndarray:
    return ((array - array.mean()) / array.std()).astype(np.float32)


ERRORS: dict[str, tuple[Plant, str]] = {
    "missing": (lambda path: path.parent / "other.nii", "missing-file"),
    "empty": (lambda path: cut(path, path.stat().st_size), "empty-file"),
    "text": (lambda path: (path.write_text("hello " * 200), path)[1], "wrong-signature"),
    "truncated": (lambda path: cut(path, 100), "truncated"),
    "truncated gzip": (lambda path: cut(packed(path), 100), "damaged-voxels"),
    "damaged header": (lambda path: header(path, datatype=999), "damaged-header"),
    "2D": (lambda path: replaced(path, lambda array: array[10]), "two-dimensional"),
    "one slice": (lambda path: replaced(path, lambda array: array[10:11]), "two-dimensional"),
    "4D": (lambda path: replaced(path, lambda array: np.stack([array] * 3, -1)), "four-dimensional"),
    "complex": (lambda path: replaced(path, lambda array: array.astype(np.complex64)), "not-grey-values"),
    "NaN": (lambda path: replaced(path, with_nan), "not-finite"),
    "constant": (lambda path: replaced(path, np.zeros_like), "constant"),
    "wrapped": (lambda path: replaced(path, wrapped), "wrapped-values"),
    "forms disagree": (other_qform, "forms-disagree"),
    "no form": (lambda path: header(path, qform_code=0, sform_code=0), "no-orientation"),
    "bad unit": (lambda path: header(path, xyzt_units=7), "bad-unit"),
    "zero spacing": (lambda path: header(path, pixdim=[1, 3, 0, 2.5, 0, 0, 0, 0]), "bad-spacing"),
    "negative spacing": (lambda path: header(path, pixdim=[1, 3, -2, 2.5, 0, 0, 0, 0]), "bad-spacing"),
    "two spacings": (
        lambda path: header(path, pixdim=[1, 3, 2, 9, 0, 0, 0, 0], qform_code=0),
        "two-spacings",
    ),
    "sheared": (sheared, "sheared"),
    "metres as millimetres": (
        lambda path: saved(path, mr_values(), scaled_affine(0.001)),
        "implausible-spacing",
    ),
    "microns as millimetres": (
        lambda path: saved(path, mr_values(), scaled_affine(1000)),
        "implausible-spacing",
    ),
    "NRRD named NIfTI": (lambda path: renamed(path, ".nrrd", "a.nii"), "wrong-extension"),
    "MHA named NRRD": (lambda path: renamed(path, ".mha", "a.nrrd"), "wrong-extension"),
    "NIfTI named MHA": (lambda path: renamed(path, ".nii.gz", "a.mha"), "wrong-extension"),
    "NIfTI without ending": (lambda path: path.rename(path.parent / "a"), "wrong-extension"),
    "PNG": (lambda path: path.rename(path.parent / "a.png"), "wrong-extension"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_planted_error_is_found_and_nothing_else(nifti: Path, name: str) -> None:
    plant, code = ERRORS[name]
    assert codes(plant(nifti)) == [(code, "error")]


OTHERS: dict[str, tuple[Plant, str, str]] = {
    "gzip without .gz": (packed, "wrong-extension", "warning"),
    "no unit": (lambda path: header(path, xyzt_units=0), "units-unset", "note"),
    "no handedness": (
        lambda path: header(path, pixdim=[0, 3, 2, 2.5, 0, 0, 0, 0]),
        "handedness-unset",
        "warning",
    ),
    "fourth axis": (lambda path: replaced(path, lambda array: array[..., None]), "trailing-axis", "note"),
    "label map": (labels, "label-map", "warning"),
    "blank slice": (lambda path: replaced(path, blanked), "blank-slices", "warning"),
    "8 bits": (lambda path: replaced(path, eight_bit), "eight-bit", "note"),
    "clipped": (lambda path: replaced(path, lambda array: np.minimum(array, 900)), "saturated", "note"),
    "window of a CT": (
        lambda path: saved(path, np.clip(ct_values(), -160, 240)),
        "windowed",
        "warning",
    ),
    "z-scored": (lambda path: replaced(path, normalised), "normalised", "note"),
    "CT without offset": (
        lambda path: saved(path, np.maximum(ct_values() + 1024, 0)),
        "ct-offset-missing",
        "warning",
    ),
    "CT padded": (
        lambda path: saved(path, np.where(ct_values() < -1010, -3024, ct_values()).astype(np.int16)),
        "padding",
        "note",
    ),
    "no geometry": (
        lambda path: saved(path, mr_values(), np.eye(4)),
        "default-spacing",
        "warning",
    ),
    "spacing of 1 for thick slices": (
        lambda path: saved(path, mr_values()[8:13], np.eye(4) + 50 * np.eye(4, k=3)),
        "default-spacing",
        "warning",
    ),
    "no origin": (
        lambda path: saved(path, mr_values(), np.diag([3.0, 2, 2.5, 1])),
        "no-origin",
        "note",
    ),
    "oblique": (
        lambda path: saved(path, mr_values(), grid(tilt_deg=38).affine),
        "strongly-oblique",
        "warning",
    ),
    "thick slices": (
        lambda path: saved(path, mr_values(), grid(spacing_mm=(8.0, 1.0, 1.0)).affine),
        "thick-slices",
        "note",
    ),
    "left-handed": (
        lambda path: saved(path, mr_values(), grid().affine @ np.diag([-1.0, 1, 1, 1])),
        "left-handed",
        "note",
    ),
    "few slices": (lambda path: replaced(path, lambda array: array[8:11]), "few-slices", "note"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_planted_oddity_is_found_and_nothing_else(nifti: Path, name: str) -> None:
    plant, code, severity = OTHERS[name]
    path = plant(nifti)
    assert codes(path) == [(code, severity)]


@pytest.mark.parametrize("name", ERRORS)
def test_the_reader_refuses_or_the_doctor_alone_sees_it(nifti: Path, name: str) -> None:
    plant, code = ERRORS[name]
    path = plant(nifti)
    if code in ("constant", "implausible-spacing", "wrapped-values"):
        read_volume(path)
    else:
        with pytest.raises(VolumeError):
            read_volume(path)


def test_metres_and_microns_that_the_header_names_are_converted_with_a_warning(nifti: Path) -> None:
    for unit, factor in ((1, 0.001), (3, 1000)):
        path = saved(nifti, mr_values(), scaled_affine(factor))
        assert codes(header(path, xyzt_units=unit)) == [("other-units", "warning")]


def test_a_unit_that_the_numbers_belie_is_named(nifti: Path) -> None:
    path = header(nifti, xyzt_units=3)
    assert codes(path) == [("other-units", "warning"), ("implausible-spacing", "error")]
    sentence = examine(saved(nifti, mr_values(), scaled_affine(0.001)))[0].findings[0].sentence
    assert "0.06 × 0.08 × 0.09 mm (voxels 0.003 × 0.002 × 0.0025 mm)" in sentence
    assert "would fit metres" in sentence


@pytest.mark.parametrize(
    ("spacing_mm", "way"),
    [
        ((8.0, 1.0, 1.0), "between left and right"),
        ((1.0, 8.0, 1.0), "between front and back"),
        ((1.0, 1.0, 8.0), "up and down"),
    ],
)
def test_the_coarsest_axis_is_said_with_its_direction(
    nifti: Path, spacing_mm: tuple[float, float, float], way: str
) -> None:
    path = saved(nifti, mr_values(), grid(spacing_mm=spacing_mm).affine)
    sentence = examine(path)[0].findings[0].sentence
    assert f"The coarsest axis runs {way} in steps of 8 mm, 8.0 times" in sentence


def test_the_slices_of_a_dicom_series_are_said_with_their_plane() -> None:
    thick, flat = (
        Volume(mr_values(), grid(spacing_mm=spacing), modality="MR")
        for spacing in ((1.0, 1.0, 8.0), (8.0, 4.0, 0.5))
    )
    (finding,) = header_findings(thick)
    assert "The slices are axial and 8 mm apart" in finding.sentence
    (finding,) = header_findings(flat)
    assert "The coarsest axis runs between left and right" in finding.sentence


def test_a_share_of_padding_that_rounds_to_nothing_is_no_finding() -> None:
    values = ct_values()
    values[3, 4, 5] = -2000
    assert list(intensity_findings(Volume(values, grid()))) == []


def edited(path: Path, pattern: bytes, replacement: bytes) -> Path:
    data, count = re.subn(pattern, replacement, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(data)
    return path


SPACING, DIRECTION = rb"ElementSpacing = [^\n]*", rb"TransformMatrix = [^\n]*"
LPS_METRES = b'space: left-posterior-superior\nspace units: "m" "m" "m"\n'


@pytest.mark.parametrize(
    ("suffix", "pattern", "replacement", "code", "severity"),
    [
        (".mha", SPACING, b"ElementSpacing = 3 0 2.5", "bad-spacing", "error"),
        (".mha", SPACING, b"ElementSpacing = 3 -2 2.5", "bad-spacing", "error"),
        (".mha", SPACING + b"\n", b"", "bad-spacing", "error"),
        (".mha", DIRECTION + b"\n", b"", "directions-unset", "warning"),
        (".mha", DIRECTION, b"TransformMatrix = 2 0 0 0 1 0 0 0 1", "bad-directions", "error"),
        (".mha", DIRECTION, b"TransformMatrix = 1 0 0 .6 .8 0 0 0 1", "sheared", "error"),
        (".mha", rb"MET_SHORT", b"MET_BITS", "unknown-voxel-type", "error"),
        (".mha", rb"DimSize = 20 40 36", b"DimSize = 20 40 77", "truncated", "error"),
        (".nrrd", rb"space: [^\n]*\n", b"", "no-orientation", "error"),
        (".nrrd", rb"space: [^\n]*\n", LPS_METRES, "other-unit", "error"),
        (".nrrd", rb"sizes: 20 40 36", b"sizes: 20 40 77", "truncated", "error"),
    ],
)
def test_a_fault_in_an_itk_header_is_found(
    tmp_path: Path, suffix: str, pattern: bytes, replacement: bytes, code: str, severity: str
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(to_sitk(mr_values(), grid()), str(path))
    assert codes(edited(path, pattern, replacement)) == [(code, severity)]


def test_a_folder_is_walked_and_a_bad_file_stops_nothing(nifti: Path) -> None:
    folder = nifti.parent
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.copy(nifti, folder / "deep" / "er" / "b.nii")
    (folder / "a.mha").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("hello")
    examinations = examine(folder)
    assert [Path(e.name).relative_to(folder).as_posix() for e in examinations] == [
        "a.mha",
        "scan.nii",
        "deep/er/b.nii",
    ]
    assert [e.has_errors for e in examinations] == [True, False, False]


def test_a_folder_without_a_scan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert codes(tmp_path) == [("no-images", "error")]


def test_a_lumbar_series_takes_less_than_two_seconds(tmp_path: Path) -> None:
    """In processor time, so that a busy machine does not fail it."""
    affine = np.diag([4.0, 0.5, 0.5, 1])
    affine[:3, 3] = 7.5
    values = np.random.default_rng(0).integers(0, 1500, (20, 512, 640), dtype=np.int16)
    write(Volume(values, Grid(values.shape, affine)), tmp_path / "a.mha")
    started = time.process_time()
    examine(tmp_path / "a.mha")
    assert time.process_time() - started < 2


def test_a_volume_of_one_slice_is_an_error_by_its_header_alone() -> None:
    """A DICOM file of many frames with one row each gets so far."""
    volume = Volume(np.arange(192, dtype=np.int16).reshape(1, 32, 6), Grid((1, 32, 6), np.eye(4)))
    found = {finding.code: finding.severity for finding in header_findings(volume)}
    assert found["two-dimensional"] == "error"
    assert "few-slices" not in found
