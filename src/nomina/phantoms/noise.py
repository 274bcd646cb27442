"""Smooth random fields on a grid."""

import numpy as np

from nomina.phantoms.shapes import Field


class SmoothField:
    """A random field of mean 0 and standard deviation about 1 that can be evaluated window by window.

    Values on a coarse lattice are joined by cubic B-splines along each axis in turn.

    Args:
        shape: Voxels along i, j, k.
        spacing_mm: Voxel size along i, j, k.
        scale_mm: Distance of the lattice points along i, j, k; features have about twice this size.
        rng: Where the lattice values come from.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        scale_mm: tuple[float, float, float] | float,
        rng: np.random.Generator,
    ) -> None:
        scales = (scale_mm,) * 3 if isinstance(scale_mm, int | float) else scale_mm
        self._weights = [_spline_weights(n, s, c) for n, s, c in zip(shape, spacing_mm, scales, strict=True)]
        self._lattice = rng.standard_normal([w.shape[1] for w in self._weights], dtype=np.float32)

    def __call__(self, window: tuple[slice, slice, slice]) -> Field:
        """Values in a window of the grid."""
        field = self._lattice
        for axis in (2, 1, 0):
            rows = self._weights[axis][window[axis]]
            used = np.flatnonzero(rows.any(0))
            near = slice(used[0], used[-1] + 1)
            field = field[(slice(None),) * axis + (near,)]
            field = np.moveaxis(np.tensordot(rows[:, near], field, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(field)


def smooth_noise(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    scale_mm: tuple[float, float, float] | float,
    rng: np.random.Generator,
) -> Field:
    """A `SmoothField` on the whole grid."""
    return SmoothField(shape, spacing_mm, scale_mm, rng)((slice(None), slice(None), slice(None)))


def _spline_weights(size: int, spacing_mm: float, scale_mm: float) -> np.ndarray:
    """One row per voxel: cubic B-spline weights of the lattice, scaled to keep unit variance."""
    place = np.arange(size) * (spacing_mm / scale_mm) + 1.5
    lattice = np.arange(int(np.ceil(place[-1])) + 3)
    distance = np.abs(place[:, None] - lattice[None, :])
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = (2 - distance) ** 3 / 6
    weights = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
