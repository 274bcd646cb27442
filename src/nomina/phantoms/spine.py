"""`sample_spine`: a lumbar and lower thoracic spine with known levels, drawn from documented ranges."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nomina.anatomy.levels import levels_between
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.phantoms.canal import (
    CANAL_LABEL,
    canal_stations,
    paint_canal,
    paint_dorsal_fat,
    paint_nerve_roots,
)
from nomina.phantoms.canvas import Canvas, Warp
from nomina.phantoms.column import Vertebra
from nomina.phantoms.disc import paint_body_ligaments, paint_disc
from nomina.phantoms.field_of_view import draw_grid, subslices
from nomina.phantoms.plan import DEFAULT_CONFIG, SpineConfig, SpinePlan, plan_spine
from nomina.phantoms.sacrum import as_vertebra, paint_sacrum
from nomina.phantoms.surroundings import paint_surroundings
from nomina.phantoms.vertebra import paint_vertebra

GEOMETRY_STREAM = 0
"""Second word of the seed of everything that shapes a phantom; `render` draws from stream 1."""
WARP_MM = 0.6
WARP_SCALE_MM = 8.0
"""Surfaces are displaced by about 0.6 mm with features of about 16 mm [choice]."""
VERTEBRA_NAMES = tuple(f"{level} vertebra" for level in levels_between("L5", "T1"))
"""What the SPIDER scheme calls ranks 1, 2, 3 …, whatever the true number of lumbar vertebrae."""


@dataclass(frozen=True, eq=False)
class SpinePhantom:
    """A spine with known truth."""

    tissues: UInt8[np.ndarray, "i j k"]
    """Index into `TISSUES` in the middle of each slice."""
    grid: Grid
    """Sagittal slab; axes point nearest to right, anterior, superior."""
    label_map: LabelMap
    """SPIDER scheme: 1 = lowest mobile vertebra, 100 canal, 201 = disc below vertebra 1. Where the image's
    upper or lower border cuts the body of vertebra n, the label is 100 + n and ignored."""
    levels: tuple[str, ...]
    """True anatomical names, lowest first: `levels[n - 1]` is the vertebra with label n (or 100 + n)."""
    parameters: dict[str, Any]
    """Every drawn number that describes the spine, JSON-able."""
    layered_tissues: UInt8[np.ndarray, "l j k"]
    """Tissues of all layers of all slices: thick slices consist of three, so that they can be averaged."""
    layered_labels: UInt8[np.ndarray, "l j k"]
    """Labels of the same layers (before 100 + n), so that each vertebra can have a signal of its own."""


def sample_spine(
    seed: int, config: SpineConfig = DEFAULT_CONFIG, *, missing: Set[int] = frozenset()
) -> SpinePhantom:
    """A spine phantom; the same seed, config and missing vertebrae give the same voxels.

    Args:
        seed: Any integer from 0.
        config: Ranges to draw from.
        missing: Ranks of vertebrae that are left out with their arches and ligaments; the discs about them
            stay, and between them lies what surrounds the column. No patient looks like this.
    """
    rng = np.random.default_rng([seed, GEOMETRY_STREAM])
    plan = plan_spine(rng, config)
    grid = draw_grid(rng, plan.vertebrae, config)
    layers, count = subslices(grid)
    canvas = Canvas(layers, Warp(layers, WARP_MM, WARP_SCALE_MM, rng))
    paint_spine(canvas, plan, rng, missing)
    middle = slice(count // 2, None, count)
    label_map = _label_map(canvas.labels[middle], grid, plan.vertebrae)
    present = [v for v in plan.vertebrae if {v.rank, 100 + v.rank} & set(np.unique(label_map.array).tolist())]
    levels = tuple(v.name for v in plan.vertebrae[: max(v.rank for v in present)])
    return SpinePhantom(
        tissues=np.ascontiguousarray(canvas.tissues[middle]),
        grid=grid,
        label_map=label_map,
        levels=levels,
        parameters={"seed": seed, "levels": list(levels), "partly_visible": sorted(label_map.ignored)}
        | ({"missing": sorted(missing)} if missing else {})
        | plan.parameters
        | {"spacing_mm": [round(s, 4) for s in grid.spacing_mm], "shape": list(grid.shape)},
        layered_tissues=canvas.tissues,
        layered_labels=canvas.labels,
    )


def paint_spine(
    canvas: Canvas, plan: SpinePlan, rng: np.random.Generator, missing: Set[int] = frozenset()
) -> None:
    """Paint a plan from the outside in, less what is missing: later parts cover earlier ones."""
    paint_surroundings(canvas, plan.vertebrae, plan.sacrum, plan.body, rng)
    for vertebra in plan.vertebrae:
        paint_dorsal_fat(canvas, vertebra)
    stations = canal_stations(plan.vertebrae, plan.sacrum, plan.canal)
    paint_canal(canvas, stations, plan.canal, rng)
    paint_sacrum(canvas, plan.sacrum)
    for vertebra in plan.vertebrae:
        paint_nerve_roots(canvas, vertebra)
        if vertebra.rank not in missing:
            paint_body_ligaments(canvas, vertebra)
    for lower, upper in zip((as_vertebra(plan.sacrum[0]), *plan.vertebrae), plan.vertebrae, strict=False):
        paint_disc(canvas, upper, lower)
    for vertebra in plan.vertebrae:
        if vertebra.rank not in missing:
            paint_vertebra(canvas, vertebra)


def _label_map(labels: UInt8[np.ndarray, "i j k"], grid: Grid, vertebrae: tuple[Vertebra, ...]) -> LabelMap:
    array = labels.copy()
    present = set(np.unique(array).tolist())
    names = {CANAL_LABEL: "spinal canal"} if CANAL_LABEL in present else {}
    ignored = set()
    for vertebra in vertebrae:
        rank = vertebra.rank
        if rank in present and _is_cut(vertebra, grid):
            array[array == rank] = 100 + rank
            ignored.add(100 + rank)
        elif rank in present:
            names[rank] = VERTEBRA_NAMES[rank - 1]
        if 200 + rank in present:
            below = VERTEBRA_NAMES[rank - 2].split()[0] if rank > 1 else "S1"
            names[200 + rank] = f"{VERTEBRA_NAMES[rank - 1].split()[0]}-{below} disc"
    return LabelMap(
        array, grid, names=dict(sorted(names.items())), scheme="spider", ignored=frozenset(ignored)
    )


def _is_cut(vertebra: Vertebra, grid: Grid) -> bool:
    """Whether the upper or lower border of the image cuts off half of an endplate or more."""
    size = vertebra.size
    points = np.array(
        [
            vertebra.frame.at(x * size.upper_width_mm, y * size.upper_depth_mm, z * size.height_mm)
            for z in (-0.5, 0.5)
            for x in (-0.2, 0.0, 0.2)
            for y in np.linspace(-0.45, 0.45, 10)
        ]
    )
    height = grid.to_voxels(points)[:, 2].reshape(2, -1)
    outside = (height < -0.5) | (height > grid.shape[2] - 0.5)
    return bool((outside.mean(axis=1) >= 0.5).any())
