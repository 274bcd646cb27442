"""`plan_lung`: thorax, heart and the three trees of one chest, in millimetres and before any voxel."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nomina.phantoms.lung_bundles import airway_wall_mm, grow_bundles, place_trees
from nomina.phantoms.lung_growth import GrowthRule
from nomina.phantoms.lung_hilum import (
    AIRWAY_STEMS,
    ARTERY_STEMS,
    VEIN_STEMS,
    Heart,
    Stems,
    build_heart,
    place_stems,
)
from nomina.phantoms.lung_plan import LungConfig, ThoraxShape, draw_shape
from nomina.phantoms.lung_separation import cut_conflicts, separate
from nomina.phantoms.lung_solids import Solid, Tube
from nomina.phantoms.lung_thorax import Thorax, build_thorax, lung_volume_ml
from nomina.phantoms.lung_tree import VesselTree, num_leaves, subtree
from nomina.phantoms.lung_veins import grow_veins, vein_tree

ENDS_PER_POINT = 0.72
"""Share of attractors that become an end; the others lie on the way to one [measured]."""
VEIN_POINTS = 0.85
"""Attractors of the veins per attractor of the arteries [choice]."""
HILUM_RADII_MM = (5.0, 7.0, 5.5)
"""Radius within which the lung makes way for central bronchi, arteries and veins [choice]."""


@dataclass(frozen=True, eq=False)
class LungPlan:
    """A chest in numbers: everything that painting and labelling need."""

    shape: ThoraxShape
    thorax: Thorax
    heart: Heart
    arteries: VesselTree
    veins: VesselTree
    airways: VesselTree
    parameters: dict[str, Any]
    """Plain numbers, for the record."""


def plan_lung(rng: np.random.Generator, config: LungConfig) -> LungPlan:
    """Draw a chest."""
    shape = draw_shape(rng, config)
    heart = build_heart(shape, rng)
    stems = [place_stems(s, shape, rng) for s in (AIRWAY_STEMS, ARTERY_STEMS, VEIN_STEMS)]
    thorax = build_thorax(shape, _mediastinal_solids(heart), _hilar_solids(stems))
    trunk_mm, trachea_mm, end_mm, wander = (
        rng.uniform(*r)
        for r in (
            config.trunk_diameter_mm,
            config.trachea_diameter_mm,
            config.smallest_diameter_mm,
            config.tortuosity,
        )
    )
    rule = GrowthRule(wander=wander)
    num_points = int((trunk_mm / end_mm) ** config.artery_exponent / ENDS_PER_POINT)
    bundles = grow_bundles(thorax, stems[0], num_points, rule, rng)
    num_ends = int(num_leaves(bundles.skeleton.parents)[bundles.skeleton.parents < 0].sum())
    # The number of ends is what it became, so the calibre of the ends gives way to that of the trunk.
    artery_end = 0.5 * trunk_mm / num_ends ** (1 / config.artery_exponent)
    airway_end = 0.5 * trachea_mm / num_ends ** (1 / config.airway_exponent)
    airways, arteries = place_trees(
        bundles,
        stems[0],
        stems[1],
        (airway_end, artery_end),
        (config.airway_exponent, config.artery_exponent),
    )
    grown = grow_veins(thorax, bundles, stems[2], int(num_points * VEIN_POINTS), rule, rng)
    veins = vein_tree(grown, artery_end, config.artery_exponent)
    grown_ends = [int((tree.num_children == 0).sum()) for tree in (arteries, veins)]
    airways, arteries, veins = _part(
        {"airways": airways, "arteries": arteries, "veins": veins},
        {"airways": airway_end, "arteries": artery_end, "veins": artery_end},
        config,
    )
    return LungPlan(
        shape=shape,
        thorax=thorax,
        heart=heart,
        arteries=arteries,
        veins=veins,
        airways=airways,
        parameters={
            "trunk_diameter_mm": round(2 * float(arteries.radii_mm[0]), 3),
            "trachea_diameter_mm": round(2 * float(airways.radii_mm[0]), 3),
            "artery_end_diameter_mm": round(2 * artery_end, 4),
            "artery_exponent": config.artery_exponent,
            "airway_exponent": config.airway_exponent,
            "num_artery_ends": int((arteries.num_children == 0).sum()),
            "num_vein_ends": int((veins.num_children == 0).sum()),
            "num_artery_ends_grown": grown_ends[0],
            "num_vein_ends_grown": grown_ends[1],
            "right_lung_ml": round(lung_volume_ml(thorax, 1), 1),
            "left_lung_ml": round(lung_volume_ml(thorax, -1), 1),
            "factors": [round(f, 4) for f in shape.factors],
        },
    )


def _part(
    trees: dict[str, VesselTree], ends_mm: dict[str, float], config: LungConfig
) -> tuple[VesselTree, VesselTree, VesselTree]:
    """Push the trees apart, cut what still touches, leave out airways that CT does not show."""
    airways = trees["airways"]
    visible = airways.radii_mm >= 0.5 * config.smallest_airway_mm
    paddings = {
        "airways": np.where(visible, airway_wall_mm(airways.radii_mm), -np.inf),
        "arteries": np.zeros(len(trees["arteries"].parents)),
        "veins": np.zeros(len(trees["veins"].parents)),
    }
    # The ends at the heart and at the neck stay where they are.
    fixed = {
        name: np.arange(len(tree.parents)) < count
        for (name, tree), count in zip(trees.items(), (6, 4, 1), strict=True)
    }
    exponents = {
        "airways": config.airway_exponent,
        "arteries": config.artery_exponent,
        "veins": config.artery_exponent,
    }
    left = cut_conflicts(separate(trees, paddings, fixed), paddings, ends_mm, exponents)
    seen = left["airways"].radii_mm >= 0.5 * config.smallest_airway_mm
    return subtree(left["airways"], seen), left["arteries"], left["veins"]


def _mediastinal_solids(heart: Heart) -> tuple[Solid, ...]:
    return (
        *heart.pericardium,
        *heart.chambers["aorta"],
        *heart.chambers["superior vena cava"],
        *heart.chambers["inferior vena cava"],
        heart.oesophagus,
    )


def _hilar_solids(stems: list[Stems]) -> tuple[Solid, ...]:
    """One tube per edge of the stems."""
    return tuple(
        Tube(stem.skeleton.points_mm[[parent, node]], radius)
        for stem, radius in zip(stems, HILUM_RADII_MM, strict=True)
        for node, parent in enumerate(stem.skeleton.parents)
        if parent >= 0
    )
