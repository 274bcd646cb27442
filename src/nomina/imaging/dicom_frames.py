"""Where the frames of a DICOM series lie, and whether they make a volume.

Slices are placed by ImagePositionPatient along the normal of the image plane, never by file name or
instance number. DICOM's world is LPS and its pixels are ordered row, column; both conventions end here and in
`dicom_series.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float

from nomina.errors import DicomError
from nomina.imaging.grid import Grid

DRIFT_TOLERANCE_MM = 0.1
"""Slices may stray this far from a straight stack, since scanners round positions [choice: below a voxel]."""

GAP_TOLERANCE = 0.1
"""The same for thin slices, as a fraction of their spacing; the smaller tolerance holds [choice]."""

_ORIENTATION_TOLERANCE = 1e-3

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Frame:
    """One slice: where it is (LPS mm) and where its pixels are."""

    path: Path
    index: int
    """Frame number in the file, from 0."""
    position: Float[np.ndarray, " 3"]
    directions: Float[np.ndarray, "2 3"]
    """Unit vectors along a row (towards higher columns) and along a column (towards higher rows)."""
    spacing_mm: tuple[float, float]
    """Distance between columns, then between rows."""
    shape: tuple[int, int]
    """Number of columns, then of rows."""
    slope: float
    intercept: float


def frames_of(path: Path, header: Any) -> Iterator[Frame]:
    """The frames of one file, from the header of a classic slice or of an enhanced multi-frame file.

    Raises:
        DicomError: The images are of a kind that makes no volume, or do not say where they lie.
    """
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise DicomError(
            "the images are in colour, expected grey values; export the original series", code="colour"
        )
    if "MOSAIC" in image_type(header):
        raise DicomError(
            "the images are mosaics of many slices; export them as enhanced multi-frame or single slices",
            code="mosaic",
        )
    if "ModalityLUTSequence" in header:
        raise DicomError(
            "the images use a modality look-up table, which nomina does not read; convert to NIfTI first",
            code="modality-lut",
        )
    shared = _item(header, "SharedFunctionalGroupsSequence")
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or [pydicom.Dataset()]
    num_frames = int(header.get("NumberOfFrames") or 1)
    if len(per_frame) != num_frames:
        raise DicomError(
            f"{path.name} has {num_frames} frames but says where {len(per_frame)} of them lie; "
            f"export it again as single slices",
            code="frames-without-place",
        )
    for index, groups in enumerate(per_frame):
        yield _frame(path, index, header, (groups, shared))


def image_type(header: Any) -> list[str]:
    """Values of ImageType in capitals; empty when there are none."""
    value = header.get("ImageType") or []
    return [value] if isinstance(value, str) else [str(item).upper() for item in value]


def _item(dataset: Any, keyword: str) -> Any:
    """The first item of a sequence, or an empty dataset."""
    return (dataset.get(keyword) or [pydicom.Dataset()])[0]


def _frame(path: Path, index: int, header: Any, groups: tuple[Any, Any]) -> Frame:
    def value(sequence: str, keyword: str, default: Any = None) -> Any:
        """From the frame's own group, the shared group, or (classic files) the top of the header."""
        for source in (*(_item(group, sequence) for group in groups), header):
            if source.get(keyword) is not None:
                return source.get(keyword)
        return default

    position = value("PlanePositionSequence", "ImagePositionPatient")
    orientation = value("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = value("PixelMeasuresSequence", "PixelSpacing")
    if position is None or orientation is None or spacing is None:
        raise DicomError(
            f"{path.name} does not say where its image lies (ImagePositionPatient, ImageOrientationPatient, "
            f"PixelSpacing); projections and screen captures have no place in a volume",
            code="no-position",
        )
    try:
        between_rows, between_columns = (float(number) for number in spacing)
        directions = np.array(orientation, dtype=np.float64).reshape(2, 3)
        return Frame(
            path=path,
            index=index,
            position=np.array(position, dtype=np.float64).reshape(3),
            directions=directions,
            spacing_mm=(between_columns, between_rows),
            shape=(int(header.Columns), int(header.Rows)),
            slope=float(value("PixelValueTransformationSequence", "RescaleSlope", 1.0)),
            intercept=float(value("PixelValueTransformationSequence", "RescaleIntercept", 0.0)),
        )
    except (TypeError, ValueError) as error:
        raise DicomError(
            f"{path.name} has a damaged geometry or rescale value; export it again", code="damaged-header"
        ) from error


def check_alike(frames: list[Frame]) -> None:
    """Refuse frames that cannot be slices of one volume.

    Raises:
        DicomError: Fewer than two frames, impossible numbers, or frames that differ in size, pixel spacing or
            orientation.
    """
    if len(frames) < 2:
        raise DicomError(
            "a single slice is not a volume; give the folder that holds the whole series", code="single-slice"
        )
    for frame in frames:
        numbers = [
            *frame.position,
            *frame.directions.ravel(),
            *frame.spacing_mm,
            frame.slope,
            frame.intercept,
        ]
        gram = frame.directions @ frame.directions.T
        if not np.isfinite(numbers).all() or min(frame.spacing_mm) <= 0 or frame.slope == 0:
            raise DicomError(
                f"{frame.path.name} has an impossible geometry (spacing {frame.spacing_mm} mm, rescale slope "
                f"{frame.slope}); expected finite numbers and spacing above 0, export the series again",
                code="bad-geometry",
            )
        if np.abs(gram - np.eye(2)).max() > _ORIENTATION_TOLERANCE:
            raise DicomError(
                f"ImageOrientationPatient of {frame.path.name} is not a pair of perpendicular unit vectors; "
                f"export the series again",
                code="bad-directions",
            )
    _check_same("size", [frame.shape for frame in frames], 0.0)
    _check_same("pixel spacing", [frame.spacing_mm for frame in frames], 1e-4 * max(frames[0].spacing_mm))
    _check_same("orientation", [frame.directions for frame in frames], _ORIENTATION_TOLERANCE)


def _check_same(what: str, values: list[Any], tolerance: float) -> None:
    deviations = [float(np.abs(np.subtract(value, values[0])).max()) for value in values]
    num_different = sum(deviation > tolerance for deviation in deviations)
    if num_different:
        raise DicomError(
            f"{num_different} of {len(values)} slices differ from the first in {what}; "
            f"this is more than one stack, separate them into folders",
            code=f"mixed-{what.replace(' ', '-')}",
        )


def stacked(frames: list[Frame]) -> tuple[list[Frame], float]:
    """The frames in order along their normal, and their distance in mm.

    Raises:
        DicomError: Slices are missing, repeated, unevenly spaced, or shifted sideways (gantry tilt).
    """
    normal = _normal(frames[0])
    frames = sorted(frames, key=lambda frame: float(frame.position @ normal))
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal - positions[0] @ normal
    _check_gaps(np.diff(heights))
    step_mm = float(heights[-1]) / (len(frames) - 1)
    strays = np.abs(heights - step_mm * np.arange(len(frames)))
    if strays.max() > 2 * _gap_tolerance_mm(step_mm):
        raise DicomError(
            "slices are unevenly spaced along the stack; export the original series", code="uneven-slices"
        )
    drift_mm = float(np.linalg.norm(positions - positions[0] - np.outer(heights, normal), axis=1).max())
    if drift_mm > DRIFT_TOLERANCE_MM:
        angle = float(np.degrees(np.arctan2(drift_mm, heights[-1])))
        raise DicomError(
            f"slices are shifted against each other by up to {drift_mm:.3g} mm (gantry tilt of about "
            f"{angle:.1f} degrees); resample the scan to a straight stack first",
            code="gantry-tilt",
        )
    return frames, step_mm


def _gap_tolerance_mm(step_mm: float) -> float:
    return min(DRIFT_TOLERANCE_MM, GAP_TOLERANCE * step_mm)


def _check_gaps(gaps: Float[np.ndarray, " n"]) -> None:
    if (num_repeated := int((gaps < 1e-3).sum())) > 0:
        raise DicomError(
            f"{num_repeated} slices repeat the position of another (several echoes, phases or a doubled "
            f"export); keep one image per position",
            code="repeated-positions",
        )
    typical = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    errors = np.abs(gaps - typical)
    if errors.max() > 2 * _gap_tolerance_mm(typical):
        n = int(np.argmax(errors))
        num_gaps = int((errors > 2 * _gap_tolerance_mm(typical)).sum())
        count = f"at {num_gaps} places, the worst " if num_gaps > 1 else ""
        raise DicomError(
            f"slices are missing or unevenly spaced: {count}{gaps[n]:.4g} mm between slices {n + 1} and "
            f"{n + 2} of {len(gaps) + 1} along the stack, elsewhere {typical:.4g} mm; "
            f"export the complete series",
            code="missing-slices",
        )


def stack_grid(frames: list[Frame], step_mm: float) -> Grid:
    """Grid of the stacked frames: i along rows, j along columns, k along the stack."""
    first = frames[0]
    affine = np.eye(4)
    lengths = np.linalg.norm(first.directions, axis=1, keepdims=True)
    affine[:3, :2] = (first.directions / lengths).T * first.spacing_mm
    affine[:3, 2] = _normal(first) * step_mm
    affine[:3, 3] = first.position
    return Grid((*first.shape, len(frames)), _LPS_RAS @ affine)


def _normal(frame: Frame) -> Float[np.ndarray, " 3"]:
    normal = np.cross(*frame.directions)
    return normal / np.linalg.norm(normal)
