"""`VesselTree`: a tree of tubes as an exact graph, with Murray's law, generations and Strahler orders."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class VesselTree:
    """Nodes joined to their parents by tubes with round ends.

    Node n and its parent are the ends of edge n; a root has none. Parents come before their children.
    """

    points_mm: Float[np.ndarray, "n 3"]
    """Position of each node in RAS+ mm."""
    parents: Int[np.ndarray, " n"]
    """Index of the node nearer to the heart (to the larynx in an airway); -1 for the root."""
    radii_mm: Float[np.ndarray, " n"]
    """Radius of the tube from the parent to the node; a root's own radius is that of its widest child."""
    sides: Int[np.ndarray, " n"]
    """-1 for what serves the left lung, 1 for the right, 0 for what serves both."""
    segments: Int[np.ndarray, " n"]
    """Index into `SEGMENTS`; -1 for what serves several."""

    @property
    def edges(self) -> Int[np.ndarray, " m"]:
        """Nodes that have a parent."""
        return np.flatnonzero(self.parents >= 0)

    @property
    def lengths_mm(self) -> Float[np.ndarray, " n"]:
        """Length of each edge; 0 for a root."""
        length = np.linalg.norm(self.points_mm - self.points_mm[np.maximum(self.parents, 0)], axis=1)
        return np.where(self.parents >= 0, length, 0.0)

    @property
    def num_children(self) -> Int[np.ndarray, " n"]:
        """Number of children of each node."""
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self.parents))

    @property
    def branches(self) -> Int[np.ndarray, " n"]:
        """Branch of each edge: a run of edges without a fork, numbered from the root; -1 for a root."""
        forks = self.num_children != 1
        branch = np.full(len(self.parents), -1)
        count = 0
        for node in self.edges:
            parent = self.parents[node]
            if forks[parent] or branch[parent] < 0:
                branch[node], count = count, count + 1
            else:
                branch[node] = branch[parent]
        return branch

    @property
    def generations(self) -> Int[np.ndarray, " n"]:
        """Number of forks between the root and each edge."""
        forks = self.num_children > 1
        generation = np.zeros(len(self.parents), dtype=int)
        for node in self.edges:
            parent = self.parents[node]
            generation[node] = generation[parent] + int(forks[parent])
        return generation

    @property
    def strahler_orders(self) -> Int[np.ndarray, " n"]:
        """Strahler order of each edge: 1 at the ends; two children of one order make the next."""
        order = np.zeros(len(self.parents), dtype=int)
        highest = np.zeros_like(order)
        is_shared = np.zeros(len(order), dtype=bool)
        for node in range(len(order) - 1, -1, -1):
            order[node] = max(highest[node] + int(is_shared[node]), 1)
            parent = self.parents[node]
            if parent >= 0:
                is_shared[parent] = order[node] == highest[parent] or (
                    is_shared[parent] and order[node] < highest[parent]
                )
                highest[parent] = max(highest[parent], order[node])
        return order

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain lists, for JSON."""
        return {
            "points_mm": self.points_mm.round(3).tolist(),
            "parents": self.parents.tolist(),
            "radii_mm": self.radii_mm.round(4).tolist(),
            "sides": self.sides.tolist(),
            "segments": self.segments.tolist(),
            "generations": self.generations.tolist(),
            "strahler_orders": self.strahler_orders.tolist(),
        }


def num_leaves(parents: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Number of ends that each node leads to; an end leads to itself."""
    leaves = np.zeros(len(parents), dtype=int)
    for node in range(len(parents) - 1, -1, -1):
        leaves[node] = max(leaves[node], 1)
        if parents[node] >= 0:
            leaves[parents[node]] += leaves[node]
    return leaves


def murray_radii(
    parents: Int[np.ndarray, " n"], leaf_radius_mm: float, exponent: float
) -> Float[np.ndarray, " n"]:
    r"""Radii that obey Murray's law with ends of one calibre.

    $$r_{parent}^x = \sum r_{child}^x, \quad\text{so}\quad r = r_{leaf} \cdot leaves^{1/x}$$

    Args:
        parents: The tree's parents; parents before children.
        leaf_radius_mm: Radius of the ends.
        exponent: x; 3 for least work in laminar flow (Murray 1926).
    """
    return leaf_radius_mm * num_leaves(parents) ** (1 / exponent)


def without(tree: VesselTree, is_removed: Bool[np.ndarray, " n"]) -> VesselTree:
    """The tree without some nodes and all that hangs on them; a branch that lost its end ends at its fork."""
    gone = is_removed.copy()
    for node in tree.edges:
        gone[node] |= gone[tree.parents[node]]
    was_end = tree.num_children == 0
    keeps = np.zeros(len(gone), dtype=bool)
    for node in range(len(gone) - 1, -1, -1):
        keeps[node] |= was_end[node] and not gone[node]
        if keeps[node] and tree.parents[node] >= 0:
            keeps[tree.parents[node]] = True
    return subtree(tree, keeps)


def subtree(tree: VesselTree, keeps: Bool[np.ndarray, " n"]) -> VesselTree:
    """The nodes of a mask that holds the parent of each of its nodes."""
    number = np.cumsum(keeps) - 1
    parents = tree.parents[keeps]
    return replace(
        tree,
        points_mm=tree.points_mm[keeps],
        parents=np.where(parents >= 0, number[np.maximum(parents, 0)], -1),
        radii_mm=tree.radii_mm[keeps],
        sides=tree.sides[keeps],
        segments=tree.segments[keeps],
    )
