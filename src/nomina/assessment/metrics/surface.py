"""How far apart two surfaces are: HD95, average surface distance, normalised surface Dice.

The surface of a mask is the set of its voxels that have a neighbour outside the mask; what lies beyond the
array counts as outside. Distances run between voxel centres, from each surface voxel of one mask to the
nearest surface voxel of the other, and come in the unit of `spacing`: the grid's spacing gives mm, (1, 1, 1)
gives voxels ("px"). They are found once, with KD-trees, and reduced by the functions below.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.ndimage import binary_erosion, find_objects, generate_binary_structure
from scipy.spatial import cKDTree

from nomina.assessment.metrics.overlap import check_shapes, ranked

VOXEL_UNITS = (1.0, 1.0, 1.0)
"""Spacing that measures distances in voxels."""

ROUNDING = 1e-4
"""A distance that exceeds a tolerance by less equals it [choice]: headers round the spacing, and a surface
that is one voxel of 1 mm away must not count as further than 1 mm."""

Neighbours = Literal[6, 26]
"""Neighbours that make a voxel a surface voxel: those across faces (6), or also edges and corners (26)."""

Box = tuple[slice, slice, slice]
"""Part of an array, half open along i, j, k."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance from every surface voxel of each mask to the nearest surface voxel of the other.

    A mask without voxels has no surface: its own array is empty and the other's is all `inf`.
    """

    from_prediction: Float[np.ndarray, " p"]
    """One per surface voxel of the prediction."""
    from_reference: Float[np.ndarray, " r"]
    """One per surface voxel of the reference."""


def surface_voxels(
    mask: Bool[np.ndarray, "i j k"], *, neighbours: Neighbours = 6
) -> Integer[np.ndarray, "n 3"]:
    """Indices of the voxels of a mask that have at least one neighbour outside it or beyond the array."""
    footprint = generate_binary_structure(3, 1 if neighbours == 6 else 3)
    return np.argwhere(mask & ~binary_erosion(mask, footprint, border_value=0))


def surface_distances(
    prediction: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"],
    *,
    spacing: tuple[float, float, float],
    neighbours: Neighbours = 6,
) -> SurfaceDistances:
    """Directed distances between the surfaces of two masks.

    Args:
        prediction: Predicted mask; the smaller the crop around both masks, the faster.
        reference: Reference mask on the same grid.
        spacing: Voxel size along i, j, k: mm for distances in mm, `VOXEL_UNITS` for distances in voxels.
        neighbours: Which neighbours make a surface voxel.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    check_shapes(prediction, reference)
    return distances_between(
        surface_voxels(prediction, neighbours=neighbours),
        surface_voxels(reference, neighbours=neighbours),
        spacing=spacing,
    )


def distances_between(
    prediction: Integer[np.ndarray, "p 3"],
    reference: Integer[np.ndarray, "r 3"],
    *,
    spacing: tuple[float, float, float],
) -> SurfaceDistances:
    """Directed distances between two sets of surface voxels, as `surface_voxels` returns them."""
    if len(prediction) == 0 or len(reference) == 0:
        return SurfaceDistances(np.full(len(prediction), np.inf), np.full(len(reference), np.inf))
    prediction_points = prediction * np.asarray(spacing, dtype=np.float64)
    reference_points = reference * np.asarray(spacing, dtype=np.float64)
    return SurfaceDistances(
        _nearest(prediction_points, reference_points), _nearest(reference_points, prediction_points)
    )


def hd95(distances: SurfaceDistances) -> float:
    """95th-percentile Hausdorff distance: the larger of the two directed 95th percentiles.

    This is MONAI's definition. `hd95_pooled` takes one percentile over both directions and is often smaller.

    Returns:
        Distance in the unit of `distances`; `nan` if both masks are empty, `inf` if exactly one is.
    """
    if not _has_both(distances):
        return _without_both(distances)
    return float(
        max(np.percentile(distances.from_prediction, 95), np.percentile(distances.from_reference, 95))
    )


def hd95_pooled(distances: SurfaceDistances) -> float:
    """95th percentile of the distances of both directions taken together.

    Returns:
        Distance in the unit of `distances`; `nan` if both masks are empty, `inf` if exactly one is.
    """
    if not _has_both(distances):
        return _without_both(distances)
    return float(np.percentile(_pooled(distances), 95))


def asd(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance: mean of the distances of both directions taken together.

    The mean runs over all surface voxels of both masks, so the larger surface weighs more (MONAI's
    `SurfaceDistanceMetric(symmetric=True)` and the SPIDER evaluator do the same).

    Returns:
        Distance in the unit of `distances`; `nan` if both masks are empty, `inf` if exactly one is.
    """
    if not _has_both(distances):
        return _without_both(distances)
    return float(_pooled(distances).mean())


def nsd(distances: SurfaceDistances, *, tolerance: float) -> float:
    """Normalised surface Dice: share of surface voxels within the tolerance of the other surface.

    Surface voxels are counted, not weighted by their area (MONAI's default form).

    Args:
        distances: Directed distances.
        tolerance: Largest distance that counts as agreement, in the unit of `distances`; it is included,
            and so is what `ROUNDING` adds.

    Returns:
        0 to 1; `nan` if both masks are empty, 0.0 if exactly one is.
    """
    pooled = _pooled(distances)
    return float((pooled <= tolerance + ROUNDING).mean()) if len(pooled) else float("nan")


def label_boxes(array: Integer[np.ndarray, "i j k"]) -> dict[int, Box]:
    """Smallest box around the voxels of each label value; background (0) has none."""
    foreground = array != 0
    values, positions = ranked(array[foreground])
    ranks = np.zeros(array.shape, dtype=np.int32)
    ranks[foreground] = positions + 1
    return dict(zip(values.tolist(), find_objects(ranks), strict=True))


def joint_box(first: Box, second: Box) -> Box:
    """Smallest box around two boxes."""
    i, j, k = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return i, j, k


def _nearest(points: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, " n"]:
    # Unbalanced trees build several times faster and answer equally fast on surfaces.
    tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
    distances: Float[np.ndarray, " n"] = tree.query(points)[0]
    return distances


def _pooled(distances: SurfaceDistances) -> Float[np.ndarray, " n"]:
    return np.concatenate([distances.from_prediction, distances.from_reference])


def _has_both(distances: SurfaceDistances) -> bool:
    return len(distances.from_prediction) > 0 and len(distances.from_reference) > 0


def _without_both(distances: SurfaceDistances) -> float:
    return float("inf") if len(_pooled(distances)) else float("nan")
