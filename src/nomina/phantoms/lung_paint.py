"""A planned chest on a canvas, from the outside in: later parts cover earlier ones."""

import numpy as np

from nomina.phantoms.lung_bundles import airway_wall_mm
from nomina.phantoms.lung_canvas import ChestCanvas
from nomina.phantoms.lung_chest_wall import (
    paint_abdomen,
    paint_body,
    paint_column,
    paint_lungs,
    paint_ribs,
    paint_scapulae,
)
from nomina.phantoms.lung_hilum import Heart
from nomina.phantoms.lung_lattice import Lattice
from nomina.phantoms.lung_raster import tube_shares
from nomina.phantoms.lung_solids import Solid, Tube, union_distance
from nomina.phantoms.lung_tree import VesselTree
from nomina.phantoms.lung_trees import LungPlan

CHAMBER_TISSUE = {
    "right atrium": "right heart",
    "right ventricle": "right heart",
    "left ventricle": "left heart",
    "left atrium": "left heart",
    "aorta": "aorta",
    "superior vena cava": "superior vena cava",
    "inferior vena cava": "inferior vena cava",
}


def paint_chest(canvas: ChestCanvas, plan: LungPlan, rng: np.random.Generator) -> None:
    """Paint everything."""
    thorax, shape = plan.thorax, plan.shape
    paint_body(canvas, thorax, shape, rng)
    paint_abdomen(canvas, thorax, shape)
    paint_lungs(canvas, thorax)
    paint_heart(canvas, thorax.lattice, plan.heart)
    paint_column(canvas, shape)
    paint_ribs(canvas, shape)
    paint_scapulae(canvas, thorax, shape)
    paint_airways(canvas, plan.airways)
    paint_tree(canvas, plan.arteries, "artery")
    paint_tree(canvas, plan.veins, "vein")
    _paint(canvas, thorax.lattice, (plan.heart.left_atrium,), "left heart")


def paint_heart(canvas: ChestCanvas, lattice: Lattice, heart: Heart) -> None:
    """Muscle, blood of the chambers, great vessels, oesophagus."""
    _paint(canvas, lattice, heart.muscle, "heart muscle")
    for name, solids in heart.chambers.items():
        _paint(canvas, lattice, solids, CHAMBER_TISSUE[name])
    _paint(canvas, lattice, (heart.oesophagus,), "oesophagus")
    lumen = Tube(heart.oesophagus.points_mm, 1.8)
    canvas.paint_shares(
        tube_shares(lumen.points_mm[:2], lumen.points_mm[1:3], np.full(2, 1.8), canvas.grid), "air"
    )


def paint_airways(canvas: ChestCanvas, airways: VesselTree) -> None:
    """Walls, then lumen."""
    nodes = airways.edges
    starts, ends, radii = (
        airways.points_mm[airways.parents[nodes]],
        airways.points_mm[nodes],
        airways.radii_mm[nodes],
    )
    canvas.paint_shares(tube_shares(starts, ends, radii + airway_wall_mm(radii), canvas.grid), "airway wall")
    canvas.paint_shares(tube_shares(starts, ends, radii, canvas.grid), "airway lumen")


def paint_tree(canvas: ChestCanvas, tree: VesselTree, tissue: str) -> None:
    """Arteries or veins."""
    nodes = tree.edges
    shares = tube_shares(
        tree.points_mm[tree.parents[nodes]], tree.points_mm[nodes], tree.radii_mm[nodes], canvas.grid
    )
    canvas.paint_shares(shares, tissue)


def _paint(canvas: ChestCanvas, lattice: Lattice, solids: tuple[Solid, ...], tissue: str) -> None:
    canvas.paint_field(lattice, union_distance(lattice, solids, far_mm=12.0), tissue)
