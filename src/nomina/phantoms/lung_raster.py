"""Tubes on a grid: the exact signed distance of voxel centres near the edges of a tree."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nomina.imaging.grid import Grid
from nomina.phantoms.lung_tree import VesselTree
from nomina.phantoms.shapes import Field

BATCH_VOXELS = 300_000
"""Edges are handled in batches of about so many voxels [choice: cache]."""


@dataclass(frozen=True)
class TubeVoxels:
    """Voxels near some tubes."""

    index: np.ndarray
    """Flat index of each voxel."""
    distance_mm: np.ndarray
    """Signed distance of its centre to one tube's surface, negative inside."""
    radius_mm: np.ndarray
    """Radius of that tube."""


def near_tubes(
    starts_mm: Float[np.ndarray, "n 3"],
    ends_mm: Float[np.ndarray, "n 3"],
    radii_mm: Float[np.ndarray, " n"],
    grid: Grid,
    reach_mm: float = 0.0,
) -> Iterator[TubeVoxels]:
    """All voxels whose centre lies within `reach_mm` of tubes with round ends.

    Args:
        starts_mm: One end of each tube's axis.
        ends_mm: The other end.
        radii_mm: Radius of each tube.
        grid: Axes must be R, A and S.
        reach_mm: Greatest distance outside the surface.

    Yields:
        Batches; a voxel near several tubes comes once for each.
    """
    spacing, origin = np.array(grid.spacing_mm), grid.affine[:3, 3]
    radii = np.asarray(radii_mm, dtype=float)
    reach = (radii + reach_mm)[:, None]
    low = np.ceil((np.minimum(starts_mm, ends_mm) - reach - origin) / spacing).astype(int)
    high = np.floor((np.maximum(starts_mm, ends_mm) + reach - origin) / spacing).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, np.array(grid.shape) - 1)
    sizes = high - low + 1
    visible = np.flatnonzero((sizes > 0).all(1))
    widest = sizes.max(1)
    order = visible[np.argsort(widest[visible], kind="stable")]
    while len(order):
        # Windows of a batch are padded to the widest, so only those of similar width go together.
        limit = np.searchsorted(widest[order], 1.25 * widest[order[0]], side="right")
        count = max(min(int(limit), int(BATCH_VOXELS // (1.25 * widest[order[0]]) ** 3)), 1)
        batch, order = order[:count], order[count:]
        yield _batch(
            starts_mm[batch], ends_mm[batch], radii[batch], (low[batch], high[batch]), grid, reach_mm
        )


def _batch(
    starts: np.ndarray,
    ends: np.ndarray,
    radii: np.ndarray,
    window: tuple[np.ndarray, np.ndarray],
    grid: Grid,
    reach_mm: float,
) -> TubeVoxels:
    low, high = window
    spacing, origin = np.array(grid.spacing_mm), grid.affine[:3, 3]
    axis = ends - starts
    length2 = np.maximum((axis * axis).sum(1), 1e-12)
    size = (high - low + 1).max(0)
    along = np.zeros((len(starts), *size), dtype=np.float64)
    square = np.zeros_like(along)
    inside = np.ones(along.shape, dtype=bool)
    index = np.zeros(along.shape, dtype=np.int64)
    for a in range(3):
        shape = [-1, *(size[a] if b == a else 1 for b in range(3))]
        place = low[:, a, None] + np.arange(size[a])
        gap = origin[a] + place * spacing[a] - starts[:, a, None]
        along += (gap * axis[:, a, None]).reshape(shape)
        square += (gap * gap).reshape(shape)
        inside &= (place <= high[:, a, None]).reshape(shape)
        index = index * grid.shape[a] + place.reshape(shape)
    # |gap - t axis|² = |gap|² - 2 t (gap · axis) + t² |axis|²
    length2 = length2[:, None, None, None]
    t = np.clip(along / length2, 0, 1)
    distance = np.sqrt(np.maximum(square + t * (t * length2 - 2 * along), 0)) - radii[:, None, None, None]
    inside &= distance <= reach_mm
    owner = np.nonzero(inside)[0]
    return TubeVoxels(index[inside], distance[inside], radii[owner])


def tree_mask(tree: VesselTree, nodes: np.ndarray, grid: Grid) -> Bool[np.ndarray, "i j k"]:
    """Voxels whose centre lies inside the tubes of some of a tree's edges.

    Args:
        tree: The tree.
        nodes: Nodes at the far ends of the edges.
        grid: Axes must be R, A and S.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    for voxels in near_tubes(
        tree.points_mm[tree.parents[nodes]], tree.points_mm[nodes], tree.radii_mm[nodes], grid
    ):
        mask.reshape(-1)[voxels.index] = True
    return mask


def tube_shares(
    starts_mm: Float[np.ndarray, "n 3"],
    ends_mm: Float[np.ndarray, "n 3"],
    radii_mm: Float[np.ndarray, " n"],
    grid: Grid,
) -> Field:
    """Share of each voxel that tubes fill, as good as a distance tells.

    A voxel at distance d from the surface is filled to 0.5 - d / h. For tubes of voxel size that overstates
    the section by h² / 12 per r², which a factor takes back, so that thin vessels keep their brightness.
    """
    shares = np.zeros(grid.shape, dtype=np.float32)
    flat = shares.reshape(-1)
    voxel = float(np.prod(grid.spacing_mm)) ** (1 / 3)
    for voxels in near_tubes(starts_mm, ends_mm, radii_mm, grid, reach_mm=0.5 * voxel):
        fade = voxels.radius_mm**2 / (voxels.radius_mm**2 + voxel**2 / 12)
        share = np.clip(0.5 - voxels.distance_mm / voxel, 0, 1) * fade
        np.maximum.at(flat, voxels.index, share.astype(np.float32))
    return shares
