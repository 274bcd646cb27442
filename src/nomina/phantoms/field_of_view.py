"""Draws the grid of a sagittal acquisition around a planned spine."""

from collections.abc import Sequence

import numpy as np

from nomina.imaging.grid import Grid
from nomina.phantoms.canvas import Frame
from nomina.phantoms.column import Vertebra
from nomina.phantoms.plan import SpineConfig

THICKEST_SUBSLICE_MM = 1.6
"""Slices thicker than this are painted in three layers, so that they can show partial volume [choice]."""


def draw_grid(rng: np.random.Generator, vertebrae: Sequence[Vertebra], config: SpineConfig) -> Grid:
    """A sagittal slab: axes i (right), j (anterior), k (superior), slightly rotated against the body."""
    top = _height_at(rng.uniform(*config.top_level), vertebrae)
    if rng.random() < config.sacrum_cut_probability:
        bottom = _height_at(rng.uniform(0.9, 1.3), vertebrae) - rng.uniform(8, 25)
    else:
        bottom = -rng.uniform(*config.below_s1_mm)
    inside = [v for v in vertebrae if v.frame.origin_mm[2] < top]
    middle = np.mean([v.frame.origin_mm for v in inside], axis=0)
    depth = rng.uniform(*config.depth_mm)
    forward = rng.uniform(-0.08, 0.14) * depth
    tall = top - bottom
    spacing = max(rng.uniform(*config.in_plane_mm), tall / config.max_in_plane, depth / config.max_in_plane)
    is_thin = rng.random() < config.thin_slices_probability
    thickness = rng.uniform(0.8, 1.3) if is_thin else rng.uniform(2.5, 5.0)
    slices = int(rng.integers(config.num_slices[0], config.num_slices[1] + 1))
    least, most = (int(np.ceil(config.slab_mm[0] / thickness)), int(config.slab_mm[1] / thickness))
    slices = int(np.clip(slices, max(least, config.num_slices[0]), max(most, config.num_slices[0])))
    shape = (slices, round(depth / spacing), round(tall / spacing))
    centre = np.array(
        [middle[0] + rng.normal(0, config.slab_offset_mm), middle[1] + forward, (top + bottom) / 2]
    )
    tilt, lean, turn = rng.normal(0, config.slab_tilt_deg, 3)
    axes = Frame.turned(centre, tilt, lean, turn).axes
    affine = np.eye(4)
    affine[:3, :3] = axes * (thickness, spacing, spacing)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _height_at(rank: float, vertebrae: Sequence[Vertebra]) -> float:
    return float(np.interp(rank, [v.rank for v in vertebrae], [v.frame.origin_mm[2] for v in vertebrae]))


def subslices(grid: Grid) -> tuple[Grid, int]:
    """The same slab with each slice cut into an odd number of layers, and that number."""
    count = 1 if grid.spacing_mm[0] <= THICKEST_SUBSLICE_MM else 3
    affine = grid.affine.copy()
    affine[:3, 0] /= count
    affine[:3, 3] -= affine[:3, 0] * ((count - 1) / 2)
    return Grid((grid.shape[0] * count, grid.shape[1], grid.shape[2]), affine), count
