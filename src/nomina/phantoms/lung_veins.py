"""Pulmonary veins: they grow between the bundles, first along the borders of segments, then everywhere."""

import numpy as np
from scipy.spatial import cKDTree

from nomina.phantoms.lung_bundles import PLEURA_MM, Bundles
from nomina.phantoms.lung_growth import GrowthRule, Push, Skeleton, grow, smoothed
from nomina.phantoms.lung_hilum import Stems
from nomina.phantoms.lung_thorax import LOBES, Thorax, inwards, jittered_points
from nomina.phantoms.lung_tree import VesselTree, murray_radii

AVOID_MM = 8.0
"""Growing veins are pushed away from bundles that are nearer than this [choice]."""
AVOID_WEIGHT = 0.9
"""Strength of that push, against the unit direction of growth [choice]."""
BORDER_MM = 5.0
"""A point lies on a border of segments when its two nearest centres differ by less than this [choice]."""
NUM_TRIES = 6
"""Of so many random points in each cell of the lung, the one farthest from bundles is wanted [choice]."""


def grow_veins(
    thorax: Thorax,
    bundles: Bundles,
    stems: Stems,
    num_ends: int,
    rule: GrowthRule,
    rng: np.random.Generator,
) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """Skeleton of all veins with their stems, the side and the segment of each node."""
    tree = Skeleton(stems.skeleton.points_mm.copy(), stems.skeleton.parents.copy())
    sides = stems.sides
    near = cKDTree(bundles.skeleton.points_mm)
    away = _away_from(near, bundles.skeleton.points_mm)
    fields = thorax.lobe_fields()
    volume = sum(float((f < -PLEURA_MM).sum()) for f in fields) * thorax.lattice.step_mm**3
    spacing = (volume / num_ends) ** (1 / 3)
    for lobe, (name, field) in enumerate(zip(LOBES, fields, strict=True)):
        points = _points_between(thorax, field, spacing, near, rng)
        hub = stems.hubs[name]
        seed = Skeleton(tree.points_mm[hub][None].copy(), np.array([-1]))
        border = _on_border(points, bundles.centres_mm)
        push = _both(away, inwards(thorax, field))
        part = grow(grow(seed, points[border], rng, rule, push), points, rng, rule, push)
        new = np.arange(1, len(part.parents))
        parents = np.where(part.parents[new] == 0, hub, part.parents[new] - 1 + len(tree.parents))
        tree.extend(part.points_mm[new], parents)
        sides = np.concatenate([sides, np.full(len(new), 1 if lobe < 3 else -1)])
    is_fixed = np.arange(len(tree.parents)) < len(stems.sides)
    tree.points_mm = smoothed(tree.points_mm, tree.parents, is_fixed)
    centres = bundles.centres_mm
    segments = np.linalg.norm(tree.points_mm[:, None] - centres[None], axis=2).argmin(1)
    segments[: len(stems.sides)] = -1
    return tree, sides, segments


def vein_tree(
    grown: tuple[Skeleton, np.ndarray, np.ndarray], leaf_radius_mm: float, exponent: float
) -> VesselTree:
    """Veins with radii; the root is the middle of the left atrium."""
    skeleton, sides, segments = grown
    radii = murray_radii(skeleton.parents, leaf_radius_mm, exponent)
    return VesselTree(skeleton.points_mm, skeleton.parents, radii, sides, segments)


def _points_between(
    thorax: Thorax, field: np.ndarray, spacing_mm: float, near: cKDTree, rng: np.random.Generator
) -> np.ndarray:
    """One point per cell of the lung, as far from the bundles as `NUM_TRIES` random tries allow."""
    tries = np.concatenate(
        [jittered_points(thorax, field, spacing_mm, PLEURA_MM, rng) for _ in range(NUM_TRIES)]
    )
    distance, _ = near.query(tries)
    cell = np.floor((tries - thorax.lattice.origin_mm) / spacing_mm).astype(int)
    order = np.lexsort((-distance, cell[:, 2], cell[:, 1], cell[:, 0]))
    cell = cell[order]
    is_first = np.concatenate([[True], (cell[1:] != cell[:-1]).any(1)])
    return tries[order][is_first]


def _on_border(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    distance = np.sort(np.linalg.norm(points[:, None] - centres[None], axis=2), axis=1)
    return distance[:, 1] - distance[:, 0] < BORDER_MM


def _away_from(near: cKDTree, obstacles: np.ndarray) -> Push:
    def push(points: np.ndarray) -> np.ndarray:
        distance, index = near.query(points)
        away = (points - obstacles[index]) / np.maximum(distance, 1e-6)[:, None]
        return AVOID_WEIGHT * np.clip(1 - distance / AVOID_MM, 0, 1)[:, None] * away

    return push


def _both(first: Push, second: Push) -> Push:
    return lambda points: first(points) + second(points)
