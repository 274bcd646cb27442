"""Signed distances (mm, negative inside) of the simple solids that anatomy is assembled from.

Coordinates are float32 arrays that broadcast together. Distances are exact for capsules and first-order
(accurate near the surface) for the others, which is where cortical bone is cut out of them.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

Field = np.ndarray[Any, np.dtype[np.float32]]
"""A scalar per voxel of a box; its axes are i, j, k of the canvas."""

Distance = Float[np.ndarray, "..."]
"""A distance per voxel, in float32 unless sizes in float64 (NumPy's scalars too) have widened it."""

Point = tuple[float, float, float]


def ellipse(u: Field, v: Field, half_u: float | Distance, half_v: float | Distance) -> Distance:
    """Distance to the ellipse with these half axes."""
    p, q = u / half_u, v / half_v
    level = p * p + q * q
    slope_u, slope_v = p / half_u, q / half_v
    steepness = 2 * np.sqrt(slope_u * slope_u + slope_v * slope_v) + np.float32(1e-3)
    return (level - 1) / steepness


def rounded_rectangle(
    u: Field, v: Field, half_u: float | Field, half_v: float | Field
) -> tuple[Field, Field]:
    """Distance to the superellipse of power 3 with these half axes, and its level (0 centre, 1 border)."""
    p, q = np.abs(u / half_u), np.abs(v / half_v)
    p2, q2 = p * p, q * q
    level = p2 * p + q2 * q
    slope_u, slope_v = p2 / half_u, q2 / half_v
    steepness = 3 * np.sqrt(slope_u * slope_u + slope_v * slope_v) + np.float32(1e-3)
    return (level - 1) / steepness, level


def capsule(x: Field, y: Field, z: Field, start: Point, end: Point, radius_mm: float) -> Field:
    """Distance to a rod with round ends."""
    axis = [e - s for s, e in zip(start, end, strict=True)]
    length2 = sum(a * a for a in axis)
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / length2, 0, 1)
    dx, dy, dz = dx - along * axis[0], dy - along * axis[1], dz - along * axis[2]
    return np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(radius_mm)


def blend_max(a: Distance, b: Distance, radius_mm: float) -> Distance:
    """Intersection of two solids whose common edge is rounded."""
    overlap = np.maximum(radius_mm - np.abs(a - b), 0)
    rounded: Distance = np.maximum(a, b) + overlap * overlap * np.float32(0.25 / radius_mm)
    return rounded


def blend_min(a: Distance, b: Distance, radius_mm: float) -> Distance:
    """Union of two solids whose common notch is filled."""
    overlap = np.maximum(radius_mm - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap * np.float32(0.25 / radius_mm)
