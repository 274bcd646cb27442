"""Which voxels are the tree of pulmonary arteries, and which that of veins, whatever a map tells apart.

    tree    structures
    artery  pulmonary artery and its parts: left, right, pulmonary trunk
    vein    pulmonary vein and its parts: left, right

The left atrium is a chamber and belongs to neither: it is no part of the pulmonary vein in the vocabulary.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool

from nomina.anatomy.schemes import present_values
from nomina.anatomy.structures import vocabulary
from nomina.imaging.volume import LabelMap

Tree = Literal["artery", "vein"]

WHOLE: dict[Tree, str] = {"artery": "pulmonary artery", "vein": "pulmonary vein"}
"""What the structures of a tree are, or are parts of."""


def tree_of(structure: str) -> Tree | None:
    """The tree that a structure belongs to; None for anything else, and for names nobody knows."""
    known = vocabulary().get(structure)
    return next(
        (tree for tree, whole in WHOLE.items() if known and whole in (structure, known.part_of)), None
    )


def tree_mask(label_map: LabelMap, tree: Tree) -> Bool[np.ndarray, "i j k"]:
    """Voxels of all structures of a tree; values without a name belong to none."""
    values = [value for value, name in label_map.names.items() if tree_of(name) == tree]
    return np.isin(label_map.array, values)


def tree_sides(label_map: LabelMap, tree: Tree) -> frozenset[str]:
    """Sides that a label map shows of a tree by its names; both where it has a structure for the whole."""
    present = set(present_values(label_map.array))
    names = {name for value, name in label_map.names.items() if value in present and tree_of(name) == tree}
    if WHOLE[tree] in names:
        return frozenset({"left", "right"})
    return frozenset(side for name in names if (side := vocabulary()[name].side))
