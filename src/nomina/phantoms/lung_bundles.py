"""Bronchovascular bundles: skeletons of the segments, beside which airway and artery run."""

from dataclasses import dataclass

import numpy as np

from nomina.phantoms.lung_growth import GrowthRule, Push, Skeleton, grow, smoothed
from nomina.phantoms.lung_hilum import Stems
from nomina.phantoms.lung_thorax import LOBES, Thorax, inwards, jittered_points
from nomina.phantoms.lung_tree import VesselTree, murray_radii

PLEURA_MM = 4.0
"""Vessels end this far from the surface of a lobe [choice]."""

SEGMENTS_OF_LOBE: dict[str, tuple[tuple[str, tuple[float, float, float]], ...]] = {
    "right upper lobe": (("S1", (0, 0, 1)), ("S2", (0.3, -1, 0)), ("S3", (0.3, 1, -0.4))),
    "right middle lobe": (("S4", (1, -0.4, 0)), ("S5", (-0.6, 0.8, -0.3))),
    "right lower lobe": (
        *(("S6", (0, -0.6, 1)), ("S7", (-0.8, 0.3, -0.5)), ("S8", (0.3, 0.9, -0.6))),
        *(("S9", (0.9, -0.1, -0.6)), ("S10", (-0.1, -0.9, -0.7))),
    ),
    "left upper lobe": (
        *(("S1+2", (0, -0.5, 1)), ("S3", (0, 0.6, 0.5))),
        *(("S4", (-0.5, 0.1, -0.5)), ("S5", (0.3, 0.6, -0.9))),
    ),
    "left lower lobe": (
        *(("S6", (0, -0.6, 1)), ("S7+8", (0.1, 0.9, -0.6))),
        *(("S9", (-0.9, -0.1, -0.6)), ("S10", (0.1, -0.9, -0.7))),
    ),
}
"""Segments of each lobe (Jackson & Huber 1943) and the direction of each from the lobe's centre."""

SEGMENTS = tuple(f"{lobe} {name}" for lobe in LOBES for name, _ in SEGMENTS_OF_LOBE[lobe])
"""Names of the segments; the position is the value in `VesselTree.segments`."""

SEGMENT_SHARE = 0.42
"""Segmental bronchi branch off up to this share of the way to the segment's centre [choice]."""


def airway_wall_mm(lumen_radius_mm: np.ndarray) -> np.ndarray:
    """Thickness of an airway's wall: 1.4 mm in the trachea, 0.7 mm in the last airways [choice]."""
    return 0.25 + 0.38 * np.sqrt(lumen_radius_mm)


@dataclass(frozen=True, eq=False)
class Bundles:
    """The skeleton of all lobes, and what belongs to each node."""

    skeleton: Skeleton
    segments: np.ndarray
    lobes: np.ndarray
    """Index into `LOBES`."""
    hub_nodes: dict[str, int]
    """Root of each lobe's skeleton."""
    centres_mm: np.ndarray
    """Centre of each segment, in the order of `SEGMENTS`."""


def grow_bundles(
    thorax: Thorax, airways: Stems, num_ends: int, rule: GrowthRule, rng: np.random.Generator
) -> Bundles:
    """Grow the skeletons of all segments.

    Args:
        thorax: Lobes to fill.
        airways: Central bronchi; each lobe's skeleton starts at the end of its bronchus.
        num_ends: Wanted number of ends in both lungs together.
        rule: How branches grow.
        rng: Source of randomness.
    """
    fields = thorax.lobe_fields()
    volume = sum(float((f < -PLEURA_MM).sum()) for f in fields) * thorax.lattice.step_mm**3
    spacing = (volume / num_ends) ** (1 / 3)
    parts: list[tuple[Skeleton, np.ndarray, int]] = []
    centres: list[np.ndarray] = []
    for lobe, (name, field) in enumerate(zip(LOBES, fields, strict=True)):
        points = jittered_points(thorax, field, spacing, PLEURA_MM, rng)
        lobe_centres = _segment_centres(points, np.array([d for _, d in SEGMENTS_OF_LOBE[name]], dtype=float))
        hub = airways.skeleton.points_mm[airways.hubs[name]]
        skeleton, segments = _grow_lobe(hub, points, lobe_centres, rule, rng, inwards(thorax, field))
        parts.append((skeleton, np.where(segments >= 0, segments + len(centres), -1), lobe))
        centres += list(lobe_centres)
    return _joined(parts, np.array(centres))


def _segment_centres(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Centres that split the points of a lobe into similar parts, each in its direction."""
    centres = points.mean(0) + 0.9 * directions * points.std(0)
    for _ in range(4):
        owner = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)
        for index in range(len(centres)):
            if (owner == index).any():
                centres[index] = points[owner == index].mean(0)
    return centres


def _grow_lobe(
    hub: np.ndarray,
    points: np.ndarray,
    centres: np.ndarray,
    rule: GrowthRule,
    rng: np.random.Generator,
    push: Push,
) -> tuple[Skeleton, np.ndarray]:
    """Skeleton of one lobe, and the segment of each node (-1 where it serves several)."""
    targets = hub + SEGMENT_SHARE * (centres - hub)
    tree = grow(Skeleton(hub[None].copy(), np.array([-1])), targets, rng, rule, push)
    segments = np.full(len(tree.parents), -1)
    owner = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)
    for index, target in enumerate(targets):
        start = int(np.linalg.norm(tree.points_mm - target, axis=1).argmin())
        seed = Skeleton(tree.points_mm[start][None].copy(), np.array([-1]))
        part = grow(seed, points[owner == index], rng, rule, push)
        new = np.arange(1, len(part.parents))
        parents = np.where(part.parents[new] == 0, start, part.parents[new] - 1 + len(tree.parents))
        tree.extend(part.points_mm[new], parents)
        segments = np.concatenate([segments, np.full(len(new), index)])
    is_fixed = np.zeros(len(tree.parents), dtype=bool)
    tree.points_mm = smoothed(tree.points_mm, tree.parents, is_fixed)
    return tree, segments


def _joined(parts: list[tuple[Skeleton, np.ndarray, int]], centres: np.ndarray) -> Bundles:
    offset, hubs = 0, {}
    parents = []
    for skeleton, _, lobe in parts:
        hubs[LOBES[lobe]] = offset
        parents.append(np.where(skeleton.parents >= 0, skeleton.parents + offset, -1))
        offset += len(skeleton.parents)
    return Bundles(
        skeleton=Skeleton(np.concatenate([s.points_mm for s, _, _ in parts]), np.concatenate(parents)),
        segments=np.concatenate([segments for _, segments, _ in parts]),
        lobes=np.concatenate([np.full(len(s.parents), lobe) for s, _, lobe in parts]),
        hub_nodes=hubs,
        centres_mm=centres,
    )


def place_trees(
    bundles: Bundles,
    airway_stems: Stems,
    artery_stems: Stems,
    leaf_radii_mm: tuple[float, float],
    exponents: tuple[float, float],
) -> tuple[VesselTree, VesselTree]:
    """Airways and arteries side by side along the bundles, joined to their central stems.

    Args:
        bundles: Shared skeleton.
        airway_stems: Trachea to lobar bronchi.
        artery_stems: Pulmonary trunk to lobar arteries.
        leaf_radii_mm: Radius of the ends: airway, artery.
        exponents: Exponent of Murray's law: airway, artery.

    Returns:
        Airways and arteries.
    """
    joins = [_join(bundles, stems) for stems in (airway_stems, artery_stems)]
    radii = [murray_radii(p, r, x) for (p, _), r, x in zip(joins, leaf_radii_mm, exponents, strict=True)]
    air, art = (r[nodes] for r, (_, nodes) in zip(radii, joins, strict=True))
    gap = art + air + airway_wall_mm(air) + 0.8
    side = _side_vectors(bundles, airway_stems, artery_stems)
    trees: list[VesselTree] = []
    for sign, stems, (parents, nodes), radius in zip(
        (-0.5, 0.5), (airway_stems, artery_stems), joins, radii, strict=True
    ):
        points = bundles.skeleton.points_mm + sign * gap[:, None] * side
        points = _pull_to_hubs(points, bundles, stems)
        trees.append(_tree(points, bundles, stems, parents, nodes, radius))
    return trees[0], trees[1]


def _join(bundles: Bundles, stems: Stems) -> tuple[np.ndarray, np.ndarray]:
    """Parents of stems and bundles together, and the node of each bundle node."""
    count = len(stems.skeleton.parents)
    is_hub = bundles.skeleton.parents < 0
    nodes = np.cumsum(~is_hub) - 1 + count
    for name, hub in bundles.hub_nodes.items():
        nodes[hub] = stems.hubs[name]
    own = nodes[bundles.skeleton.parents[~is_hub]]
    return np.concatenate([stems.skeleton.parents, own]), nodes


def _side_vectors(bundles: Bundles, airways: Stems, arteries: Stems) -> np.ndarray:
    """Unit vectors from airway to artery, across the branch and across the plane of each fork."""
    points, parents = bundles.skeleton.points_mm, bundles.skeleton.parents
    tangent = bundles.skeleton.directions()
    side = np.zeros_like(points)
    for name, hub in bundles.hub_nodes.items():
        across = (
            arteries.skeleton.points_mm[arteries.hubs[name]] - airways.skeleton.points_mm[airways.hubs[name]]
        )
        side[hub] = across / np.linalg.norm(across)
    first = np.full(len(parents), -1)
    second = np.full(len(parents), -1)
    for node in np.flatnonzero(parents >= 0):
        parent = parents[node]
        second[parent] = node if first[parent] >= 0 else second[parent]
        first[parent] = first[parent] if first[parent] >= 0 else node
    is_fork = second >= 0
    normal = np.cross(tangent[first], tangent[second])
    length = np.linalg.norm(normal, axis=1)
    is_fork &= length > 0.2
    normal /= np.maximum(length, 1e-9)[:, None]
    for node in np.flatnonzero(parents >= 0):
        vector = side[parents[node]]
        if is_fork[node]:
            vector = vector + 1.5 * normal[node] * np.sign(normal[node] @ vector + 1e-9)
        vector = vector - (vector @ tangent[node]) * tangent[node]
        size = np.linalg.norm(vector)
        side[node] = vector / size if size > 1e-3 else side[parents[node]]
    return side


def _pull_to_hubs(points: np.ndarray, bundles: Bundles, stems: Stems) -> np.ndarray:
    """Move the first 30 mm or so of each lobe to where its stem ends."""
    fade = np.exp(-((bundles.skeleton.ways_mm / 18.0) ** 2))
    result = points.copy()
    for name, hub in bundles.hub_nodes.items():
        shift = stems.skeleton.points_mm[stems.hubs[name]] - points[hub]
        inside = bundles.lobes == bundles.lobes[hub]
        result[inside] += fade[inside, None] * shift
    return result


def _tree(
    points: np.ndarray,
    bundles: Bundles,
    stems: Stems,
    parents: np.ndarray,
    nodes: np.ndarray,
    radii: np.ndarray,
) -> VesselTree:
    count = len(stems.skeleton.parents)
    is_own = nodes >= count
    placed = np.concatenate([stems.skeleton.points_mm, points[is_own]])
    is_fixed = np.arange(len(parents)) < count - 3
    sides = np.concatenate([stems.sides, np.where(bundles.lobes < 3, 1, -1)[is_own]])
    segments = np.concatenate([np.full(count, -1), bundles.segments[is_own]])
    placed = smoothed(placed, parents, is_fixed, rounds=3)
    return VesselTree(placed, parents, radii, sides, segments)
