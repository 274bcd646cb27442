"""`Place`: where one label value lies in the body, in world coordinates."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Integer

from nomina.imaging.grid import Grid

MAX_POINTS = 20_000
"""Most voxels that are kept of one value [choice: 1000 in each slab of 5 mm]."""


@dataclass(frozen=True, eq=False)
class Place:
    """The voxels of one label value."""

    points_mm: Float[np.ndarray, "n 3"]
    """World coordinates (RAS) of its voxels, evenly thinned to at most `MAX_POINTS`."""
    centre_mm: Float[np.ndarray, "3"]
    """Mean of its voxels."""
    lowest_mm: Float[np.ndarray, "3"]
    """Smallest R, A and S of its voxels."""
    highest_mm: Float[np.ndarray, "3"]
    """Largest R, A and S of its voxels."""
    volume_ml: float
    """Volume of all its voxels."""
    is_cut: bool = False
    """True where it touches the border of the field of view, so that the file may hold only a part of it."""

    @property
    def height_mm(self) -> float:
        """Extent from feet to head."""
        return float(self.highest_mm[2] - self.lowest_mm[2])

    def turned(self, signs: tuple[int, int, int]) -> "Place":
        """The same voxels in a body whose R, A or S axis is reversed where the sign is -1."""
        ends = np.stack([self.lowest_mm * signs, self.highest_mm * signs])
        return replace(
            self,
            points_mm=self.points_mm * signs,
            centre_mm=self.centre_mm * signs,
            lowest_mm=ends.min(axis=0),
            highest_mm=ends.max(axis=0),
        )


def places(array: Integer[np.ndarray, "i j k"], grid: Grid) -> dict[int, Place]:
    """Where each label value other than background lies, by value, ascending."""
    flat = np.flatnonzero(array)
    values = array.ravel()[flat]
    order = np.argsort(values, kind="stable")
    flat, values = flat[order], values[order]
    present, starts = np.unique(values, return_index=True)
    return {
        int(value): _place(voxels, grid)
        for value, voxels in zip(present, np.split(flat, starts[1:])[: len(present)], strict=True)
    }


def _place(flat: Integer[np.ndarray, " n"], grid: Grid) -> Place:
    voxels = np.stack(np.unravel_index(flat, grid.shape), axis=1)
    last = np.array(grid.shape) - 1
    points = grid.to_world(voxels)
    # An odd step does not fall on the same column of every row, as even sizes of masks make even steps do.
    return Place(
        points_mm=points[:: -(-len(flat) // MAX_POINTS) | 1],
        centre_mm=points.mean(axis=0),
        lowest_mm=points.min(axis=0),
        highest_mm=points.max(axis=0),
        volume_ml=len(flat) * grid.voxel_volume_ml,
        is_cut=bool((voxels.min(axis=0) == 0).any() or (voxels.max(axis=0) == last).any()),
    )
