"""What the geometry of a scan, and the notes of its reader, say about its header."""

from collections.abc import Iterator

import numpy as np

from nomina.imaging.doctor_finding import Finding, Severity
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume

MAX_EXTENT_MM = 2500.0
"""No scan of a person is longer [choice: whole-body scans reach 2.1 m]."""

MIN_EXTENT_MM = 20.0
"""The longest side of a scan of spine or chest is longer than this [choice: one vertebral body is 30 mm]."""

MAX_SPACING_MM = 25.0
"""Slices further apart make no volume [choice]."""

OBLIQUE_DEG = 25.0
"""Axes that lean more than this from the anatomical ones get a warning [choice: angled discs reach 20]."""

THICK_RATIO = 4.0
"""Slices are thick when their distance is at least this many pixels [choice]."""

_PLANES = {
    **dict.fromkeys("RL", ("sagittal", "between left and right")),
    **dict.fromkeys("AP", ("coronal", "between front and back")),
    **dict.fromkeys("SI", ("axial", "up and down")),
}

MIN_SLICES = 5
"""Fewer make hardly a volume [choice]."""

_NOTES: tuple[tuple[str, str, Severity, str], ...] = (
    ("gzip-compressed", "wrong-extension", "warning", "Rename the file so that the ending is true."),
    (
        "names no handedness",
        "handedness-unset",
        "warning",
        "Set pixdim[0] to 1, or to -1 where another program shows the scan the other way round.",
    ),
    ("fourth axis", "trailing-axis", "note", "Save it as a 3D volume; some programs refuse four axes."),
    (
        "names no length unit",
        "units-unset",
        "note",
        "Set xyzt_units to millimetres, so that no program has to guess.",
    ),
    ("Lengths were converted", "other-units", "warning", "Check the sizes below, then store millimetres."),
    (
        "names no direction",
        "directions-unset",
        "warning",
        "Export the scan again with its direction matrix; left and right are assumed here.",
    ),
    (
        "by their positions, which were used",
        "slice-spacing-conflict",
        "warning",
        "Check that no slice was left out of the export.",
    ),
)
"""Words of a reader's note, and the code, severity and remedy that it gets."""


def header_findings(volume: Volume) -> Iterator[Finding]:
    """What is wrong, or worth knowing, about where the voxels of a readable volume are said to be."""
    for note in volume.notes:
        known = next((entry for entry in _NOTES if entry[0] in note), None)
        _, code, severity, remedy = known or ("", "interpreted", "note", "Check that this is what was meant.")
        yield Finding(code, severity, note, remedy)
    # DICOM, which alone states the modality, has no values that a program writes when it knows none.
    yield from _grid_findings(volume.grid, is_dicom=volume.modality is not None)


def _grid_findings(grid: Grid, *, is_dicom: bool) -> Iterator[Finding]:
    extents_mm = np.multiply(grid.shape, grid.spacing_mm)
    is_impossible = (
        extents_mm.max() > MAX_EXTENT_MM
        or extents_mm.max() < MIN_EXTENT_MM
        or max(grid.spacing_mm) > MAX_SPACING_MM
    )
    if is_impossible:
        yield _implausible_spacing(grid)
    elif not is_dicom and (missing := _missing_geometry(grid)) is not None:
        yield missing
    yield from _tilt(grid)
    yield from _few_slices(grid)
    yield from _thick_slices(grid, is_dicom=is_dicom)
    if np.linalg.det(grid.affine[:3, :3]) < 0:
        yield Finding(
            "left-handed",
            "note",
            f"The voxel axes ({grid.orientation}) are left-handed; nomina follows the affine, programs that "
            f"ignore it show a mirror image.",
            "Nothing to do for nomina; check left and right in other programs.",
        )


def _tilt(grid: Grid) -> Iterator[Finding]:
    angle = _tilt_deg(grid)
    if angle > OBLIQUE_DEG:
        yield Finding(
            "strongly-oblique",
            "warning",
            f"The axes lean {angle:.0f} degrees from the patient's axes, so that none is truly sagittal, "
            f"coronal or axial.",
            "Resample the scan to anatomical axes, or use the series that was planned along the spine.",
        )


def _few_slices(grid: Grid) -> Iterator[Finding]:
    if min(grid.shape) < 2:
        yield Finding(
            "two-dimensional",
            "error",
            f"It is a single slice of shape {grid.shape}, no volume.",
            "Give the whole stack of slices.",
        )
    elif min(grid.shape) < MIN_SLICES:
        yield Finding(
            "few-slices",
            "note",
            f"There are only {min(grid.shape)} slices; most of a structure lies outside.",
            "Give the whole series where there is one.",
        )


def _thick_slices(grid: Grid, *, is_dicom: bool) -> Iterator[Finding]:
    coarsest = int(np.argmax(grid.spacing_mm))
    ratio = max(grid.spacing_mm) / min(grid.spacing_mm)
    if ratio >= THICK_RATIO:
        plane, way = _PLANES[grid.orientation[coarsest]]
        # Readers of DICOM put the stack last; of other files nobody knows how they were acquired.
        what = (
            f"The slices are {plane} and {max(grid.spacing_mm):.3g} mm apart"
            if is_dicom and coarsest == 2
            else f"The coarsest axis runs {way} in steps of {max(grid.spacing_mm):.3g} mm"
        )
        yield Finding(
            "thick-slices",
            "note",
            f"{what}, {ratio:.1f} times the finest spacing; nothing thinner than that is seen along it.",
            "Prefer the finer series of the same study where there is one.",
        )


def _implausible_spacing(grid: Grid) -> Finding:
    extents = " × ".join(f"{n * s:.4g}" for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    spacing = " × ".join(f"{s:.4g}" for s in grid.spacing_mm)
    largest_mm = max(n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    guesses = [
        unit
        for unit, factor in (("metres", 1000.0), ("centimetres", 10.0), ("microns", 0.001))
        if 50 <= largest_mm * factor <= 1000
    ]
    guess = f"; the numbers would fit {' or '.join(guesses)}" if guesses else ""
    return Finding(
        "implausible-spacing",
        "error",
        f"The scan would measure {extents} mm (voxels {spacing} mm), which no scan of a person does{guess}.",
        "Correct spacing and unit in the header from the original DICOM files.",
    )


def _missing_geometry(grid: Grid) -> Finding | None:
    """A finding where the geometry is the one that programs write when they know none."""
    is_plain = np.allclose(np.abs(grid.affine[:3, :3]), np.diag(grid.spacing_mm), atol=1e-6)
    has_no_origin = is_plain and np.abs(grid.affine[:3, 3]).max() < 1e-6
    is_unit = np.allclose(grid.spacing_mm, 1.0, atol=1e-6)
    shape = " × ".join(map(str, grid.shape))
    if is_unit and (has_no_origin or max(grid.shape) >= 8 * min(grid.shape)):
        origin = " from the origin 0, 0, 0" if has_no_origin else ""
        return Finding(
            "default-spacing",
            "warning",
            f"The spacing is exactly 1 × 1 × 1 mm{origin} for {shape} voxels: these are the values that "
            f"programs write when they lost the real ones.",
            "Compare with the original DICOM files, and convert again where the header differs.",
        )
    if has_no_origin:
        return Finding(
            "no-origin",
            "note",
            "The first voxel lies exactly at 0, 0, 0 with axes along the patient's: the position in the "
            "scanner is lost, and perhaps the true directions with it.",
            "Check left and right, front and back in a viewer before you rely on them.",
        )
    return None


def _tilt_deg(grid: Grid) -> float:
    """Largest angle between a voxel axis and the anatomical axis nearest to it."""
    cosines = np.abs(grid.affine[:3, :3] / grid.spacing_mm)
    world = ["RLAPSI".index(letter) // 2 for letter in grid.orientation]
    nearest = min(float(cosines[axis, voxel]) for voxel, axis in enumerate(world))
    return float(np.degrees(np.arccos(min(nearest, 1.0))))
