"""Label maps of a planned chest in the `nomina` scheme: vessels, airways, lobes."""

import numpy as np

from nomina.anatomy.schemes import load_scheme
from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.phantoms.lung_raster import tree_mask
from nomina.phantoms.lung_thorax import LOBES, Thorax
from nomina.phantoms.lung_tree import VesselTree
from nomina.phantoms.lung_trees import LungPlan

ARTERY_NAMES = {-1: "left pulmonary artery", 0: "pulmonary trunk", 1: "right pulmonary artery"}
"""Structure of each side of the arterial tree."""
VEIN_NAMES = {-1: "left pulmonary vein", 1: "right pulmonary vein"}
"""Structure of each side of the venous tree."""
ATRIUM = "left atrium"
THIN = 100
"""Added to the label of branches that are too thin for the grid."""


def resolved_radius_mm(grid: Grid) -> float:
    """Least radius at which a tube's voxels surely hang together (26 neighbours).

    Half of a voxel's diagonal: then the voxel nearest to each point of the axis has its centre in the tube,
    and the nearest voxels of neighbouring points are the same or touch.
    """
    return 0.5 * float(np.linalg.norm(grid.spacing_mm))


def label_vessels(plan: LungPlan, grid: Grid) -> LabelMap:
    """Arteries, veins and left atrium: exactly the voxels whose centre lies inside."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    enough = resolved_radius_mm(grid)
    for tree, names in ((plan.veins, VEIN_NAMES), (plan.arteries, ARTERY_NAMES)):
        for is_thin in (True, False):
            for side, name in names.items():
                chosen = (tree.sides == side) & ((tree.radii_mm < enough) == is_thin)
                nodes = tree.edges[chosen[tree.edges]]
                value = structure(name).label + (THIN if is_thin else 0)
                array[tree_mask(tree, nodes, grid)] = value
    _put_atrium(array, plan, grid)
    return _named(array, grid)


def _put_atrium(array: np.ndarray, plan: LungPlan, grid: Grid) -> None:
    """Paint the left atrium, in which the veins end; it gives way to arteries, which it may touch."""
    corners = grid.to_voxels(np.array(plan.heart.left_atrium.box_mm()))
    start = np.clip(np.floor(corners[0]).astype(int), 0, grid.shape)
    stop = np.clip(np.ceil(corners[1]).astype(int) + 1, 0, grid.shape)
    index = np.stack(np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1)
    points = index * np.array(grid.spacing_mm) + grid.affine[:3, 3]
    part = array[tuple(map(slice, start, stop))]
    arteries = [structure(name).label + thin for name in ARTERY_NAMES.values() for thin in (0, THIN)]
    part[(plan.heart.left_atrium.distance(points) < 0) & ~np.isin(part, arteries)] = structure(ATRIUM).label


def label_airways(airways: VesselTree, grid: Grid) -> LabelMap:
    """Lumen of trachea and bronchi; those too thin for the grid are ignored."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    label = structure("airway").label
    enough = resolved_radius_mm(grid)
    for is_thin in (True, False):
        nodes = airways.edges[(airways.radii_mm[airways.edges] < enough) == is_thin]
        array[tree_mask(airways, nodes, grid)] = label + (THIN if is_thin else 0)
    return _named(array, grid)


def label_lobes(thorax: Thorax, grid: Grid) -> LabelMap:
    """The five lobes: everything inside the pleura, vessels and bronchi included."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    label = {name: structure(name).label for name in LOBES}
    onto = thorax.lattice.onto
    right, left = onto(thorax.right_lung, grid) < 0, onto(thorax.left_lung, grid) < 0
    lower = onto(thorax.oblique[0], grid) < 0
    array[right] = label["right upper lobe"]
    array[right & (onto(thorax.horizontal, grid) < 0)] = label["right middle lobe"]
    array[right & lower] = label["right lower lobe"]
    lower = onto(thorax.oblique[1], grid) < 0
    array[left] = label["left upper lobe"]
    array[left & lower] = label["left lower lobe"]
    return _named(array, grid)


def _named(array: np.ndarray, grid: Grid) -> LabelMap:
    """A label map with the names of what is present; thin branches are ignored."""
    scheme = load_scheme("nomina")
    present = {int(value) for value in np.unique(array)} - {0}
    return LabelMap(
        array,
        grid,
        names={value: scheme.labels[value] for value in sorted(present - scheme.ignored)},
        scheme="nomina",
        ignored=frozenset(present & scheme.ignored),
    )
