"""`Lattice`: smooth shapes, computed on a coarse grid and read off at points or on a finer grid."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi
from jaxtyping import Float

from nomina.imaging.grid import Grid
from nomina.phantoms.shapes import Field

LATTICE_MM = 4.0
"""Distance of lattice points [choice: a sphere of 20 mm radius is off by 0.1 mm]."""


@dataclass(frozen=True)
class Lattice:
    """Points at equal distances along R, A, S."""

    origin_mm: Float[np.ndarray, " 3"]
    """First point."""
    shape: tuple[int, int, int]
    step_mm: float = LATTICE_MM

    @staticmethod
    def over(low_mm: np.ndarray, high_mm: np.ndarray) -> "Lattice":
        """A lattice that covers a box."""
        shape = np.ceil((high_mm - low_mm) / LATTICE_MM).astype(int) + 1
        return Lattice(np.asarray(low_mm, dtype=float), (int(shape[0]), int(shape[1]), int(shape[2])))

    def coordinates(self) -> tuple[Field, Field, Field]:
        """R, A and S of the points; they broadcast to the lattice's shape."""
        x, y, z = (
            (o + self.step_mm * np.arange(n)).astype(np.float32)
            for o, n in zip(self.origin_mm, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def at(self, values: Field, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Values at any points, by trilinear interpolation."""
        place = (points_mm - self.origin_mm).T / self.step_mm
        return ndi.map_coordinates(values, place, order=1, mode="nearest")

    def gradient_at(self, values: Field, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Slope of the values at any points, per mm."""
        half = 0.5 * self.step_mm
        return np.stack(
            [
                (self.at(values, points_mm + half * e) - self.at(values, points_mm - half * e)) / self.step_mm
                for e in np.eye(3)
            ],
            axis=1,
        )

    def onto(self, values: Field, grid: Grid) -> Field:
        """Values at the voxels of a grid whose axes are R, A and S."""
        result = values
        for axis in (2, 1, 0):
            start = grid.affine[axis, 3]
            place = start + grid.spacing_mm[axis] * np.arange(grid.shape[axis])
            place = np.clip((place - self.origin_mm[axis]) / self.step_mm, 0, self.shape[axis] - 1.001)
            low = place.astype(int)
            weight = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            first = np.take(result, low, axis=axis)
            result = first + weight * (np.take(result, low + 1, axis=axis) - first)
        return np.ascontiguousarray(result)


def as_distance(level: Field, step_mm: float) -> Field:
    """First-order signed distance (mm) from a level function that is 0 on a surface and negative inside."""
    slope = np.sqrt(sum(g * g for g in np.gradient(level, step_mm)))
    return level / np.maximum(slope, np.float32(1e-4))
