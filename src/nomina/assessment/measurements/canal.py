"""Section and depth of the spinal canal at one level, across its own course."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from nomina.assessment.measurements.sagittal import Point

SLAB_MM = 4.0
"""Thickness of the piece of canal that a section is taken over [choice: an axial MR slice]."""

COURSE_MM = 12.0
"""Half height of the piece that the direction of the canal is fitted to [choice: less than half a level]."""

MIN_VISIBLE_MM = 10.0
"""Least width of a canal that is cut on one side [choice: half of a dural sac; the middle of what is left is
then at most 5 mm beside the true one, where a body is as high]."""

MIDLINE_MM = 2.0
"""Half width of the band of slices that the depth is taken over [choice]."""


@dataclass(frozen=True)
class CanalSection:
    """The canal at one level; a value is `nan` where there is a reason."""

    area_mm2: float
    """Area across the canal."""
    depth_mm: float
    """Anterior-posterior diameter in the midline, across the canal."""
    area_reason: str = ""
    depth_reason: str = ""


class Canal:
    """The canal of one label map.

    Args:
        voxels: Indices of its voxels; axes point to right, anterior, superior.
        shape: Shape of the label map.
        spacing_mm: Voxel size.
    """

    def __init__(
        self,
        voxels: Integer[np.ndarray, "n 3"],
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
    ) -> None:
        self._voxels, self._shape, self._spacing_mm = voxels, shape, np.asarray(spacing_mm)
        self._points = voxels * self._spacing_mm
        _, row_of = np.unique(voxels[:, 2], return_inverse=True)
        counts = np.bincount(row_of)
        self._centres = np.stack(
            [np.bincount(row_of, weights=self._points[:, axis]) / counts for axis in range(3)], axis=1
        )

    def right_mm(self, low_mm: float, high_mm: float) -> float | None:
        """Where the canal's middle lies from left to right, between two heights; None where it is not."""
        inside = (self._points[:, 2] >= low_mm) & (self._points[:, 2] <= high_mm)
        return float(self._points[inside, 0].mean()) if inside.any() else None

    def hides_midline(self, low_mm: float, high_mm: float) -> bool:
        """Whether one lateral border of the slab cuts the canal so far that its middle may be outside."""
        inside = (self._points[:, 2] >= low_mm) & (self._points[:, 2] <= high_mm)
        slices = np.unique(self._voxels[inside, 0])
        is_cut_on_one_side = (0 in slices) != (self._shape[0] - 1 in slices)
        return bool(is_cut_on_one_side and len(slices) * self._spacing_mm[0] < MIN_VISIBLE_MM)

    def section(self, centre_mm: Point, up: Point) -> CanalSection:
        """The canal where the plane through a body or disc meets it.

        Args:
            centre_mm: Middle of the body or disc (y, z).
            up: Its own upward direction.
        """
        gaps = (self._centres[:, 1:] - centre_mm) @ up
        nearest = int(np.abs(gaps).argmin())
        if abs(gaps[nearest]) > SLAB_MM / 2:
            return _without("the canal does not reach this level")
        middle, course = self._course(nearest)
        along = (self._points - middle) @ course
        if along.min() > -SLAB_MM / 2 or along.max() < SLAB_MM / 2:
            return _without("the canal ends here")
        step = float(np.abs(course) @ self._spacing_mm)
        shares = np.clip((SLAB_MM / 2 - np.abs(along)) / step + 0.5, 0.0, 1.0)
        at = self._voxels[shares > 0]
        if any(np.isin(at[:, axis], (0, self._shape[axis] - 1)).any() for axis in (1, 2)):
            return _without("cut by the border of the scan")
        depth = self._depth_mm(shares, float(middle[0]))
        if np.isin(at[:, 0], (0, self._shape[0] - 1)).any():
            return CanalSection(float("nan"), depth, "cut by the lateral border of the slab")
        return CanalSection(float(shares.sum() * np.prod(self._spacing_mm)) / SLAB_MM, depth)

    def _course(self, row: int) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Middle and direction (unit vector) of the canal at one of its rows."""
        near = self._centres[np.abs(self._centres[:, 2] - self._centres[row, 2]) <= COURSE_MM]
        middle, course = self._centres[row].copy(), np.array([0.0, 0.0, 1.0])
        if len(near) > 2:
            for axis in (0, 1):
                slope, level = np.polyfit(near[:, 2] - middle[2], near[:, axis], 1)
                course[axis], middle[axis] = slope, level
        return middle, course / np.linalg.norm(course)

    def _depth_mm(self, shares: Float[np.ndarray, " n"], right_mm: float) -> float:
        slices = np.arange(self._shape[0])
        offsets = np.abs(slices * self._spacing_mm[0] - right_mm)
        band = slices[(offsets <= MIDLINE_MM) | (offsets == offsets.min())]
        areas = [shares[self._voxels[:, 0] == slice_].sum() for slice_ in band]
        return float(np.mean(areas) * self._spacing_mm[1] * self._spacing_mm[2]) / SLAB_MM


def _without(reason: str) -> CanalSection:
    return CanalSection(float("nan"), float("nan"), reason, reason)
