"""Arteries taken for veins: the swap rate along centrelines, and a vote of whole branches."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.spatial import cKDTree

from nomina.assessment.metrics.overlap import check_shapes
from nomina.assessment.vessel_tree import VesselGraph, vessel_graph

FORK_MM = 4.0
"""A change of class at a fork costs as much as this length in the wrong class [choice, on the
phantom that validates `lung-vessels-ct`: 0 leaves 7.1 % of its veins swapped, 4 and 8 mm 5.3 and 5.2 %]."""


@dataclass(frozen=True)
class CentrelineClasses:
    """Length of a reference centreline by what the prediction says there; the three add up."""

    right_mm: float
    """Predicted as the reference's own class."""
    swapped_mm: float
    """Predicted as the other class."""
    missed_mm: float
    """Predicted as neither."""

    @property
    def length_mm(self) -> float:
        """Length of the reference centreline."""
        return self.right_mm + self.swapped_mm + self.missed_mm

    @property
    def swap_rate(self) -> float:
        """Share of the length predicted as the other class; `nan` when there is none."""
        return self.swapped_mm / self.length_mm if self.length_mm else float("nan")


@dataclass(frozen=True, eq=False)
class BranchVote:
    """Arteries and veins after every branch got one class, and what that changed."""

    artery: Bool[np.ndarray, "i j k"]
    """Arteries after the vote."""
    vein: Bool[np.ndarray, "i j k"]
    """Veins after the vote; together with the arteries the voxels of before."""
    num_changed_branches: int
    """Branches of which at least one voxel changed its class."""
    changed_length_mm: float
    """Length of centreline that changed its class."""
    num_changed_voxels: int
    """Voxels that changed their class."""


def centreline_classes(
    own: Bool[np.ndarray, "i j k"],
    other: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"] | VesselGraph,
    *,
    spacing_mm: tuple[float, float, float],
) -> CentrelineClasses:
    """What a prediction says along the centreline of one reference class.

    A missed twig and a wrong class have different consequences, so their lengths are kept apart. Where the
    prediction says both, it is right.

    Args:
        own: Prediction of the reference's class.
        other: Prediction of the other class.
        reference: Reference mask of one class on the same grid, or its graph where it is at hand.
        spacing_mm: Voxel size along i, j, k.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    check_shapes(own, other)
    if not isinstance(reference, VesselGraph):
        check_shapes(own, reference)
        reference = vessel_graph(reference, spacing_mm=spacing_mm)
    at = tuple(reference.voxels.T)
    is_own, is_other = own[at], other[at] & ~own[at]
    lengths_mm = reference.point_lengths_mm
    return CentrelineClasses(
        right_mm=float(lengths_mm[is_own].sum()),
        swapped_mm=float(lengths_mm[is_other].sum()),
        missed_mm=float(lengths_mm[~is_own & ~is_other].sum()),
    )


def vote_by_branch(
    artery: Bool[np.ndarray, "i j k"],
    vein: Bool[np.ndarray, "i j k"],
    *,
    spacing_mm: tuple[float, float, float],
    fork_mm: float = FORK_MM,
) -> BranchVote:
    """Give every branch of the vessels, arteries and veins together, one class.

    A piece of a branch in the wrong class is the fault that is seen first, a twig in another class than the
    branch that it leaves the second. So the classes are taken that cost least in all: a branch costs its
    length times the share of its voxels that was predicted as the other class, and a change of class from a
    branch to its parent costs `fork_mm`, since arteries and veins meet only where they touch. The vote cannot
    tell a piece in the wrong class from two vessels that touch end to end and so share a branch: it is an
    option, and it says what it changed. A draw, and a voxel predicted as both, count for the artery.

    Args:
        artery: Predicted arteries.
        vein: Predicted veins on the same grid.
        spacing_mm: Voxel size along i, j, k.
        fork_mm: Price of a change of class at a fork; 0 lets every branch vote alone.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    check_shapes(artery, vein)
    vein = vein & ~artery
    graph = vessel_graph(artery | vein, spacing_mm=spacing_mm)
    voxels = np.argwhere(artery | vein)
    if not len(voxels):
        return BranchVote(artery.copy(), vein, 0, 0.0, 0)
    branches = graph.branch_indices[nearest_points(graph, voxels)]
    was_artery = artery[tuple(voxels.T)]
    num_voxels = np.bincount(branches, minlength=len(graph.branches))
    num_artery = np.bincount(branches, weights=was_artery, minlength=len(graph.branches))
    # A branch to which no voxel is nearest has no vote.
    share = np.full(len(num_voxels), 0.5)
    np.divide(num_artery, num_voxels, out=share, where=num_voxels > 0)
    is_artery = _least_cost(graph, share, fork_mm)[branches]
    changed = is_artery != was_artery
    new_artery = np.zeros(artery.shape, dtype=bool)
    new_artery[tuple(voxels[is_artery].T)] = True
    new_vein = (artery | vein) & ~new_artery
    on_line = new_artery[tuple(graph.voxels.T)] != artery[tuple(graph.voxels.T)]
    return BranchVote(
        artery=new_artery,
        vein=new_vein,
        num_changed_branches=len(np.unique(branches[changed])),
        changed_length_mm=float(graph.point_lengths_mm[on_line].sum()),
        num_changed_voxels=int(changed.sum()),
    )


def _least_cost(
    graph: VesselGraph, share_artery: Float[np.ndarray, " n"], fork_mm: float
) -> Bool[np.ndarray, " n"]:
    """Whether each branch is an artery, for the least cost in all: from the twigs to the roots, and back.

    Args:
        graph: Its parents come before their children.
        share_artery: Of each branch's voxels.
        fork_mm: See `vote_by_branch`.
    """
    # A lone voxel has no length, and still a class.
    lengths_mm = np.array([max(branch.length_mm, min(graph.spacing_mm)) for branch in graph.branches])
    parents = [branch.parent for branch in graph.branches]
    # Cost of each branch with all that hangs on it, as an artery and as a vein.
    costs = lengths_mm[:, None] * np.column_stack([1 - share_artery, share_artery])
    best = np.zeros((len(parents), 2), dtype=np.int64)
    for index in range(len(parents) - 1, -1, -1):
        if parents[index] >= 0:
            # Rows: class of the parent. Columns: its own.
            choices = costs[index] + fork_mm * (1 - np.eye(2))
            best[index] = choices.argmin(axis=1)
            costs[parents[index]] += choices.min(axis=1)
    classes = np.zeros(len(parents), dtype=np.int64)
    for index, parent in enumerate(parents):
        classes[index] = costs[index].argmin() if parent < 0 else best[index, classes[parent]]
    return classes == 0


def nearest_points(graph: VesselGraph, voxels: Integer[np.ndarray, "n 3"]) -> Integer[np.ndarray, " n"]:
    """For each voxel of the mask the point of the graph's centreline that it belongs to.

    That is the point whose ball (its radius around it) the voxel lies deepest in, by the power distance: the
    squared distance minus the squared radius. By plain distance the wall of a wide vessel would belong to a
    thin one beside it.
    """
    spacing_mm = np.asarray(graph.spacing_mm)
    radii_mm = graph.radii_mm
    # The power distance is a plain one in four dimensions.
    height_mm = np.sqrt(radii_mm.max() ** 2 - radii_mm**2)
    tree = cKDTree(np.column_stack([graph.voxels * spacing_mm, height_mm]))
    points: Integer[np.ndarray, " n"] = tree.query(np.pad(voxels * spacing_mm, ((0, 0), (0, 1))))[1]
    return points
