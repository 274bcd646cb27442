"""`sample_lung`: a chest with known pulmonary vessels, airways and lobes, drawn from documented ranges."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.phantoms.lung_bundles import SEGMENTS
from nomina.phantoms.lung_canvas import ChestCanvas
from nomina.phantoms.lung_labels import label_airways, label_lobes, label_vessels
from nomina.phantoms.lung_paint import paint_chest
from nomina.phantoms.lung_plan import DEFAULT_LUNG, LungConfig, lung_grid
from nomina.phantoms.lung_tree import VesselTree
from nomina.phantoms.lung_trees import LungPlan, plan_lung

LUNG_GEOMETRY_STREAM = 2
"""Second word of the seed of everything that shapes a chest; `render_lung` draws from stream 3."""
LAYER_MM = 1.3
"""Slices thicker than this consist of several layers, which the renderer averages [choice]."""


@dataclass(frozen=True, eq=False)
class LungPhantom:
    """A chest with known truth."""

    vessels: LabelMap
    """Scheme `nomina`: pulmonary trunk, left and right artery, left atrium, left and right pulmonary
    vein. A voxel belongs to a vessel when its centre lies inside the tree. Branches too thin for the grid to
    hold them together carry 100 + the label, and are ignored."""
    airways: LabelMap
    """Lumen of trachea and bronchi."""
    lobes: LabelMap
    """Lobes with all that runs through them."""
    arteries: VesselTree
    """Exact centrelines; the root is where the pulmonary trunk leaves the heart."""
    veins: VesselTree
    """Exact centrelines; the root is the middle of the left atrium."""
    airway_tree: VesselTree
    """Exact centrelines of the lumen; the root is the upper end of the trachea."""
    canvas: ChestCanvas
    """Tissues of all layers; axial layers are `layers_per_slice` times as many as slices."""
    layers_per_slice: int
    parameters: dict[str, Any]
    """Every drawn number that describes the chest, JSON-able."""

    @property
    def grid(self) -> Grid:
        """Axes R, A, S."""
        return self.vessels.grid

    @property
    def tissues(self) -> UInt8[np.ndarray, "i j k"]:
        """Index into `CHEST_TISSUES` of the greatest part of each voxel, in the middle of each slice."""
        canvas, middle = self.canvas, slice(self.layers_per_slice // 2, None, self.layers_per_slice)
        is_upper = canvas.shares[:, :, middle] >= 128
        return np.where(is_upper, canvas.tissues[:, :, middle], canvas.beneath[:, :, middle])


def sample_lung(seed: int, config: LungConfig = DEFAULT_LUNG) -> LungPhantom:
    """A chest phantom; the same seed and config give the same voxels.

    Args:
        seed: Any integer from 0.
        config: Ranges to draw from.
    """
    rng = np.random.default_rng([seed, LUNG_GEOMETRY_STREAM])
    plan = plan_lung(rng, config)
    grid = lung_grid(*plan.thorax.lung_box_mm(), config)
    layers = max(int(np.ceil(grid.spacing_mm[2] / LAYER_MM)), 1)
    # An odd number puts one layer in the middle of each slice, where the labels are.
    layers += 1 - layers % 2
    canvas = ChestCanvas(_layer_grid(grid, layers))
    paint_chest(canvas, plan, rng)
    return LungPhantom(
        vessels=label_vessels(plan, grid),
        airways=label_airways(plan.airways, grid),
        lobes=label_lobes(plan.thorax, grid),
        arteries=plan.arteries,
        veins=plan.veins,
        airway_tree=plan.airways,
        canvas=canvas,
        layers_per_slice=layers,
        parameters={"seed": seed} | plan.parameters | _record(plan, grid),
    )


def _layer_grid(grid: Grid, layers: int) -> Grid:
    affine = grid.affine.copy()
    affine[2, 2] /= layers
    affine[2, 3] -= affine[2, 2] * (layers // 2)
    return Grid((grid.shape[0], grid.shape[1], grid.shape[2] * layers), affine)


def _record(plan: LungPlan, grid: Grid) -> dict[str, Any]:
    return {
        "spacing_mm": [round(s, 4) for s in grid.spacing_mm],
        "shape": list(grid.shape),
        "segments": list(SEGMENTS),
        "trees": {
            "arteries": plan.arteries.to_dict(),
            "veins": plan.veins.to_dict(),
            "airways": plan.airways.to_dict(),
        },
    }
