"""Does an output lie on its input?"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from nomina.imaging.doctor_compare import compare
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

NAMES = {1: "L5 vertebra", 2: "L4 vertebra"}


@pytest.fixture
def scan_grid() -> Grid:
    affine = np.diag([-3.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = (40, -35, 110)
    return Grid((24, 40, 36), affine)


def truth() -> np.ndarray:
    """Two boxes, off the centre along every axis."""
    labels = np.zeros((24, 40, 36), dtype=np.uint8)
    labels[3:16, 5:15, 4:14] = 1
    labels[3:16, 5:15, 16:26] = 2
    return labels


@pytest.fixture
def scan(tmp_path: Path, scan_grid: Grid) -> Path:
    values = 300.0 + 500 * (truth() > 0) + np.random.default_rng(0).normal(0, 20, truth().shape)
    write(Volume(ndimage.gaussian_filter(values, 0.5).astype(np.int16), scan_grid), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def found(scan: Path, labels: np.ndarray, grid: Grid, suffix: str = ".nii.gz") -> list[tuple[str, str]]:
    path = scan.parent / f"out{suffix}"
    write(LabelMap(labels, grid, names=NAMES), path)
    return [(finding.code, finding.severity) for finding in compare(scan, path).findings]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_an_output_on_its_input_gives_no_finding(scan: Path, scan_grid: Grid, suffix: str) -> None:
    assert found(scan, truth(), scan_grid, suffix) == []


def test_places_that_agree_to_a_hundredth_of_a_millimetre_give_no_finding(
    scan: Path, scan_grid: Grid
) -> None:
    affine = scan_grid.affine.copy()
    affine[:3, 3] += 0.005
    assert found(scan, truth(), Grid(scan_grid.shape, affine)) == []
    assert found(scan, np.flip(truth(), 1), Grid(scan_grid.shape, affine)) == [("labels-mirrored", "error")]


def test_the_same_places_in_another_order_are_a_note(scan: Path, scan_grid: Grid) -> None:
    canonical = LabelMap(truth(), scan_grid, names=NAMES).canonical()
    assert found(scan, canonical.array, canonical.grid) == [("stored-otherwise", "note")]


def test_a_mirrored_array_under_the_right_header_is_an_error(scan: Path, scan_grid: Grid) -> None:
    for axis, words in enumerate(("left and right", "front and back", "top and bottom")):
        assert found(scan, np.flip(truth(), axis), scan_grid) == [("labels-mirrored", "error")]
        (finding,) = compare(scan, scan.parent / "out.nii.gz").findings
        assert words in finding.sentence


@pytest.mark.parametrize(("shift_mm", "expected"), [(0.0005, []), (0.5, [("places-differ", "error")])])
def test_a_shift_is_measured_at_the_corners(
    scan: Path, scan_grid: Grid, shift_mm: float, expected: list[tuple[str, str]]
) -> None:
    affine = scan_grid.affine.copy()
    affine[1, 3] += shift_mm
    assert found(scan, truth(), Grid(scan_grid.shape, affine)) == expected
    for finding in compare(scan, scan.parent / "out.nii.gz").findings:
        assert "up to 0.5 mm apart" in finding.sentence


def test_flipped_directions_are_told_by_their_letters(scan: Path, scan_grid: Grid) -> None:
    affine = scan_grid.affine @ np.diag([-1.0, 1, 1, 1])
    assert found(scan, truth(), Grid(scan_grid.shape, affine)) == [("directions-differ", "error")]
    assert "LAS in the scan and to RAS" in compare(scan, scan.parent / "out.nii.gz").findings[0].sentence


def test_an_identity_affine_is_told(scan: Path) -> None:
    assert found(scan, truth(), Grid((24, 40, 36), np.eye(4))) == [
        ("spacing-differs", "error"),
        ("identity-affine", "error"),
    ]


def test_another_shape_is_told(scan: Path, scan_grid: Grid) -> None:
    codes = found(scan, truth()[:, :, :30], Grid((24, 40, 30), scan_grid.affine))
    assert codes == [("shape-differs", "error"), ("places-differ", "error")]


def test_another_spacing_is_told(scan: Path, scan_grid: Grid) -> None:
    grid = Grid(scan_grid.shape, scan_grid.affine @ np.diag([1, 1, 1.1, 1]))
    assert found(scan, truth(), grid) == [("spacing-differs", "error"), ("places-differ", "error")]


def test_an_empty_output_is_a_warning(scan: Path, scan_grid: Grid) -> None:
    assert found(scan, truth() * 0, scan_grid) == [("empty-labels", "warning")]


def test_a_scan_as_output_is_no_label_map(scan: Path) -> None:
    assert [finding.code for finding in compare(scan, scan).findings] == ["not-a-label-map"]


def test_an_unreadable_side_is_the_only_finding(scan: Path) -> None:
    (finding,) = compare(scan, scan.parent / "none.nii").findings
    assert (finding.code, finding.severity) == ("missing-file", "error")


def test_rounding_of_a_nifti_affine_is_no_difference(scan: Path, scan_grid: Grid) -> None:
    affine = scan_grid.affine.copy()
    affine[:3, 3] = np.float32(affine[:3, 3] + 1e-5)
    image = nib.Nifti1Image(truth(), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, scan.parent / "n.nii")
    assert compare(scan, scan.parent / "n.nii").findings == ()


@pytest.mark.parametrize(
    ("axis", "voxels", "words"),
    [(0, 2, "6 mm further left"), (1, -3, "6 mm further to the front"), (2, 4, "10 mm lower")],
)
def test_voxels_shifted_under_the_right_header_are_an_error(
    scan: Path, scan_grid: Grid, axis: int, voxels: int, words: str
) -> None:
    stored = -voxels if axis == 0 else voxels  # The grid's first axis points left.
    assert found(scan, np.roll(truth(), stored, axis), scan_grid) == [("labels-shifted", "error")]
    (finding,) = compare(scan, scan.parent / "out.nii.gz").findings
    assert words in finding.sentence


def test_labels_on_noise_or_too_small_are_said_not_to_be_checked(scan: Path, scan_grid: Grid) -> None:
    small = np.zeros_like(truth())
    small[5:9, 6:10, 5:9] = 1
    assert found(scan, small, scan_grid) == [("fit-unchecked", "note")]
    noise = np.random.default_rng(1).integers(0, 900, truth().shape).astype(np.int16)
    write(Volume(noise, scan_grid), scan)
    assert found(scan, truth(), scan_grid) == [("fit-unchecked", "note")]


def test_a_transposed_array_is_told_its_shape(scan: Path, scan_grid: Grid) -> None:
    turned = np.ascontiguousarray(truth().transpose(2, 1, 0))
    codes = [code for code, _ in found(scan, turned, Grid(turned.shape, scan_grid.affine))]
    assert codes[0] == "shape-differs"
