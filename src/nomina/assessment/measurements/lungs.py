"""Which lung a voxel lies in, from any lung mask; sides come from world coordinates, never from numbers."""

import numpy as np
from jaxtyping import Float, Integer
from scipy.spatial import cKDTree

from nomina.assessment.metrics.surface import surface_voxels
from nomina.errors import CaseError, GridMismatchError
from nomina.imaging.volume import LabelMap

LEFT, RIGHT, OUTSIDE = 1, 2, 0
"""Side of a voxel."""

HOLE_MM = 5.0
"""Voxels this near to a lung count as inside [choice: lung masks by threshold leave vessels out, and a vessel
of 10 mm inside a lung is then still covered; a hilar vessel gains 5 mm at most]."""


def lung_sides(
    voxels: Integer[np.ndarray, "n 3"], lungs: LabelMap, *, like: LabelMap
) -> Integer[np.ndarray, " n"]:
    """Side of each voxel: `LEFT`, `RIGHT` or `OUTSIDE`.

    Every label of the lung mask (lungs, or lobes) belongs to the side that its centre lies on; x grows to the
    patient's right. Voxels outside every label take the nearest within `HOLE_MM`.

    Args:
        voxels: Indices into `like`.
        lungs: Canonical lung mask: one label per lung, or one per lobe.
        like: Canonical label map of the vessels.

    Raises:
        GridMismatchError: The two maps do not cover the same voxels.
        CaseError: The mask does not tell the lungs apart.
    """
    if not lungs.grid.matches(like.grid):
        raise GridMismatchError(
            f"lung mask {lungs.grid} and vessels {like.grid} (both brought to RAS order) do not cover the "
            f"same voxels; bring the lung mask onto the vessels' grid "
            f"(`nomina.imaging.resample.resample_labels`)"
        )
    side_of = side_of_labels(lungs)
    sides = np.zeros(max(side_of) + 1, dtype=np.int64)
    sides[list(side_of)] = list(side_of.values())
    result = sides[lungs.array[tuple(voxels.T)]]
    outside = np.flatnonzero(result == OUTSIDE)
    surface = surface_voxels(lungs.array != 0)
    spacing_mm = np.asarray(lungs.grid.spacing_mm)
    tree = cKDTree(surface * spacing_mm, balanced_tree=False, compact_nodes=False)
    gaps_mm, nearest = tree.query(voxels[outside] * spacing_mm, distance_upper_bound=HOLE_MM)
    near = np.isfinite(gaps_mm)
    result[outside[near]] = sides[lungs.array[tuple(surface[nearest[near]].T)]]
    return result


def side_of_labels(lungs: LabelMap) -> dict[int, int]:
    """`LEFT` or `RIGHT` for every label of a canonical lung mask, by where its centre lies in the world.

    Raises:
        CaseError: The mask does not tell the lungs apart.
    """
    inside = np.argwhere(lungs.array != 0)
    values = lungs.array[tuple(inside.T)]
    labels = np.unique(values).tolist()
    if len(labels) < 2:
        raise CaseError(
            f"labels in the lung mask: {len(labels)}; expected one for each lung, or one for each lobe"
        )
    rightwards: Float[np.ndarray, " n"] = lungs.grid.to_world(inside)[:, 0]
    middle = 0.5 * (rightwards.min() + rightwards.max())
    side_of = {v: RIGHT if rightwards[values == v].mean() > middle else LEFT for v in labels}
    if len(set(side_of.values())) < 2:
        raise CaseError(
            f"all labels of the lung mask ({', '.join(map(str, labels))}) lie on one side; expected at least "
            f"one in each lung"
        )
    return side_of
