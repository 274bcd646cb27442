"""Does an output lie on its input? What differs between a scan and a label map made from it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nomina.errors import VolumeError
from nomina.imaging.doctor_finding import Examination, Finding, refusal
from nomina.imaging.doctor_fit import fit_findings
from nomina.imaging.doctor_intensity import looks_like_labels
from nomina.imaging.grid import AFFINE_TOLERANCE_MM, Grid
from nomina.imaging.read import read_volume
from nomina.imaging.volume import Volume

PLACE_TOLERANCE_MM = 0.01
"""Corners that lie closer agree [choice: NIfTI stores the affine as float32, to 1e-4 mm at 1 m]."""

_REDO = "Make the output again from this input, or resample it onto the input's grid by nearest neighbour."


def compare(scan: Path | str, output: Path | str) -> Examination:
    """Examine whether a label map lies on the scan that it belongs to.

    Args:
        scan: The input, any format.
        output: The label map made from it.

    Returns:
        One examination named "SCAN and OUTPUT". Shape, spacing, axes and places are compared; where
        all agree, also whether the labels would fit the scan better elsewhere or as their mirror image.
    """
    name = f"{scan} and {output}"
    volumes = []
    for path in (Path(scan), Path(output)):
        try:
            volumes.append(read_volume(path))
        except VolumeError as error:
            return Examination(name, "", (refusal(error),))
    volume, labels = volumes
    findings = [*_label_findings(labels), *grid_differences(volume.grid, labels.grid)]
    if not any(finding.severity != "note" for finding in findings):
        findings += fit_findings(volume.canonical(), labels.canonical())
    return Examination(name, f"{volume.grid} and {labels.grid}", tuple(findings))


def grid_differences(scan: Grid, output: Grid) -> Iterator[Finding]:
    """What differs between the grid of a scan and that of an output; nothing where every voxel agrees."""
    if scan.matches(output) or (scan.shape == output.shape and _gap_mm(scan, output) <= PLACE_TOLERANCE_MM):
        return
    if _same_when_turned(scan, output):
        yield Finding(
            "stored-otherwise",
            "note",
            f"The voxels are stored in another order ({scan.orientation} in the scan, {output.orientation} "
            f"in the output), but lie at the same places.",
            "Nothing to do for programs that follow the affine.",
        )
        return
    # An array stored in another order of axes is no other shape where the affine says so.
    if scan.shape != output.shape and _canonical(scan).shape != _canonical(output).shape:
        yield Finding(
            "shape-differs",
            "error",
            f"The scan has {scan.shape} voxels, the output {output.shape}.",
            _REDO,
        )
    if not np.allclose(sorted(scan.spacing_mm), sorted(output.spacing_mm), rtol=1e-3):
        yield Finding(
            "spacing-differs",
            "error",
            f"The scan's voxels measure {_spacing(scan)} mm, the output's {_spacing(output)} mm.",
            _REDO,
        )
    yield from _place_differences(scan, output)


def _place_differences(scan: Grid, output: Grid) -> Iterator[Finding]:
    if np.allclose(output.affine, np.eye(4)) and not np.allclose(scan.affine, np.eye(4)):
        yield Finding(
            "identity-affine",
            "error",
            "The output has the identity as its affine: the program that wrote it dropped the geometry.",
            "Copy the scan's affine to the output if both arrays are ordered alike, or make it again.",
        )
        return
    gap_mm = _gap_mm(scan, output)
    if scan.orientation != output.orientation:
        yield Finding(
            "directions-differ",
            "error",
            f"The axes point to {scan.orientation} in the scan and to {output.orientation} in the output, "
            f"and corners lie up to {gap_mm:.4g} mm apart: the output is flipped or turned.",
            _REDO,
        )
    elif gap_mm > PLACE_TOLERANCE_MM:
        yield Finding(
            "places-differ",
            "error",
            f"Corners of scan and output lie up to {gap_mm:.4g} mm apart.",
            _REDO,
        )


def _gap_mm(scan: Grid, output: Grid) -> float:
    """Largest distance between the same corner of both fields of view."""
    corners = [
        grid.to_world(np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in grid.shape])).reshape(3, -1).T)
        for grid in (scan, output)
    ]
    return float(np.linalg.norm(corners[0] - corners[1], axis=1).max())


def _same_when_turned(scan: Grid, output: Grid) -> bool:
    grids = [_canonical(grid) for grid in (scan, output)]
    return grids[0].shape == grids[1].shape and _gap_mm(*grids) <= max(
        PLACE_TOLERANCE_MM, AFFINE_TOLERANCE_MM
    )


def _canonical(grid: Grid) -> Grid:
    return Volume(np.broadcast_to(np.uint8(0), grid.shape), grid).canonical().grid


def _spacing(grid: Grid) -> str:
    return " × ".join(f"{s:.4g}" for s in grid.spacing_mm)


def _label_findings(labels: Volume) -> Iterator[Finding]:
    if not labels.array.any():
        yield Finding(
            "empty-labels",
            "warning",
            "The output holds no label at all.",
            "Check that the structure is in the scan.",
        )
    elif not looks_like_labels(labels.array):
        yield Finding(
            "not-a-label-map",
            "error",
            f"The output ({labels.array.min():g} to {labels.array.max():g}) is no label map: its values are "
            f"not few whole numbers in even regions.",
            "Give the label map, resampled by nearest neighbour only.",
        )
