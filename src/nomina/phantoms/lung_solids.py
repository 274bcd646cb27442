"""Solids that heart and great vessels are assembled from: ellipsoids and bent tubes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nomina.phantoms.lung_lattice import Lattice
from nomina.phantoms.shapes import Field


@dataclass(frozen=True, eq=False)
class Tube:
    """A bent tube with round ends, of one radius."""

    points_mm: np.ndarray
    """Corners of its axis (n, 3)."""
    radius_mm: float

    def distance(self, points_mm: np.ndarray) -> Field:
        """Signed distance, exact."""
        least = np.full(points_mm.shape[:-1], np.inf, dtype=np.float32)
        for start, end in zip(self.points_mm[:-1], self.points_mm[1:], strict=True):
            axis = end - start
            along = np.clip((points_mm - start) @ axis / (axis @ axis), 0, 1)
            gap = points_mm - start - along[..., None] * axis
            np.minimum(least, np.sqrt(np.einsum("...i,...i", gap, gap)), out=least)
        return least - np.float32(self.radius_mm)

    def box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners of a box around it."""
        return self.points_mm.min(0) - self.radius_mm, self.points_mm.max(0) + self.radius_mm


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid."""

    centre_mm: np.ndarray
    half_axes_mm: tuple[float, float, float]
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    """Columns are its axes in RAS+."""

    def distance(self, points_mm: np.ndarray) -> Field:
        """Signed distance, first-order."""
        local = (points_mm - self.centre_mm) @ self.turn / np.array(self.half_axes_mm)
        level = np.sqrt(np.einsum("...i,...i", local, local))
        steep = local / np.array(self.half_axes_mm)
        slope = np.sqrt(np.einsum("...i,...i", steep, steep)) / np.maximum(level, 1e-6)
        return ((level - 1) / np.maximum(slope, 1e-6)).astype(np.float32)

    def box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners of a box around it."""
        reach = np.abs(self.turn) @ np.array(self.half_axes_mm)
        return self.centre_mm - reach, self.centre_mm + reach


Solid = Tube | Ellipsoid


def union_distance(lattice: Lattice, solids: Sequence[Solid], far_mm: float = 30.0) -> Field:
    """Signed distance to the union of some solids on a lattice, up to `far_mm`."""
    least = np.full(lattice.shape, far_mm, dtype=np.float32)
    axes = [coordinate.ravel() for coordinate in lattice.coordinates()]
    for solid in solids:
        low, high = solid.box_mm()
        window = tuple(
            slice(*np.searchsorted(axis, (start - far_mm, stop + far_mm)))
            for axis, start, stop in zip(axes, low, high, strict=True)
        )
        points = np.stack(np.meshgrid(*[a[w] for a, w in zip(axes, window, strict=True)], indexing="ij"), -1)
        least[window] = np.minimum(least[window], solid.distance(points))
    return least


def axis_turn(direction: np.ndarray) -> np.ndarray:
    """A rotation whose first column points along a direction."""
    first = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    second = np.cross([0.0, 0.0, 1.0], first)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)
