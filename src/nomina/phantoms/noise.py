"""Smooth random fields on a grid."""

import numpy as np

from nomina.phantoms.shapes import Field


def smooth_noise(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    scale_mm: tuple[float, float, float] | float,
    rng: np.random.Generator,
) -> Field:
    """Noise of mean 0 and standard deviation about 1 whose features have the size `scale_mm`.

    Values on a coarse lattice are joined by cubic B-splines along each axis in turn.
    """
    scales = (scale_mm,) * 3 if isinstance(scale_mm, int | float) else scale_mm
    weights = [_spline_weights(n, s, c) for n, s, c in zip(shape, spacing_mm, scales, strict=True)]
    field = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    for axis in (2, 1, 0):
        field = np.moveaxis(np.tensordot(weights[axis], field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _spline_weights(size: int, spacing_mm: float, scale_mm: float) -> np.ndarray:
    """One row per voxel: cubic B-spline weights of the lattice, scaled to keep unit variance."""
    place = np.arange(size) * (spacing_mm / scale_mm) + 1.5
    lattice = np.arange(int(np.ceil(place[-1])) + 3)
    distance = np.abs(place[:, None] - lattice[None, :])
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = (2 - distance) ** 3 / 6
    weights = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
