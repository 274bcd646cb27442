"""Airways, arteries and veins pushed apart until none touches another; what cannot be parted is cut off."""

from dataclasses import dataclass, replace
from itertools import pairwise, permutations

import numpy as np
from scipy.spatial import cKDTree

from nomina.phantoms.lung_tree import VesselTree, murray_radii, num_leaves, without

GAP_MM = 0.5
"""Wanted distance between the surfaces of two tubes [choice: they stay apart on a 1 mm grid]."""
STOP_MM = 0.2
"""Trees are apart once no gap is smaller than this."""
SAFE_MM = 0.08
"""Distance below which a branch is cut off in the end [choice: error of sampling a tube every 0.75 mm]."""
ROUNDS = 10
NUM_LOOKS = 4
"""So many times all edges are compared; in between only those that were near another tree [choice: time]."""
HARDER = 0.2
"""Each round pushes harder than the one before by this share of the first [choice]."""
ACTIVE_MM = 0.7
"""What is farther from all other trees waits for the next look."""
SAMPLE_MM = 0.9
RADIUS_CLASSES_MM = (0.0, 1.0, 1.8, 3.0, 5.0, 8.0, 12.0, 100.0)
"""Radii: tubes are compared class by class, so that thick ones are seen from farther away."""

THICK_MM = 3.0
"""Radius from which a tube looks for others farther away."""


@dataclass(frozen=True, eq=False)
class _Samples:
    """Points along the edges of a tree."""

    points: np.ndarray
    nodes: np.ndarray
    """Node at the far end of each sample's edge."""
    shares: np.ndarray
    """Share of the way from the parent to the node."""
    radii: np.ndarray


def separate(
    trees: dict[str, VesselTree], paddings_mm: dict[str, np.ndarray], fixed: dict[str, np.ndarray]
) -> dict[str, VesselTree]:
    """Move nodes until tubes of different trees no longer touch.

    Args:
        trees: Trees by name.
        paddings_mm: Added to each node's radius (an airway's wall); negative infinity leaves an edge out.
        fixed: Nodes that must not move.
    """
    everything = {name: np.isfinite(padding) for name, padding in paddings_mm.items()}
    for _ in range(NUM_LOOKS):
        active = everything
        for number in range(ROUNDS):
            samples = {n: _sampled(trees[n], paddings_mm[n], active[n]) for n in trees}
            gaps = {n: np.full(len(samples[n].points), np.inf) for n in trees}
            moves = {n: np.zeros_like(trees[n].points_mm) for n in trees}
            for here, there in permutations(trees, 2):
                push, gap, _ = _push(samples[here], samples[there])
                # Tubes that are held fast by several others get loose when pushed harder and harder.
                _collect(moves[here], trees[here], samples[here], (1 + HARDER * number) * push)
                np.minimum(gaps[here], gap, out=gaps[here])
            if min(gap.min(initial=np.inf) for gap in gaps.values()) > STOP_MM:
                break
            trees = {n: _moved(trees[n], moves[n], fixed[n]) for n in trees}
            if number == 0:
                active = {n: _near(samples[n], gaps[n], everything[n]) for n in trees}
        if number == 0:
            break
    return trees


def _near(samples: "_Samples", gaps: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """Nodes whose edges are so near to another tree that they may have to move."""
    near = np.zeros(len(everything), dtype=bool)
    near[samples.nodes[gaps < ACTIVE_MM]] = True
    return near & everything


def _sampled(tree: VesselTree, padding: np.ndarray, active: np.ndarray) -> _Samples:
    edges = tree.edges[active[tree.edges]]
    counts = np.maximum(np.ceil(tree.lengths_mm[edges] / SAMPLE_MM).astype(int), 1)
    nodes = np.repeat(edges, counts)
    first = np.cumsum(counts) - counts
    shares = (np.arange(len(nodes)) - np.repeat(first, counts) + 1) / np.repeat(counts, counts)
    start = tree.points_mm[tree.parents[nodes]]
    points = start + shares[:, None] * (tree.points_mm[nodes] - start)
    return _Samples(points, nodes, shares, tree.radii_mm[nodes] + padding[nodes])


def _push(here: _Samples, there: _Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacement that each sample wants, its gap to the other set (infinite where far), whose it is."""
    push = np.zeros_like(here.points)
    gaps = np.full(len(here.points), np.inf)
    partners = np.full(len(here.points), -1)
    for low, high in pairwise(RADIUS_CLASSES_MM):
        mine = np.flatnonzero((there.radii >= low) & (there.radii < high))
        if not len(mine):
            continue
        tree = cKDTree(there.points[mine])
        for own in (np.flatnonzero(here.radii < THICK_MM), np.flatnonzero(here.radii >= THICK_MM)):
            reach = there.radii[mine].max() + here.radii[own].max(initial=0.0) + ACTIVE_MM
            distance, index = tree.query(here.points[own], distance_upper_bound=reach)
            near = np.isfinite(distance)
            own, distance, other = own[near], distance[near], mine[index[near]]
            gap = distance - here.radii[own] - there.radii[other]
            is_nearer = gap < gaps[own]
            gaps[own[is_nearer]], partners[own[is_nearer]] = gap[is_nearer], other[is_nearer]
            close = gap < GAP_MM
            own, other, gap = own[close], other[close], gap[close]
            away = here.points[own] - there.points[other]
            away /= np.maximum(distance[close], 1e-6)[:, None]
            # Of two tubes the thinner one gives way.
            share = there.radii[other] ** 2 / (there.radii[other] ** 2 + here.radii[own] ** 2)
            push[own] += (np.minimum(GAP_MM - gap, 2.5) * (0.15 + 0.85 * share))[:, None] * away
    return push, gaps, partners


def _collect(moves: np.ndarray, tree: VesselTree, samples: _Samples, push: np.ndarray) -> None:
    """Give each sample's displacement to the ends of its edge; the greatest one counts."""
    pushed = np.flatnonzero(np.abs(push).max(1) > 0)
    for nodes, weight in (
        (samples.nodes[pushed], samples.shares[pushed]),
        (tree.parents[samples.nodes[pushed]], 1 - samples.shares[pushed]),
    ):
        wanted = weight[:, None] * push[pushed]
        size = np.linalg.norm(wanted, axis=1)
        order = np.argsort(size, kind="stable")
        largest = np.zeros_like(moves)
        largest[nodes[order]] = wanted[order]
        moves += largest


def _moved(tree: VesselTree, moves: np.ndarray, is_fixed: np.ndarray) -> VesselTree:
    """Displaced nodes; neighbours follow part of the way, so that branches bend and do not break."""
    edges, parents = tree.edges, tree.parents
    spread = moves.copy()
    for _ in range(2):
        total = np.zeros_like(spread)
        count = np.zeros(len(spread))
        np.add.at(total, parents[edges], spread[edges])
        np.add.at(count, parents[edges], 1)
        total[edges] += spread[parents[edges]]
        count[edges] += 1
        mean = total / np.maximum(count, 1)[:, None]
        is_larger = np.linalg.norm(moves, axis=1) > np.linalg.norm(0.6 * mean, axis=1)
        spread = np.where(is_larger[:, None], moves, 0.6 * mean)
    spread[is_fixed] = 0
    return replace(tree, points_mm=tree.points_mm + spread)


def cut_conflicts(
    trees: dict[str, VesselTree],
    paddings_mm: dict[str, np.ndarray],
    leaf_radii_mm: dict[str, float],
    exponents: dict[str, float],
) -> dict[str, VesselTree]:
    """The trees without branches that still touch another tree, radii made anew.

    Of two branches that touch, the one that leads to fewer ends is cut off.

    Args:
        trees: Trees by name.
        paddings_mm: As in `separate`; only what is left in takes part.
        leaf_radii_mm: Radius of the ends of each tree.
        exponents: Exponent of Murray's law of each tree.
    """
    samples = {n: _sampled(trees[n], paddings_mm[n], np.isfinite(paddings_mm[n])) for n in trees}
    ends = {n: num_leaves(tree.parents) for n, tree in trees.items()}
    touches = {n: np.zeros(len(tree.parents), dtype=bool) for n, tree in trees.items()}
    for here, there in permutations(trees, 2):
        _, gaps, partners = _push(samples[here], samples[there])
        close = np.flatnonzero(gaps < SAFE_MM)
        own, other = samples[here].nodes[close], samples[there].nodes[partners[close]]
        loses = ends[here][own] <= ends[there][other]
        touches[here][own[loses]] = True
        touches[there][other[~loses]] = True
    result = {}
    for name, tree in trees.items():
        left = without(tree, touches[name])
        radii = murray_radii(left.parents, leaf_radii_mm[name], exponents[name])
        result[name] = replace(left, radii_mm=radii)
    return result
