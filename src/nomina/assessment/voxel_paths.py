"""A centreline as paths: its spanning tree, without spurs, cut at forks and ends."""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from jaxtyping import Float, Integer
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from nomina.assessment.centreline import point_lengths_mm, smoothed_line

SPUR_RADII = 1.5
"""Length up to which a path may be a corner of the wall, in radii of its vessel [choice: a corner of a square
vessel is 1.4 radii from the axis; a real twig must leave the vessel by half its radius]."""

_HALF_NEIGHBOURS = np.array(
    [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)]
)
"""One of each pair of opposite neighbours: 13 of 26."""

_CELLS = 1 + np.array(list(product((-1, 0, 1), repeat=3)))
"""The cube of a voxel and its faces, edges and corners on a grid of half voxels; odd along their own axes."""

Tree = dict[int, set[int]]
"""For each voxel (by its number) the voxels that it is joined to; without loops."""

Path = list[int]
"""Numbers of voxels in order; each is joined to the next."""


@dataclass(frozen=True, eq=False)
class Centreline:
    """The voxels that paths are made of."""

    voxels: Integer[np.ndarray, "n 3"]
    """Indices, in the order of the array."""
    radii_mm: Float[np.ndarray, " n"]
    """Radius of the vessel at each."""
    spacing_mm: tuple[float, float, float]
    """Voxel size along i, j, k."""

    def line_mm(self, path: Path) -> Float[np.ndarray, "m 3"]:
        """A path as a smooth line in mm."""
        return smoothed_line(self.voxels[path] * np.asarray(self.spacing_mm))

    def length_mm(self, path: Path) -> float:
        """Length of the smooth line."""
        return float(point_lengths_mm(self.line_mm(path)).sum())


def spanning_tree(centreline: Centreline) -> tuple[Tree, int]:
    """Which neighbours the shortest spanning tree joins, and the number of loops that it opened."""
    graph = _neighbour_graph(centreline)
    joined = minimum_spanning_tree(graph).tocoo()
    tree: Tree = {node: set() for node in range(len(centreline.voxels))}
    for a, b in zip(joined.row.tolist(), joined.col.tolist(), strict=True):
        tree[a].add(b)
        tree[b].add(a)
    num_pieces = int(connected_components(graph, directed=False)[0])
    return tree, num_pieces - _euler_number(centreline.voxels)


def _neighbour_graph(centreline: Centreline) -> csr_matrix:
    """Distances in mm between voxels that touch."""
    voxels = centreline.voxels
    size = tuple(voxels.max(axis=0) + 3)
    ids = np.ravel_multi_index(tuple((voxels + 1).T), size)
    rows, columns, lengths = [], [], []
    for step in _HALF_NEIGHBOURS:
        wanted = np.ravel_multi_index(tuple((voxels + 1 + step).T), size)
        other = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        found = np.flatnonzero(ids[other] == wanted)
        rows.append(found)
        columns.append(other[found])
        lengths.append(np.full(len(found), np.linalg.norm(step * np.asarray(centreline.spacing_mm))))
    entries = (np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(entries, shape=(len(voxels), len(voxels))).tocsr()


def _euler_number(voxels: Integer[np.ndarray, "n 3"]) -> int:
    """Pieces minus loops of a centreline: its cubes' corners − edges + faces − cubes, each counted once."""
    cells = np.unique((2 * voxels[:, None] + _CELLS).reshape(-1, 3), axis=0)
    num_odd = ((cells % 2) == 1).sum(axis=1)
    return int((1 - 2 * (num_odd % 2)).sum())


def paths_of(tree: Tree) -> list[Path]:
    """Paths between forks and ends; a lone voxel is a path of one."""
    paths = []
    for node, joined in tree.items():
        if len(joined) == 2:
            continue
        if not joined:
            paths.append([node])
        for neighbour in sorted(joined):
            path = [node, neighbour]
            while len(tree[path[-1]]) == 2:
                path.append(next(n for n in tree[path[-1]] if n != path[-2]))
            if node < path[-1]:
                paths.append(path)
    return paths


def without_spurs(tree: Tree, centreline: Centreline) -> Tree:
    """The tree without end paths that hardly leave the vessel they start from.

    A path is a spur when it is no longer than `SPUR_RADII` radii of the vessel at its fork plus one voxel.
    At each fork the shortest goes first and the rest is judged anew, so a fork never loses all its paths.
    """
    tree = {node: set(joined) for node, joined in tree.items()}
    while True:
        shortest: dict[int, tuple[float, Path]] = {}
        for path in paths_of(tree):
            inwards = path[::-1] if len(tree[path[0]]) == 1 else path
            fork = inwards[0]
            if len(tree[inwards[-1]]) != 1 or len(tree[fork]) < 3:
                continue
            length = centreline.length_mm(inwards)
            is_spur = length <= SPUR_RADII * centreline.radii_mm[fork] + max(centreline.spacing_mm)
            if is_spur and (fork not in shortest or length < shortest[fork][0]):
                shortest[fork] = (length, inwards)
        if not shortest:
            return tree
        for _, path in shortest.values():
            for a, b in pairwise(path):
                tree[a].discard(b)
                tree[b].discard(a)
            for node in path[1:]:
                del tree[node]
